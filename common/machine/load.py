"""What the CPUs do besides: which share of them other processes take."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.machine.files import system_lines
from common.machine.threads import available_cpus


@dataclass
class Others:
    """What other processes took; ``share``, of all CPUs, is None where the system does not tell."""

    share: float | None = None


def busy_seconds() -> float | None:
    """Return how many seconds this process's CPUs have been busy; None where nothing reports it.

    On a virtual machine this includes time in which the host gave a CPU to another guest.
    """
    names = {f"cpu{index}" for index in available_cpus()}
    busy: list[int] = []
    for name, *fields in map(str.split, system_lines("/proc/stat")):
        if name in names:
            user, nice, system, _, _, interrupt, soft, stolen, *_ = map(int, fields)
            busy += user, nice, system, interrupt, soft, stolen
    return sum(busy) / os.sysconf("SC_CLK_TCK") if busy else None


@contextmanager
def others_watched() -> Iterator[Others]:
    """Yield what gets, at the end, the share of the CPUs that went to other processes meanwhile.

    This process and those that it has started and that have ended by then are not others.
    """
    others, started = Others(), time.perf_counter()
    busy, own = busy_seconds(), own_seconds()
    yield others
    wall, busy_after = time.perf_counter() - started, busy_seconds()
    if busy is not None and busy_after is not None:
        taken = busy_after - busy - (own_seconds() - own)
        others.share = max(0.0, taken / (wall * len(available_cpus())))


def own_seconds() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
