"""Backends in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common.threads import available_cpus, thread_environment


def backend_command(backend: str, script: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line of one backend's ``train`` or ``predict``."""
    return [sys.executable, "-m", f"{backend}_impl.{script}", *arguments]


def backend_environment(threads: int | None) -> dict[str, str]:
    """Return the environment in which every framework finds the same thread count at import."""
    return {**os.environ, **thread_environment(threads)}


def limit_cpus(threads: int | None) -> None:
    """Let this process and its children use only ``threads`` CPUs: XLA sizes its pool by them."""
    if threads is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_cpus()[:threads])


def run_logged(command: Sequence[str], environment: dict[str, str], log: Path) -> tuple[int, str]:
    """Run ``command`` with its messages both on the terminal and in ``log``.

    Returns:
        Its exit status and its standard output; ``log`` holds its standard error.
    """
    output = b""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            while chunk := process.stderr.read1(4096):  # type: ignore[attr-defined]
                file.write(chunk)
                file.flush()
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()
            output = process.stdout.read()
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, output.decode()


def last_line(text: str) -> str:
    """Return the last line that says something; a progress bar redraws its own with returns."""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no message"
