"""What an interrupted benchmark measures, and whether it may go on with these options."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from benchmarks.records import documents
from benchmarks.records.machines.kinds import PLAN
from benchmarks.timing.settings import QUICK, Settings, option_of, settings_from
from common.errors import InputError
from common.machine.files import reading_json
from common.options import as_typed


def read_plan(folder: Path) -> tuple[documents.Settings, str | None]:
    """Return what a benchmark of several machines measures, and its commit.

    Raises:
        InputError: If ``folder`` is not that of such a benchmark.
    """
    if not (folder / PLAN).is_file():
        lack = f"it has no {PLAN}" if folder.is_dir() else "there is no such folder"
        raise InputError(
            f"--resume {folder}: is not the folder of a benchmark of several machines ({lack}): "
            "name one that `fcn bench --address` wrote"
        )
    with reading_json(folder / PLAN, "the plan of a benchmark") as plan:
        settings = Settings.from_json(cast(documents.Settings, dict(plan["settings"])))
        commit: str | None = plan["commit"]
    return settings.to_json(), commit


def check_options(args: Namespace, named: set[str], begun: documents.Settings) -> None:
    """Raise InputError if an option says otherwise than the settings of the interrupted benchmark.

    Args:
        args: The options, with their defaults.
        named: Those that stand on the command line.
        begun: The settings.
    """
    if named & {"out", "force"}:
        raise InputError("--resume writes into the folder that it names: leave --out and --force")
    there: Mapping[str, object] = begun
    here: Mapping[str, object] = settings_from(args, named).to_json()
    implied = QUICK.keys() if "quick" in named else set()
    for name in sorted((named | implied) & there.keys()):
        if name == "recipe" and here.get("own_recipe") != there.get("own_recipe"):
            raise InputError(
                f"--resume {args.resume}: --recipe has other fields there; leave the option out, "
                "and the recipe of the interrupted run holds"
            )
        if here[name] != there[name]:
            option = option_of(name)
            before, now = as_typed(option, there[name]), as_typed(option, here[name])
            raise InputError(
                f"--resume {args.resume}: {option.option_strings[0]} is {before} there, {now} "
                "here; leave the options out, and those of the interrupted run hold"
            )
