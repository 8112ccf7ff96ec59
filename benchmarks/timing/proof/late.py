"""The work that is left after ``synchronize`` has returned: a turn's end has to be its end.

Runs in a worker.
"""

import math
import time

import numpy as np

from benchmarks.cases.case import Work


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
    steps = work.steps_together * max(1, int(0.05 / first))
    tries = 3 if first < 0.5 else 1
    return steps, min(left_once(work, steps, step_seconds, tries) for _ in range(tries))


def left_once(work: Work, steps: int, step_seconds: float, singles: int) -> float:
    """Return the seconds of work that ``steps`` steps left, in one try.

    What has been computed can be read at once. So a read right after the end is compared with a
    read that comes when everything must have been done. Each reads a fresh outcome, since a
    framework may keep a copy. A backend may also compute nothing before it is read, or no step that
    the next one replaces: twice as many steps delay the read by neither twice what they took by the
    clock nor by a third of what they take one by one, unless their batches are loaded. Where a read
    is a copy, it takes at most twice as long as another copy of as many bytes.

    Args:
        singles: How often the fewest steps are done one by one. The least counts, because a short
            step takes many times as long where the caches are cold.
    """
    alone = min(seconds_alone(work) for _ in range(singles)) * steps / work.steps_together
    copy = seconds_of_copy(work)
    once, read = until_read(work, steps, 0)
    twice, _ = until_read(work, 2 * steps, 0)
    _, last = until_read(work, steps, once)
    needed = twice - once
    dropped = alone - 3 * needed if getattr(work, "own", ()) else 0.0
    # Twice the steps' time: two short times differ by chance too.
    return max(read - last, last - 2 * copy, needed - 2 * steps * step_seconds, dropped)


def seconds_alone(work: Work) -> float:
    """Return what the fewest steps take that are waited for, beside what the waiting takes."""
    started = time.perf_counter()
    complete(work, work.steps_together)
    ended = time.perf_counter()
    work.finish()
    return ended - started - (time.perf_counter() - ended)


def seconds_of_copy(work: Work) -> float:
    """Return what a copy of an array like the outcome takes; infinity if the outcome is no array.

    The array was copied to the device, so nothing of it is left to be computed.
    """
    value = work.read()  # Nor shall anything that is left delay a later read.
    if value is None:
        return math.inf
    there = work.backend.to_device(np.array(value, ndmin=1), work.config)
    work.backend.synchronize(there)
    started = time.perf_counter()
    work.backend.to_host(there)
    return time.perf_counter() - started


def until_read(work: Work, steps: int, wait: float) -> tuple[float, float]:
    """Return the seconds from a turn's beginning until its outcome was read, and of the read."""
    started = time.perf_counter()
    complete(work, steps)
    time.sleep(wait)
    reading = time.perf_counter()
    work.read()
    ended = time.perf_counter()
    return ended - started, ended - reading
