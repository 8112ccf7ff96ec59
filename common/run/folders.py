"""The folder that a command writes into: may it, and what of an earlier run has to go."""

import os
import shlex
import shutil
import time
from datetime import datetime
from pathlib import Path

from common.errors import InputError
from common.machine.files import open_new, writing
from common.machine.group import CLUSTER
from common.machine.locks import LOCK
from common.run.log import LOG

PREDICTIONS = "predictions"
SUMMARY, MODEL, PICTURES = "summary.json", "model.safetensors", ("curves.png", "examples.png")
RUN_FILES = ("config.json", "manifest.json", LOG, MODEL, *PICTURES, SUMMARY)


def check_out(folder: Path, force: bool) -> None:
    """Raise InputError if ``folder`` cannot become a new run's without losing anything."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file: name a folder")
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {LOCK} and not force:
        raise InputError(f"--out {folder}: is not empty; choose another, or --force to overwrite")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    with writing(folder):
        probe = existing / f".writable-{time.time_ns()}"
        open_new(probe).close()
        probe.unlink()


def becomes_new(out: Path, resume: Path | None, force: bool) -> bool:
    """Return whether ``out`` gets a new run, and not more of the run that is resumed.

    Raises:
        InputError: If it can be neither.
    """
    if resume is None or out.resolve() != resume.resolve():
        check_out(out, force)
        if resume is not None and resume.resolve().is_relative_to(out.resolve()):
            raise InputError(f"--out {out}: holds the checkpoint to go on from: name another")
        return True
    if (out / "state.json").is_file():
        raise InputError(f"--resume {out}: is a checkpoint without its run: name a new --out")
    return False


def new_folder(command: str, out: Path | None, force: bool) -> Path:
    """Return the folder of a command's results: ``--out``, or by default one of this second.

    Raises:
        InputError: If results cannot be written there without losing anything.
    """
    folder = out or Path("runs") / f"{command}-{datetime.now():%Y%m%d-%H%M%S}"
    check_out(folder, force)
    return folder


def start_folder(folder: Path, force: bool) -> None:
    """Make room for a new run; call when every input has been checked."""
    check_out(folder, force)
    # The checkpoints go first: without their metrics they would be resumed as half a run.
    for name in ("checkpoints", PREDICTIONS):
        remove_folder(folder / name)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder of a run with all that is in it, if it is there; of a link only the link.

    Raises:
        InputError: If it cannot be removed.
    """
    with writing(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)


def is_finished(folder: Path) -> bool:
    """Tell whether a run has all that a finished training leaves."""
    return all((folder / name).is_file() for name in (MODEL, *PICTURES, SUMMARY))


def unfinish(folder: Path) -> None:
    """Remove what marks a finished run, which is to get more steps."""
    for name in (SUMMARY, MODEL):
        (folder / name).unlink(missing_ok=True)


def resume_command(backend: str, folder: Path) -> str:
    """Return the command that goes on with a run."""
    command = f"fcn train --backend {backend} --resume {shlex.quote(str(folder))}"
    return f"{command} --address {os.environ[CLUSTER]}" if CLUSTER in os.environ else command
