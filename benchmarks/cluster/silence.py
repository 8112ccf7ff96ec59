"""Processes of a group that wait for each other for ever: they neither print nor compute."""

import time

from benchmarks.cluster.place import News
from benchmarks.workers.supervision import IDLE_SHARE


class Silence:
    """How long the processes of a group have been silent.

    Args:
        count: Of the processes.
        limit: Seconds after which a silent group hangs, unless it has computed meanwhile; None
            for no limit.
    """

    def __init__(self, count: int, limit: float | None) -> None:
        self._worked, self._limit = [0.0] * count, limit
        self._begin()

    def _begin(self) -> None:
        self._since, self._before = time.monotonic(), sum(self._worked)

    def note(self, rank: int, news: News) -> None:
        """Note what a process has told."""
        self._worked[rank] = news.worked
        if news.out or news.errors:
            self._begin()

    def check(self) -> None:
        """Raise TimeoutError if the group hangs."""
        if self._limit is None or time.monotonic() - self._since < self._limit:
            return
        if sum(self._worked) - self._before < IDLE_SHARE * self._limit:
            raise TimeoutError(f"the processes neither printed nor computed for {self._limit:g} s")
        self._begin()
