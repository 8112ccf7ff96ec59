"""What a container or a batch system lets this process use: the limits of its control groups.

A group's limits hold for the groups within it too, so each limit is the least one from the
process's own group up to the top of what is mounted here.

Source:
    Linux kernel documentation, "Control Group v2" (cpu.max, memory.max) and "Control Groups
    version 1" (cpu.cfs_quota_us, memory.limit_in_bytes); proc(5), /proc/pid/mountinfo.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from common.machine.files import system_lines

PROCESS = Path("/proc/self")


def cpu_limit(process: Path = PROCESS) -> float | None:
    """Return how many CPUs' time the groups of a process allow it; None without a limit.

    Args:
        process: Its folder in /proc.
    """
    limits = []
    for group in _groups(process, "cpu"):
        quota, period = (_numbers(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        for numbers in (_numbers(group / "cpu.max"), quota + period):
            if len(numbers) == 2 and min(numbers) > 0:  # Version 1 says -1 for no limit.
                limits.append(numbers[0] / numbers[1])
    return min(limits, default=None)


def memory_limit(process: Path = PROCESS) -> int | None:
    """Return how many bytes the groups of a process allow it; None without a limit."""
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    groups = list(_groups(process, "memory"))
    limits = [limit for group in groups for name in names for limit in _numbers(group / name)]
    return min((limit for limit in limits if limit > 0), default=None)


def usable_memory() -> int:
    """Return how many bytes this process may use: the machine's, or what its groups allow."""
    return min(installed_memory(), memory_limit() or installed_memory())


def installed_memory() -> int:
    """Return how many bytes the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _numbers(path: Path) -> list[int]:
    """Return the numbers in a file of a group; none where there is no file, or it says "max"."""
    with suppress(OSError, ValueError):
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    return []


def _groups(process: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of a process's groups that may limit ``controller``, from the inmost up."""
    for line in system_lines(process / "cgroup"):
        number, controllers, group = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            kind, named = "cgroup2", ""
        elif controller in controllers.split(","):
            kind, named = "cgroup", controller
        else:
            continue
        for root, mounted in _mounts(process, kind, named):
            if not Path(group).is_relative_to(root):
                continue  # A part of the tree in which this process is not.
            folder = mounted / Path(group).relative_to(root)
            yield folder
            yield from (above for above in folder.parents if above.is_relative_to(mounted))


def _mounts(process: Path, kind: str, controller: str) -> Iterator[tuple[Path, Path]]:
    """Yield which group of a hierarchy is mounted, and where."""
    for line in system_lines(process / "mountinfo"):
        place, _, system = line.partition(" - ")
        places, (filesystem, *options) = place.split(" "), system.split(" ")
        controllers = options[-1].split(",") if options else []
        if len(places) > 4 and filesystem == kind and (not controller or controller in controllers):
            yield Path(_unescaped(places[3])), Path(_unescaped(places[4]))


def _unescaped(text: str) -> str:
    """Return a path of mountinfo, where a space is a backslash and 040."""
    return os.fsdecode(os.fsencode(text).decode("unicode_escape").encode("latin-1"))
