"""Backends in processes of their own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.cases.tracks import WITHOUT_KEPT_MEMORY
from common.errors import InputError
from common.machine.allocator import allocator_environment
from common.machine.files import read_json
from common.machine.threads import available_cpus, thread_environment

COMPILED_ANEW = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
}
"""Of the environment of a process whose first step is a figure: it finds nothing compiled."""


PROJECT = Path(__file__).parents[2]
LONGEST_SILENCE = 2.0**20
"""Seconds, 12 days: a longer time is more than the system's call takes."""


def backend_command(
    backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
) -> list[str]:
    """Return the command line of one backend's ``train`` or ``predict``."""
    return [python, "-m", f"{backend}_impl.{script}", *arguments]


def backend_environment(
    threads: int | None, device: str = "auto", track: str = "default"
) -> dict[str, str]:
    """Return the environment in which every framework finds the same thread count at import.

    Who writes the chapter's code leaves the C library's allocator as it is. CUDA counts its cards
    as NVIDIA's driver does, by the PCI bus and not the fastest first, unless the user says
    otherwise: so that the card whose state is recorded is the one that computes.
    """
    # JAX would take three quarters of a GPU's memory, where several frameworks share the card.
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    found = {**shared, **os.environ, **thread_environment(threads)}
    if track not in ("chapter", WITHOUT_KEPT_MEMORY):
        return found | allocator_environment(device)
    found.pop("GLIBC_TUNABLES", None)
    return found


def limit_cpus(threads: int | None) -> None:
    """Let this process and its children use only ``threads`` CPUs: XLA sizes its pool by them."""
    if threads is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available_cpus()[:threads])


@contextmanager
def cpus_limited(threads: int | None) -> Iterator[None]:
    """Let the processes that are started within use only ``threads`` CPUs."""
    before = available_cpus()
    limit_cpus(threads)
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)


def run_logged(
    command: Sequence[str], environment: dict[str, str], log: Path, silence: float | None = None
) -> int:
    """Run ``command``, its messages both on the terminal and in ``log``; return its exit status.

    Raises:
        WorkerFailed: If it gave no message for ``silence`` seconds; all that it started has ended.
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
                    raise WorkerFailed(f"gave no message within {silence:.0f} s")
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
    """Return the last line that says something; a progress bar redraws its own with returns."""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no message"


LONGEST_ANSWER = 2**24
"""Bytes; arrays travel in files."""


def descendants(process: int) -> list[int]:
    """Return the living children of ``process``, and theirs; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything, parentheses too: state and parent.
            parent = path.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found, ahead = [], [process]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def end_group(process: subprocess.Popen[bytes], patience: float = 0) -> None:
    """End a process, after ``patience`` seconds by force, with its group and all that it started.

    It has to lead its group (``start_new_session``).
    """
    # Known only while their parents live; torchrun's are in sessions of their own.
    below = descendants(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    for end, one in [(os.killpg, process.pid), *((os.kill, pid) for pid in below)]:
        with suppress(ProcessLookupError):
            end(one, signal.SIGKILL)
    process.wait()


class WorkerFailed(RuntimeError):
    """A worker crashed, hung or answered rubbish; the message is one line that says which."""


class Worker:
    """``benchmarks.workers.server`` for one backend, in a process group of its own.

    Args:
        backend: Its name.
        environment: The process's; ``backend_environment`` makes one.
        log: Gets what the framework prints; a failure quotes its last line.
        python: The interpreter, where one environment cannot hold all backends.
    """

    def __init__(
        self,
        backend: str,
        environment: dict[str, str],
        log: Path,
        python: str = sys.executable,
    ) -> None:
        self.backend, self.log = backend, log
        with log.open("ab") as file:
            try:
                self._process = subprocess.Popen(
                    [python, "-m", "benchmarks.workers.server", backend],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    cwd=PROJECT,
                    start_new_session=True,
                )
            except OSError as error:
                raise WorkerFailed(
                    f"{backend}: {python} cannot be run ({error.strerror})"
                ) from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._buffer = b""

    @property
    def pid(self) -> int:
        """The process's identifier."""
        return self._process.pid

    def ask(self, task: str, timeout: float, **arguments: Any) -> Any:
        """Return what ``task`` returned in the worker; arguments and result are JSON's types.

        Raises:
            InputError: What the task refused.
            WorkerFailed: If there is no answer within ``timeout`` seconds; the worker has ended.
        """
        try:
            self._input.write(json.dumps({"task": task, **arguments}).encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            raise self._failure() from None
        line = self._read_line(timeout)
        try:
            answer = read_json(line)
            if "refused" not in answer:
                return answer["result"]
        except (ValueError, KeyError, TypeError):
            raise self._rubbish(line) from None
        raise InputError(answer["refused"])

    def _read_line(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                if left < 0 or not selector.select(min(left, 1.0)):
                    # A loader's processes hold the pipe open after the worker's own end.
                    if self._process.poll() is not None:
                        raise self._failure()
                    if left > 1:
                        continue
                    self.close()
                    raise WorkerFailed(f"{self.backend} gave no answer within {timeout:.0f} s")
                chunk = os.read(self._output.fileno(), 65536)
                if not chunk:
                    raise self._failure()
                self._buffer += chunk
                if len(self._buffer) > LONGEST_ANSWER:
                    raise self._rubbish(self._buffer)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _rubbish(self, said: bytes) -> WorkerFailed:
        self.close()
        shown = said[:80].decode(errors="replace")
        return WorkerFailed(f"{self.backend} answered {shown!r}, which is no answer")

    def _failure(self) -> WorkerFailed:
        """Return why the process ended without an answer."""
        self.close()
        status = self._process.returncode
        said = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended ({status})"
        return WorkerFailed(f"{self.backend} {how}: {said}")

    def close(self) -> None:
        """End the process: by the end of its input, and by force what is left of its group."""
        if self._input.closed:
            return
        with suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        end_group(self._process, patience=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
