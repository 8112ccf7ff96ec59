"""The work that is left after ``synchronize`` has returned: a turn's end has to be its end.

Runs in a worker.
"""

import math
import time
from typing import NamedTuple

import numpy as np

from benchmarks.cases.case import Work

ALONE = 1e-4
"""Seconds that a request to a framework may take, beside what it computes or copies."""


def complete(work: Work, steps: int) -> None:
    """Do that many steps and wait until all of them have been computed."""
    work.run(steps)
    work.finish()


def late_bound(seconds: float) -> float:
    """Return how many seconds of work may be left of steps that took ``seconds``: a quarter.

    Of the shortest steps 2 ms may be left.
    """
    return max(0.002, 0.25 * seconds)


class Try(NamedTuple):
    """Seconds that some steps took until their outcome was read, and of reads alone.

    Attributes:
        alone: Of the fewest steps; 0 if nobody asks. The least of some counts, because a short step
            takes many times as long where the caches are cold.
        once, read: Of the steps, and of the read right after their end.
        twice: Of twice as many steps.
        last: Of a read when everything must have been done.
        copy: Of copies of as many bytes.
    """

    alone: float
    once: float
    read: float
    twice: float
    last: float
    copy: float


def work_left(work: Work, step_seconds: float) -> tuple[int, float]:
    """Return a number of steps, and the seconds of their work that were left when they had ended.

    It is the largest of four differences, none of which is large where nothing is left:

    - The read right after the steps, less one when everything must have been done. Each reads a
      fresh outcome, since a framework may keep a copy.
    - The later read, less two copies of as many bytes: nothing may be computed only when it is
      read.
    - The delay of the read by so many more steps, less twice what they took by the clock. Twice,
      because two short times differ by chance too.
    - The time of the steps one by one, each of them read, less three times that delay: no step may
      be left out whose outcome the next one replaces. Batches from files hide this.

    A backend that leaves work does so every time, another process disturbs now and then: the least
    of three tries counts. Beside a long step a disturbance is short: one try is enough.

    Args:
        step_seconds: What a step took by the clock.
    """
    whole = work.steps_together
    first, _ = until_read(work, whole, 0)
    steps = whole * max(1, int(0.05 / max(first, ALONE)))
    count = 3 if first < 0.5 else 1
    in_turn = bool(getattr(work, "own", ()))
    tries = [one_try(work, steps, count if in_turn else 0) for _ in range(count)]
    queued = min(each.read - each.last for each in tries)
    unread = min(each.last - 2 * each.copy for each in tries)
    delayed = min(each.twice - each.once for each in tries) - 2 * steps * step_seconds
    dropped = 0.0
    if in_turn:
        alone, once, _, twice, last, _ = map(min, zip(*tries, strict=True))
        dropped = (alone - last - ALONE) * steps / whole - 3 * (twice - once)
    return steps, max(queued, unread, delayed, dropped)


def one_try(work: Work, steps: int, singles: int) -> Try:
    """Take the times of ``work_left`` once, the fewest steps ``singles`` times."""
    each = (until_read(work, work.steps_together, 0)[0] for _ in range(singles))
    alone = min(each, default=0.0)
    copy = seconds_of_copy(work)
    once, read = until_read(work, steps, 0)
    twice, _ = until_read(work, 2 * steps, 0)
    _, last = until_read(work, steps, once)
    return Try(alone, once, read, twice, last, copy)


def seconds_of_copy(work: Work) -> float:
    """Return what copies of arrays like the last outcome take; infinity if a read is none.

    The arrays were copied to the device, so nothing of them is left to be computed. A copy moves a
    GB in a second at least.
    """
    arrays = work.read()
    if not arrays:
        return math.inf
    there = [work.backend.to_device(np.atleast_1d(array), work.config) for array in arrays]
    for value in there:
        work.backend.synchronize(value)
    started = time.perf_counter()
    for value in there:
        work.backend.to_host(value)
    longest = sum(array.nbytes for array in arrays) / 1e9 + ALONE * len(arrays)
    return min(time.perf_counter() - started, longest)


def until_read(work: Work, steps: int, wait: float) -> tuple[float, float]:
    """Return the seconds from a turn's beginning until its outcome was read, and of the read."""
    started = time.perf_counter()
    complete(work, steps)
    time.sleep(wait)
    reading = time.perf_counter()
    work.read()
    ended = time.perf_counter()
    return ended - started, ended - reading
