"""Being told to end: a training does so between two steps, with a checkpoint."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from common.config import Config
from common.errors import ended_by_interrupts
from common.machine.group import JOIN_SECONDS, report_late

SAME_PRESS = 0.2
"""Seconds within which two interrupts are one: some programs send theirs twice."""


def configure(backend: ModuleType, config: Config) -> None:
    """Load a backend's framework and set it up; an interrupt ends this process at once."""
    if config.workers > 1:
        sys.excepthook = report_late
        # It ends this process. A handler in Python would wait, for TensorFlow lets none run before
        # the others have come.
        signal.alarm(JOIN_SECONDS)
    try:
        with ended_by_interrupts():
            backend.configure(config)
    finally:
        if config.workers > 1:
            signal.alarm(0)


class Interrupts:
    """Notes SIGINT and SIGTERM for the one who asks between two steps.

    A second SIGINT interrupts at once, whatever is done. A shell's background job is started with
    SIGINT ignored, as `fcn train` starts a backend to which it passes on what it hears itself.
    """

    def __init__(self) -> None:
        self.noted: float | None = None
        """When the first one came."""
        self._outlook: str | None = None

    def announce(self, outlook: str | None) -> None:
        """Set what is said at once of an interrupt from now on, where its end takes a while.

        If there was one before, that is said now.
        """
        self._outlook = outlook
        if self.noted is not None:
            self._say()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note signals within the block instead of obeying them."""
        if threading.current_thread() is not threading.main_thread():
            yield  # No other thread can be told.
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.noted is None:
            self.noted = time.monotonic()
            self._say()
        elif number == signal.SIGINT and time.monotonic() - self.noted > SAME_PRESS:
            raise KeyboardInterrupt

    def _say(self) -> None:
        if self._outlook is not None:
            # The signal may have come in the middle of another line, of a bar or of a stream.
            start = "\n" if sys.stderr.isatty() else ""
            os.write(sys.stderr.fileno(), os.fsencode(f"{start}{self._outlook}\n"))
