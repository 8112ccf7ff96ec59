"""What an interrupted comparison or study has done: each part in a file with its identity."""

import json
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from benchmarks.workers.scripts import Outcome
from common.backends import package_versions
from common.config import Config
from common.documents import DatasetRecord, WeightsRecord
from common.errors import InputError
from common.machine.files import file_digest, json_digest, reading_json, write_json
from common.machine.provenance import ALIKE, git_commit, hardware
from common.options import Backends, config_from
from common.parameters.files import describe_weights
from common.run.folders import is_finished
from common.run.resume import fill_options
from common.run.training import TrainingData

PLAN = "plan.json"
"""What a comparison or study does, in its folder; ``--resume`` goes on with that."""
COMMANDS = {"search": "tune", "study": "study", "comparison": "compare"}
"""What a plan is of -> the command that writes it."""
OWN_NAMES = {
    "search": ("sampler", "pruner"),
    "study": ("vary", "seeds", "recipes"),
    "comparison": ("backends",),
}
"""What a plan is of -> names that those before it lack, in the order in which they are tried."""
PATHS = ("data", "weights")
"""Options that name files; None where they are left out."""


class Inputs(TypedDict):
    """The identity of what a training reads: its data, and the weights that it starts from."""

    dataset: DatasetRecord
    weights: WeightsRecord | None


def inputs_of(data: TrainingData, weights: Path | None) -> Inputs:
    """Return the identity of what a training reads."""
    return {"dataset": data.describe(), "weights": describe_weights(data.config.recipe, weights)}


def identity_here() -> dict[str, Any]:
    """Return what a part depends on beside its training: the commit, and what names the machine."""
    machine: Mapping[str, Any] = hardware()
    return {"commit": git_commit(), "machine": {name: machine[name] for name in ALIKE}}


def write_plan(
    out: Path,
    args: Namespace,
    config: Config,
    names: Iterable[str],
    inputs: Mapping[str, Any],
    backends: Iterable[str],
) -> None:
    """Write what the options say into the results' folder ``out``.

    Args:
        args: The options. ``names`` are of those that are kept beside the paths.
        config: That they make.
        inputs: The identity of data and weights, which ``--resume`` looks for again.
        backends: Those that train, of whose versions it does so too.
    """
    paths = {name: getattr(args, name) and str(getattr(args, name)) for name in PATHS}
    others = {name: getattr(args, name) for name in names}
    begun = {"commit": git_commit(), "hardware": hardware(), "inputs": inputs}
    begun |= {"versions": package_versions(backends)}
    write_json(out / PLAN, {"config": config.to_json(), **paths, **others, **begun})


def check_plan(folder: Path, what: str) -> None:
    """Raise InputError, with what to do, unless ``--resume`` names the folder of such a plan.

    Args:
        folder: Of ``--resume``.
        what: One of ``COMMANDS``.
    """
    if not (folder / PLAN).is_file():
        lack = f"is not the folder of a {what} (it has no {PLAN})"
        lack = lack if folder.is_dir() else "there is no such folder"
        raise InputError(
            f"--resume {folder}: {lack}: name the folder that `fcn {COMMANDS[what]}` wrote"
        )
    with reading_json(folder / PLAN, f"the plan of a {what}") as plan:
        own = (kind for kind, names in OWN_NAMES.items() if any(name in plan for name in names))
        found = next(own, what)
    if found != what:
        raise InputError(
            f"--resume {folder}: is the folder of a {found}: use `fcn {COMMANDS[found]} --resume`"
        )


def resume_options(args: Namespace, named: set[str], what: str, *more: str) -> None:
    """Set the options to those of the plan that is gone on with.

    Args:
        args: The options. ``more`` names those that the plan holds beside the usual ones.
        named: The options that stand on the command line.
        what: The plan's, one of ``COMMANDS``.

    Raises:
        InputError: If an option says otherwise, or there is no such plan.
    """
    if named & {"out", "force"}:
        raise InputError("--resume writes into the folder that it names: leave --out and --force")
    check_plan(args.resume, what)
    with reading_json(args.resume / PLAN, f"the plan of a {what}") as plan:
        config = Config.from_json(plan["config"])
        stored: dict[str, Any] = {name: _stored_path(plan[name]) for name in PATHS}
        stored |= {"backends": Backends(tuple(plan["backends"])).backends}
        stored |= {name: plan[name] for name in more}
    stated = {name: getattr(args, name) for name in named & stored.keys()}
    for name, value in stored.items():
        setattr(args, name, value)
    fill_options(args, named, config)
    if stated != {name: stored[name] for name in stated} or config_from(args) != config:
        raise InputError(
            f"--resume {args.resume}: an option differs from those of the interrupted {what}; "
            "leave the options out, and those hold"
        )


def _stored_path(text: str | None) -> Path | None:
    """Return the path that a plan holds; raise ValueError or TypeError for what is none."""
    if text is not None and b"\0" in os.fsencode(text):
        raise ValueError("a path has a zero byte")
    return None if text is None else Path(text)


@dataclass(frozen=True)
class Progress:
    """The parts of a comparison or a study that are done.

    Attributes:
        folder: Of its runs.
        identity: What all parts depend on, as JSON's types: configuration, data, weights, code and
            machine.
    """

    folder: Path
    identity: dict[str, Any]

    def read(self, name: str) -> Any | None:
        """Return a finished part; None where it is absent or of something else.

        Raises:
            InputError: If it was changed after it was written.
        """
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        again = "delete it, and this part is computed again"
        with reading_json(path, f"a finished part: {again}") as stored:
            of, part, digest = stored["of"], stored["part"], stored["digest"]
        if digest != json_digest([of, part]):
            raise InputError(f"{path}: was changed after it was written: {again}")
        return part if of == _as_json(self.identity) else None

    def write(self, name: str, part: Any) -> None:
        """Store a finished part."""
        of, part = _as_json(self.identity), _as_json(part)
        stored = {"of": of, "part": part, "digest": json_digest([of, part])}
        write_json(self.folder / f"{name}.json", stored)

    def forget(self, name: str) -> None:
        """Remove a part, which is done anew."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def write_training(self, backend: str, outcome: Outcome) -> None:
        """Store how a backend's training ended, with the digests of what that left."""
        self.write(backend, [*outcome, _files(self.folder / backend)])

    def training(self, backend: str) -> Outcome | None:
        """Return how a backend's training ended, if what that left is as it was."""
        part, run = self.read(backend), self.folder / backend
        if part is None or not is_finished(run) or part[-1] != _files(run):
            return None
        return Outcome(*part[:-1])


def _files(run: Path) -> dict[str, str]:
    """Return the digest of each file of a run; its checkpoints are not shown."""
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    shown = (name for name in names if not name.startswith(("checkpoints/", ".")))
    return {name: file_digest(run / name) for name in shown}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
