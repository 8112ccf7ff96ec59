"""How far something has come that takes more than some seconds, on standard error.

On a terminal it is tqdm's bar, with a rate and the remaining time. Elsewhere, as in a log or a
pipe, it is a line at the start, some more in the first minute, one a minute, and one at the end,
also where a single unit takes so long.
"""

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Event, Lock, Thread
from typing import Any, Self, TypeVar
from weakref import ref

T = TypeVar("T")
ON_TERMINAL = "FCN_PROGRESS_ON_TERMINAL"
"""Environment variable of a process whose messages its parent passes on to a terminal."""
BYTES = "B"
"""The unit of bytes, of which a line shows MiB."""
LINE_SECONDS = (10.0, 20.0, 30.0, 60.0)
"""Between two lines where there is no terminal; the last from then on."""


def shows_bars() -> bool:
    """Return whether standard error ends at a terminal, and there is tqdm to draw a bar on it."""
    is_seen = sys.stderr.isatty() or ON_TERMINAL in os.environ
    return is_seen and find_spec("tqdm") is not None


def has_width() -> bool:
    """Return whether the terminal says how wide it is; tqdm draws nothing on one of no width."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class Lines:
    """What counts as ``tqdm`` does and prints lines; a bare container has no other.

    A thread prints those that are due while nothing is counted.
    """

    def __init__(
        self, total: float | None, unit: str, desc: str, initial: int, delay: float
    ) -> None:
        self.total, self.unit, self.desc, self.n = total, unit, desc, initial
        self._initial, self._notes = initial, ""
        self._started = self._printed = time.monotonic()
        self._is_open, self._delay = True, delay
        self._gaps = [*LINE_SECONDS] if not delay else [delay, *LINE_SECONDS[1:]]
        self._lock, self._ended = Lock(), Event()
        if not delay:
            self._print("")
        if delay < math.inf:
            # Lines that nobody holds any more need no thread, even if they were never closed.
            Thread(target=_tell, args=(ref(self), self._ended, self._gaps[0]), daemon=True).start()

    def update(self, n: int = 1) -> None:
        """Count ``n`` more; print a line if one is due, unless ``n`` is 0: no rate may be known."""
        with self._lock:
            self.n += n
            if n and self.n != self.total and self._is_due():  # The end has a line of its own.
                seconds = (self._printed - self._started) / (self.n - self._initial)
                rate = f"{seconds:.3g} s {'an' if self.unit[0] in 'aeiou' else 'a'} {self.unit}"
                rest = None if self.total is None else seconds * (self.total - self.n)
                left = "" if rest is None else f", {clock(rest)} left"
                self._print(left if self.unit == BYTES else f"{left} ({rate})")

    def tell(self) -> float:
        """Print a line if one is due although nothing was counted; return seconds to the next."""
        with self._lock:
            if not self._ended.is_set() and self._is_due():
                self._print(f", {clock(self._printed - self._started)} so far")
            return self._gaps[0] + self._printed - time.monotonic()

    def set_postfix(self, **notes: str) -> None:
        """Set what the next line has at its end."""
        self._notes = "".join(f", {name} {value}" for name, value in notes.items())

    def write(self, text: str, file: Any = None) -> None:
        """Print ``text`` as a line of its own."""
        print(text, file=file or sys.stderr, flush=True)

    def close(self) -> None:
        """Print the last line, once."""
        with self._lock:
            self._ended.set()
            if self._is_open and not self._delay:
                self._print(f" in {clock(time.monotonic() - self._started)}")
            self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_due(self) -> bool:
        """Tell whether a line is due; if so, it counts as printed."""
        now = time.monotonic()
        if now - self._printed < self._gaps[0]:
            return False
        self._delay, self._printed, self._gaps = 0, now, self._gaps[1:] or self._gaps
        return True

    def _print(self, more: str) -> None:
        is_one = (self.n if self.total is None else self.total) == 1
        units = self.unit if is_one else _plural(self.unit)
        scale, units = (2**20, "MiB") if self.unit == BYTES else (1, units)
        of = "" if self.total is None else f" of {self.total / scale:.6g}"
        start = f"{self.desc}: " if self.desc else ""
        self.write(f"{start}{self.n / scale:.6g}{of} {units}{self._notes}{more}")


def _tell(lines: ref[Lines], ended: Event, seconds: float) -> None:
    """Print the lines that are due, first in ``seconds``, until they have ended or are gone."""
    while not ended.wait(seconds) and (alive := lines()) is not None:
        seconds = max(0.0, alive.tell())
        del alive


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"


@contextmanager
def waiting_shown(what: str) -> Iterator[None]:
    """Say now and then how long the block has lasted, where nothing counts what it does."""
    started, ended = time.monotonic(), Event()

    def tell() -> None:
        gaps = [*LINE_SECONDS]
        while not ended.wait(gaps[0]):
            gaps = gaps[1:] or gaps
            print(
                f"{what}: {clock(time.monotonic() - started)} so far", file=sys.stderr, flush=True
            )

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, 2:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def counter(
    total: float | None,
    unit: str,
    desc: str = "",
    initial: int = 0,
    hidden: bool = False,
    delay: float = 0,
) -> Any:
    """Return a bar, or what prints lines: both have the methods of ``Lines``, and end a ``with``.

    Args:
        total: The number of units, if it is known.
        unit: In the singular, or ``BYTES``.
        desc: What is done.
        initial: So many units are done before.
        hidden: Show nothing, ever.
        delay: Show nothing before so many seconds, so that what ends sooner shows nothing.
    """
    if hidden or not shows_bars():
        return Lines(total, unit, desc, initial, math.inf if hidden else delay)
    from tqdm import tqdm

    size: dict[str, Any] = {"dynamic_ncols": True} if has_width() else {"ncols": 80, "nrows": 24}
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        desc=desc or None,
        unit_scale=unit == BYTES,
        unit_divisor=1024,
        delay=delay,
        **size,
    )


def tracked(
    items: Iterable[T], total: int, unit: str, desc: str = "", **options: Any
) -> Iterator[T]:
    """Yield ``items`` and show how many of them are done with."""
    with counter(total, unit, desc, **options) as bar:
        for item in items:
            yield item
            bar.update()
