"""One number of CPU threads for every framework, and the environment that sets it."""

import os
import sys

from common.errors import InputError
from common.machine.allocator import allocator_environment
from common.machine.cgroups import cpu_limit

SPINNING = {"GOMP_SPINCOUNT": "3000"}
"""How often GNU's OpenMP looks for the next loop before a waiting thread sleeps (its own: 300,000).

With 3,000 a step of PyTorch takes as long as by default where nothing else runs, and little longer
beside other work, where by default it takes many times as long; docs/PERFORMANCE.md has figures.
"""
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Environment variables of how OpenMP's threads wait for the next loop."""


def available_cpus() -> list[int]:
    """Return the CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cpu_count() -> int:
    """Return how many CPUs this process may keep busy.

    That is all that it may use, or as many as its container's quota of their time is enough for.
    """
    cpus, limit = len(available_cpus()), cpu_limit()
    return cpus if limit is None else max(1, min(cpus, int(limit)))


def thread_environment(threads: int | None) -> dict[str, str]:
    """Return the environment variables that set a framework's threads at its import.

    Without OMP_NUM_THREADS MXNet would use half of the cores. JAX knows no quota of a container.
    OpenMP's threads, which PyTorch and MXNet have, spin by default while they wait. Beside any
    other load they take the CPU from the thread that they wait for, so they spin only briefly,
    unless the user says otherwise.

    Raises:
        InputError: If this process may use fewer CPUs than ``threads``.
    """
    cpus = len(available_cpus())
    if threads is not None and threads > cpus:
        most = f"{cpus} CPUs: choose at most" if cpus > 1 else "1 CPU: choose"
        raise InputError(f"--threads {threads}: this process may use {most} --threads {cpus}")
    count = threads or cpu_count()
    quota = {} if threads or count == cpus else {"PJRT_NPROC": str(count)}
    spinning = {} if any(name in os.environ for name in WAITING) else SPINNING
    return {"OMP_NUM_THREADS": str(count), **spinning, **quota}


def restart_with_environment(threads: int | None, device: str) -> None:
    """Start this command again, once, if it has other threads or another allocator.

    Frameworks size their thread pools at import, XLA by the CPUs that the process may use, and the
    C library reads its settings when the process starts. So variables and affinity must be set
    before; where they are, this does nothing.
    """
    environment = thread_environment(threads) | allocator_environment(device)
    cpus = available_cpus()
    limited = threads in (None, len(cpus)) or not hasattr(os, "sched_setaffinity")
    if limited and all(os.environ.get(k) == v for k, v in environment.items()):
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus[:threads])
    os.environ.update(environment)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
