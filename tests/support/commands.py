"""Commands as a user runs them."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from common.backends import BACKENDS
from common.run import loop
from tests.support.interpreters import stand_in

SMALL = ["--crop", "64", "64", "--batch-size", "4", "--no-progress"]
"""Options of a quick training on the generated data set."""
PROCESSES, ROUNDS = 2, 1
TINY = [
    *("--batch-sizes", "1", "--crop", "32", "32", "--seconds", "0.01"),
    *("--processes", str(PROCESSES), "--rounds", str(ROUNDS)),
]
"""Options of a benchmark of stand-ins, whose steps take a fiftieth of a second."""


def script(
    name: str, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def script_here(name: str, *arguments: object) -> int:
    """Run a package's script in this process, which may have its framework already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "restart_with_environment", lambda threads, device: None)
        patch.setattr(os, "fsync", lambda descriptor: None)  # Nothing here outlives the machine.
        status: int = importlib.import_module(name).main([str(argument) for argument in arguments])
    return status


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail with status 2 and one line; return the line."""
    assert fcn([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def bench_options(folder: Path, *moods: str, case: str = "loss") -> list[str]:
    """Return the options of a benchmark of as many backends as there are moods."""
    names = list(BACKENDS)[: len(moods)]
    chosen = ["--backends", ",".join(names), "--cases", case, *TINY]
    for name, mood in zip(names, moods, strict=True):
        chosen += ["--python", f"{name}={stand_in(folder, mood)}"]
    return chosen


def bench(folder: Path, *moods: str, timeout: float = 60, case: str = "loss") -> tuple[int, Any]:
    """Return the exit status of a benchmark and its rows, by mood."""
    chosen = bench_options(folder, *moods, case=case)
    status = fcn(["bench", *chosen, "--timeout", str(timeout), "--out", str(folder / "out")])
    return status, dict(zip(moods, stored(folder / "out")["rows"], strict=True))


def stored(folder: Path) -> Any:
    """Return the document of a benchmark."""
    return json.loads((folder / "bench.json").read_text(encoding="utf-8"))


def check_whole(row: Any) -> None:
    """Assert that a row has all its samples and their figures."""
    assert (row["status"], row["reason"]) == ("ok", None)
    assert len(row["samples"]) == 2 * PROCESSES * ROUNDS
    assert row["figures"]["step_seconds"]["median"] > 0.02
