"""The C library's allocator, told to keep the memory of a step for the next one."""

import os
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
LARGEST_KEPT = 512 << 20
"""Bytes: larger than any tensor of a batch of 32 at 320x480, smaller than XLA's one block for a
step. If that block were kept too, another value could settle in the hole that it leaves; the next
block would be placed beside it, and memory would grow."""

SETTINGS = {
    "mmap_threshold": LARGEST_KEPT,
    "trim_threshold": 1 << 40,
    "arena_max": 1,
    "hugetlb": 1,
}
KEEPING = {VARIABLE: ":".join(f"glibc.malloc.{key}={value}" for key, value in SETTINGS.items())}


def may_be_gpu(device: str) -> bool:
    """Tell whether NVIDIA's driver may compute: for ``gpu``, and for ``auto`` where it is here."""
    return device == "gpu" or (device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")))


def allocator_environment(device: str) -> dict[str, str]:
    """Return the environment in which a process keeps its large blocks, from its start on.

    By default glibc takes every block of more than 32 MiB from the system and gives it back, so
    that the kernel clears a step's memory, page by page, in every step; docs/PERFORMANCE.md says
    what that costs each framework. A thread's own arena holds at most 64 MiB, so all threads share
    one arena; blocks that are not kept come in huge pages.

    Empty where the variable is set, even to nothing, which turns it off. Empty, too, where a GPU
    may compute: the C library does not hold a step's memory there, and a compiler's many threads
    could wait for the one arena. Other C libraries do not read the variable.
    """
    if may_be_gpu(device) or VARIABLE in os.environ:
        return {}
    return KEEPING
