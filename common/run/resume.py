"""What a run says of itself to the one who goes on with it."""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.config import Config, for_backend
from common.documents import Summary, WeightsRecord
from common.errors import InputError
from common.fields import is_of, option_fields
from common.machine.files import json_digest, reading_json, write_json
from common.options import Parser, parsed
from common.run.checkpoints import has_checkpoint
from common.run.folders import SUMMARY, is_finished

CONFIGURATION = "config.json"


def training_options(
    parser: Parser, argv: Sequence[str] | None, backend: str | None = None
) -> Namespace:
    """Parse a training's options; with ``--resume``, those of its run hold where none is stated.

    Args:
        parser: As ``common.options.training_parser`` returns it.
        argv: By default this process's.
        backend: The one that trains; by default that of ``--backend``.

    Raises:
        InputError: For a bad option, or a run whose configuration cannot be read.
    """
    args, named = parsed(parser, argv)
    if args.resume is not None:
        check_run(args.resume)
    if args.resume is None or (values := _stored(args.resume)) is None:
        return args
    if args.data is None and "data" in values:
        args.data = Path(values["data"])
    if args.checkpoint_every is None:
        args.checkpoint_every = values.get("checkpoint_every")  # Early runs have none.
    if is_finished(args.resume):  # The one who goes on with it wants more steps.
        named.add("max_steps")
    fill_options(args, named, for_backend(Config.from_json(values), backend or args.backend))
    return args


def fill_options(args: Namespace, named: set[str], config: Config) -> None:
    """Set the options that nobody ``named`` to what makes ``config``."""
    if "recipe" not in named:
        args.recipe = config.recipe
    for field in option_fields(Config):
        if field.name not in named:
            setattr(args, field.name, getattr(config, field.name))


def check_run(folder: Path) -> None:
    """Raise InputError unless ``folder`` is a run with a checkpoint, or a checkpoint."""
    if not folder.is_dir():
        what = "is a file: name the folder of a run" if folder.exists() else "there is no such run"
        raise InputError(f"--resume {folder}: {what}")
    if not has_checkpoint(folder) and not (folder / "state.json").is_file():
        raise InputError(
            f"--resume {folder}: holds no checkpoint to go on from: start anew with --out"
        )


def write_configuration(
    folder: Path, config: Config, data: Path, checkpoint_every: int | None
) -> None:
    """Write what a run goes on with: its configuration, its data set, and the digest of all.

    ``checkpoint_every`` is the option of that name, which is no field of the configuration.

    A checkpoint could not hold that digest: a resume with other options writes them before it
    has a checkpoint of its own.
    """
    values = {
        **config.to_json(),
        "data": str(data.absolute()),
        "checkpoint_every": checkpoint_every,
    }
    write_json(folder / CONFIGURATION, {**values, "digest": json_digest(values)})


def _stored(resume: Path) -> dict[str, Any] | None:
    """Return the configuration of a run, or of one of its checkpoints; None where there is none."""
    if (path := _file_of(resume, CONFIGURATION)) is None:
        return None
    with reading_json(path, "a run's configuration") as document:
        values = {**document}  # Raises for what is no object.
        digest = values.pop("digest", None)  # Early runs have none.
        if digest not in (None, json_digest(values)):
            raise ValueError(
                "it was changed after it was written: delete it, and state the options"
            )
        Config.from_json(values)  # Raises for what is none.
        if "data" in values and b"\0" in os.fsencode(values["data"]):
            raise ValueError("its data folder has a zero byte in its name")
        if not is_of(values.get("checkpoint_every"), int | None):
            raise ValueError("its checkpoint_every is no whole number")
    return values


def _file_of(resume: Path, name: str) -> Path | None:
    """Return a file of a run that ``--resume`` names, itself or by a checkpoint; None without it.

    A checkpoint may be named from within its run, as ``step-00000010``.
    """
    folders = [resume]
    if (resume / "state.json").is_file():
        folders.append(resume.resolve().parent.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def read_summary(folder: Path) -> Summary:
    """Return the summary of a finished run.

    Raises:
        InputError: If it is not one.
    """
    with reading_json(folder / SUMMARY, "a run's summary") as values:
        summary: Summary = values
        summary["final"]["scores"]  # What is printed of it.
    return summary


def backend_and_weights(resume: Path) -> tuple[str | None, WeightsRecord | None]:
    """Return the backend that a run was trained with last, and the weights it started from.

    Nothing is known without its manifest: a checkpoint may have been copied without its run.

    Args:
        resume: The run, or one of its checkpoints.
    """
    if (path := _file_of(resume, "manifest.json")) is None:
        return None, None
    with reading_json(path, "a run's manifest") as manifest:
        backend, weights = str(manifest["backend"]["name"]), manifest["weights"]
        if weights is None:
            return backend, None
        return backend, {"name": str(weights["name"]), "sha256": str(weights["sha256"])}
