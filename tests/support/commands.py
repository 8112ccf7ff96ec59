"""Commands as a user runs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.cli import main as fcn

SMALL = ["--crop", "64", "64", "--batch-size", "4", "--no-progress"]
"""Options of a quick training on the generated data set."""


def script(
    name: str, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail with status 2 and one line; return the line."""
    assert fcn([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err
