"""The folder that a command writes into: may it, and what of an earlier run has to go."""

import shutil
import time
from datetime import datetime
from pathlib import Path

from common.errors import InputError
from common.machine.files import write_bytes, writing

RUN_FILES = ("config.json", "manifest.json", "metrics.jsonl", "model.safetensors", "summary.json")


def check_out(folder: Path, force: bool) -> None:
    """Raise InputError if ``folder`` cannot become a new run's without losing anything."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f"--out {folder}: is not empty; choose another, or --force to overwrite")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    with writing(folder):
        probe = existing / f".writable-{time.time_ns()}"
        probe.touch()
        probe.unlink()


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
    if (folder / "checkpoints").exists():
        shutil.rmtree(folder / "checkpoints")
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def resume_folder(source: Path, folder: Path) -> None:
    """Copy the metrics of the run ``source`` into ``folder``, the run that goes on from it.

    The two may be the same folder. Then the files that mark a finished run are removed.
    """
    if source.resolve() == folder.resolve():
        for name in ("summary.json", "model.safetensors"):
            (folder / name).unlink(missing_ok=True)
    elif (source / "metrics.jsonl").is_file():
        write_bytes(folder / "metrics.jsonl", (source / "metrics.jsonl").read_bytes())
