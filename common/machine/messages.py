"""What a framework's libraries print by themselves: kept in a log and not shown to the user.

They write to the process's standard error below Python, so that no setting of Python's hides them:
TensorFlow names the CUDA drivers that it does not find and the instructions of the processor.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Self, TextIO

from common.errors import InputError, TrainingDiverged

LOG = "framework.log"
FOLLOWED_SECONDS = 0.2
"""Between two looks at a log that is shown as it grows."""


class FrameworkMessages:
    """While it lasts, standard error is a log below Python; what Python prints goes on as before.

    The log begins as a temporary file, for a command checks its folder before it writes there.

    Args:
        verbose: Show on the terminal what comes into the log.
    """

    terminal: int | None = None
    """The descriptor of what was standard error, while it is a log."""

    def __init__(self, verbose: bool) -> None:
        self._verbose, self._path, self._shown = verbose, Path(), 0
        self._ended = Event()

    def __enter__(self) -> Self:
        self._python, sys.stderr = sys.stderr, own_stream(sys.stderr)
        FrameworkMessages.terminal = os.dup(2)
        self._log = tempfile.TemporaryFile()
        os.dup2(self._log.fileno(), 2)
        self._thread = Thread(target=self._follow, daemon=True)
        if self._verbose:
            self._thread.start()
        return self

    def keep_in(self, folder: Path) -> None:
        """Keep what was printed, and what follows, in ``folder/framework.log``."""
        printed = os.pread(self._log.fileno(), 2**20, 0)
        self._path = folder / LOG
        self._path.unlink(missing_ok=True)  # Of an earlier run, or a link to elsewhere.
        log = self._path.open("xb+")
        log.write(printed)
        log.flush()
        self._log, before = log, self._log
        os.dup2(log.fileno(), 2)
        before.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self.terminal is not None
        os.dup2(self.terminal, 2)
        self._ended.set()
        is_kept = self._path != Path()
        # A library that fails may say why there alone.
        told = (InputError, TrainingDiverged, KeyboardInterrupt, SystemExit)
        failed = kind is not None and not issubclass(kind, told) and not is_kept
        if self._verbose:
            self._thread.join()
        if self._verbose or failed:
            self._show()
        os.close(self.terminal)
        FrameworkMessages.terminal = None
        if sys.stderr is not self._python:
            sys.stderr.close()
            sys.stderr = self._python
        if is_kept and not os.fstat(self._log.fileno()).st_size:
            self._path.unlink(missing_ok=True)
        self._log.close()

    def _follow(self) -> None:
        while not self._ended.wait(FOLLOWED_SECONDS):
            self._show()

    def _show(self) -> None:
        """Write to the terminal what has come into the log since the last time."""
        assert self.terminal is not None
        text = os.pread(self._log.fileno(), 2**20, self._shown)
        self._shown += len(text)
        os.write(self.terminal, text)


def own_stream(stream: TextIO) -> TextIO:
    """Return ``stream`` on a descriptor of its own where it writes to standard error."""
    try:
        is_standard = stream.fileno() == 2
    except (OSError, ValueError):  # A stream in memory.
        is_standard = False
    if not is_standard:
        return stream
    stream.flush()
    return os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")


@contextmanager
def on_terminal() -> Iterator[None]:
    """Let the processes that are started within print where this one's user reads."""
    log = os.dup(2)
    if FrameworkMessages.terminal is not None:
        os.dup2(FrameworkMessages.terminal, 2)
    try:
        yield
    finally:
        os.dup2(log, 2)
        os.close(log)
