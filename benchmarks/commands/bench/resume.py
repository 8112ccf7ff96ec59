"""May an interrupted benchmark go on with these options?"""

from argparse import Namespace
from collections.abc import Mapping

from benchmarks.records import documents
from benchmarks.timing.settings import QUICK, option_of, settings_from
from common.errors import InputError
from common.options import as_typed


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
