"""Work that is done once for all workers of a run of the tests."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of this run see."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def written_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], None]) -> Path:
    """Return a file. The first worker that asks for it writes it; the others wait."""
    file = shared_folder(factory) / name
    unfinished = file.with_stem(f"{file.stem}-unfinished")
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            write(unfinished)
            unfinished.rename(file)
    return file
