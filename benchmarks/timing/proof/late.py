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

    What has been computed can be read at once. So a read right after the end is compared with a
    read that comes when everything must have been done. Each reads a fresh outcome, since a
    framework may keep a copy. A backend may also compute nothing before it is read, or no step that
    the next one replaces: twice as many steps delay the read by neither twice what they took by the
    clock nor by a third of what they take one by one, unless their batches are loaded. Where a read
    is a copy, it takes at most twice as long as another copy of as many bytes.

    Args:
        step_seconds: What a step took by the clock.
    """
    whole = work.steps_together
    first, _ = until_read(work, whole, 0)
    steps = whole * max(1, int(0.05 / first))
    # Beside a long step a disturbance is short: one probe is enough.
    probes = 3 if first < 0.5 else 1
    alone = seconds_alone(work, probes) * steps / whole
    copy = seconds_of_copy(work, probes)
    once, twice, waited = [], [], []
    for _ in range(probes):
        once.append(until_read(work, steps, 0))
        twice.append(until_read(work, 2 * steps, 0))
        waited.append(until_read(work, steps, once[-1][0]))
    last = min(read for _, read in waited)
    queued = min(read for _, read in once) - last
    needed = min(total for total, _ in twice) - min(total for total, _ in once)
    dropped = alone - 3 * needed if getattr(work, "own", ()) else 0.0
    # Twice the steps' time: two short times differ by chance too.
    return steps, max(queued, last - 2 * copy, needed - 2 * steps * step_seconds, dropped)


def seconds_alone(work: Work, tries: int) -> float:
    """Return what the fewest steps take that are waited for, beside what the waiting takes."""
    waited, idle = [], []
    for _ in range(tries):
        started = time.perf_counter()
        complete(work, work.steps_together)
        ended = time.perf_counter()
        work.finish()
        waited.append(ended - started)
        idle.append(time.perf_counter() - ended)
    work.read()  # What is left shall not delay a later read.
    return min(waited) - min(idle)


def seconds_of_copy(work: Work, tries: int) -> float:
    """Return what a copy of an array like the outcome takes; infinity if the outcome is no array.

    The array was copied to the device, so nothing of it is left to be computed.
    """
    value = work.read()
    if value is None:
        return math.inf
    seconds = []
    for _ in range(tries):
        there = work.backend.to_device(np.array(value, ndmin=1), work.config)
        work.backend.synchronize(there)
        started = time.perf_counter()
        work.backend.to_host(there)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def until_read(work: Work, steps: int, wait: float) -> tuple[float, float]:
    """Return the seconds from a turn's beginning until its outcome was read, and of the read."""
    started = time.perf_counter()
    complete(work, steps)
    time.sleep(wait)
    reading = time.perf_counter()
    work.read()
    ended = time.perf_counter()
    return ended - started, ended - reading
