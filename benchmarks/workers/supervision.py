"""Processes under supervision: what they print is kept, and their children end with them."""

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LONGEST_SILENCE = 2.0**20
"""Seconds, 12 days: the system's call accepts no time much longer than this."""


def run_logged(
    command: Sequence[str], environment: dict[str, str], log: Path, silence: float | None = None
) -> int:
    """Run ``command``, its messages both on the terminal and in ``log``; return its exit status.

    Raises:
        TimeoutError: If it printed nothing for ``silence`` seconds; all that it started has ended.
    """
    limit = None if silence is None else min(silence, LONGEST_SILENCE)
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stderr is not None
        selector.register(process.stderr, selectors.EVENT_READ)
        try:
            while True:
                if not selector.select(limit):
                    raise TimeoutError(f"gave no message within {silence:.0f} s")
                chunk = os.read(process.stderr.fileno(), 4096)
                if not chunk:
                    break
                file.write(chunk)
                file.flush()
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()
        except BaseException:
            end_group(process)
            raise
    return process.returncode


def last_line(text: str) -> str:
    """Return the last line that is not empty, without "error: " at its beginning.

    A progress bar writes its lines over each other; each of them counts as a line.
    """
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no message"


def descendants(process: int) -> list[int]:
    """Return the living children of ``process``, and theirs; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # State and parent follow the name in parentheses, which may itself hold parentheses.
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(path.parent.name))
    below, unvisited = [], [process]
    while unvisited:
        own = children.get(unvisited.pop(), [])
        below += own
        unvisited += own
    return below


def end_group(process: subprocess.Popen[bytes], patience: float = 0) -> None:
    """End a process, after ``patience`` seconds by force, with its group and all that it started.

    It has to lead its group (``start_new_session``).
    """
    # Listed now, for they can be found only while their parents live. The group is not enough:
    # torchrun's processes are in sessions of their own.
    below = descendants(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    for end, target in [(os.killpg, process.pid), *((os.kill, child) for child in below)]:
        with suppress(ProcessLookupError):
            end(target, signal.SIGKILL)
    process.wait()
