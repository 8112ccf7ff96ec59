"""The work that is left after ``synchronize`` has returned: a turn's end has to be its end.

Runs in a worker.
"""

import math
import time

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


def work_left(work: Work, step_seconds: float) -> tuple[int, float]:
    """Return a number of steps, and the seconds of their work that were left when they had ended.

    A backend that leaves work does so every time, another process disturbs now and then: of three
    tries the least counts. Beside a long step a disturbance is short: one try is enough.

    Args:
        step_seconds: What a step took by the clock.
    """
    first, _ = until_read(work, work.steps_together, 0)
    steps = work.steps_together * max(1, int(0.05 / max(first, ALONE)))
    count = 3 if first < 0.5 else 1
    tries = [left_once(work, steps, step_seconds, count) for _ in range(count)]
    return steps, max(map(min, zip(*tries, strict=True)))


def left_once(work: Work, steps: int, step_seconds: float, singles: int) -> tuple[float, ...]:
    """Return four differences in seconds, none of which is large where nothing is left.

    - The read right after ``steps`` steps, less one when everything must have been done. Each reads
      a fresh outcome, since a framework may keep a copy.
    - The later read, less two copies of as many bytes: nothing may be computed only when it is
      read.
    - The delay of the read by so many more steps, less twice what they took by the clock. Twice,
      because two short times differ by chance too.
    - The time of the steps one by one, each of them read, less three times that delay: no step may
      be left out whose outcome the next one replaces. Batches from files hide this.

    Args:
        singles: How often a step is done alone. The least time counts, because a short step takes
            many times as long where the caches are cold.
    """
    copy = seconds_of_copy(work)
    once, read = until_read(work, steps, 0)
    twice, _ = until_read(work, 2 * steps, 0)
    _, last = until_read(work, steps, once)
    delay = twice - once
    dropped = 0.0
    if getattr(work, "own", ()):
        alone = min(until_read(work, work.steps_together, 0)[0] for _ in range(singles)) - last
        dropped = (alone - ALONE) * steps / work.steps_together - 3 * delay
    return read - last, last - 2 * copy, delay - 2 * steps * step_seconds, dropped


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
    floor = sum(array.nbytes for array in arrays) / 1e9 + ALONE * len(arrays)
    return min(time.perf_counter() - started, floor)


def until_read(work: Work, steps: int, wait: float) -> tuple[float, float]:
    """Return the seconds from a turn's beginning until its outcome was read, and of the read."""
    started = time.perf_counter()
    complete(work, steps)
    time.sleep(wait)
    reading = time.perf_counter()
    work.read()
    ended = time.perf_counter()
    return ended - started, ended - reading
