"""The folder that a command writes: whether it may, and what is left there of a run before."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from common.errors import InputError
from common.machine.files import write_bytes

RUN_FILES = ("config.json", "manifest.json", "metrics.jsonl", "model.safetensors", "summary.json")


def check_out(folder: Path, force: bool) -> None:
    """Raise InputError if ``folder`` cannot become a new run's without losing anything."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f"--out {folder}: is not empty; choose another, or --force to overwrite")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        probe = existing / f".writable-{time.time_ns()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror})") from error


def start_folder(folder: Path, force: bool) -> None:
    """Make room for a new run; call when every input has been checked."""
    check_out(folder, force)
    # The checkpoint first: without its metrics it would be resumed as half a run.
    if (folder / "checkpoints").exists():
        shutil.rmtree(folder / "checkpoints")
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)


def resume_folder(source: Path, folder: Path) -> None:
    """Bring the metrics of ``source`` into ``folder``, which goes on from it; they may be one.

    What says that a run is finished goes: this one is not, until it has done its steps.
    """
    if source.resolve() == folder.resolve():
        for name in ("summary.json", "model.safetensors"):
            (folder / name).unlink(missing_ok=True)
    elif (source / "metrics.jsonl").is_file():
        write_bytes(folder / "metrics.jsonl", (source / "metrics.jsonl").read_bytes())
