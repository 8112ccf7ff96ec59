"""The parent's side of a backend in a process of its own."""

import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.workers.environment import PROJECT
from benchmarks.workers.supervision import end_group, how_ended, kills_for_memory, last_line
from common.errors import InputError
from common.machine.files import open_own, read_json

LONGEST_ANSWER = 2**24
"""Bytes; arrays travel in files."""


class WorkerFailed(RuntimeError):
    """A worker crashed, hung or gave no valid answer; the message is one line that says which."""


class Worker:
    """``benchmarks.workers.server`` for one backend, in a process group of its own.

    Args:
        backend: Its name.
        environment: Of the process, from ``backend_environment``.
        log: Gets what the framework prints; a failure quotes its last line.
        python: An interpreter of its own, where one environment cannot hold all backends.

    Raises:
        WorkerFailed: If the interpreter cannot be run.
    """

    def __init__(
        self, backend: str, environment: dict[str, str], log: Path, python: str = sys.executable
    ) -> None:
        self.backend, self.log, self._kills = backend, log, kills_for_memory()
        with open_own(log, append=True) as file:
            try:
                self.process = subprocess.Popen(
                    [python, "-m", "benchmarks.workers.server", backend],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    cwd=PROJECT,
                    start_new_session=True,
                )
            except OSError as error:
                reason = f"{backend}: {python} cannot be run ({error.strerror})"
                raise WorkerFailed(reason) from None
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout

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
            raise self._invalid(line) from None
        raise InputError(answer["refused"])

    def _read_line(self, timeout: float) -> bytes:
        line, deadline = b"", time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left < 0 or not selector.select(min(left, 1.0)):
                    # A loader's processes hold the pipe open after the worker's own end.
                    if self.process.poll() is not None:
                        raise self._failure()
                    if left > 1:
                        continue
                    self.close()
                    raise WorkerFailed(f"{self.backend} gave no answer within {timeout:.0f} s")
                chunk = os.read(self._output.fileno(), 65536)
                if not chunk:
                    raise self._failure()
                line += chunk
                if len(line) > LONGEST_ANSWER:
                    raise self._invalid(line)
        return line.rstrip(b"\n")

    def _invalid(self, answer: bytes) -> WorkerFailed:
        self.close()
        shown = answer[:80].decode(errors="replace")
        return WorkerFailed(f"{self.backend} answered {shown!r}; expected a line of JSON")

    def _failure(self) -> WorkerFailed:
        """Return why the process ended without an answer."""
        self.close()
        message = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
        how = how_ended(self.process.returncode, self._kills)
        return WorkerFailed(f"{self.backend} {how}: {message}")

    def close(self) -> None:
        """End the process: by the end of its input, and by force what is left of its group."""
        if self._input.closed:
            return
        with suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        end_group(self.process, patience=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
