"""The environment of a backend's process: its threads, its CPUs, and what it may keep."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from common.backends import check_backend
from common.machine.allocator import VARIABLE, allocator_environment
from common.machine.threads import WAITING, available_cpus, thread_environment

PROJECT = Path(__file__).parents[2]
COMPILED_ANEW = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
}
"""Variables that hide programs compiled earlier: they make the time of a first step comparable."""


def backend_environment(
    threads: int | None, device: str = "auto", keep_memory: bool = True, set_waiting: bool = True
) -> dict[str, str]:
    """Return the environment in which every framework finds the same settings at its import.

    Args:
        threads: CPU threads; None for all CPUs that this process may use.
        device: As in ``Config``.
        keep_memory: Tell the C library to keep freed memory for the next step. Otherwise it has
            its default settings, whatever this process has.
        set_waiting: Let OpenMP's threads spin only briefly, unless the user says otherwise.
            Otherwise they do as OpenMP has it by default, whatever this process has.

    Raises:
        InputError: If this process may use fewer CPUs than ``threads``.
    """
    environment = {
        # JAX would reserve three quarters of a GPU's memory, which several frameworks may share.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Number cards as NVIDIA's driver does, so that the card whose state is recorded is the one
        # that computes. CUDA itself would begin with the fastest.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **os.environ,
        **thread_environment(threads),
    }
    if keep_memory:
        environment |= allocator_environment(device)
    else:
        environment.pop(VARIABLE, None)
    if not set_waiting:
        environment = {k: text for k, text in environment.items() if k not in WAITING}
    return environment


def interpreter_of(backend: str, pythons: Mapping[str, str]) -> str:
    """Return the interpreter that runs a backend: one of its own in ``pythons``, else this one.

    Raises:
        InputError: If it has none of its own, and its framework is not installed here.
    """
    if backend not in pythons:
        check_backend(backend)
    return pythons.get(backend, sys.executable)


def limit_cpus(threads: int | None) -> None:
    """Let this process and its children use only ``threads`` CPUs: XLA sizes its pool by them.

    Raises:
        InputError: If this process may use fewer.
    """
    if threads is not None:
        thread_environment(threads)  # For its check.
        use_cpus(available_cpus()[:threads])


@contextmanager
def cpus_limited(threads: int | None) -> Iterator[None]:
    """Let the processes that are started within use only ``threads`` CPUs."""
    before = available_cpus()
    limit_cpus(threads)
    try:
        yield
    finally:
        use_cpus(before)


def use_cpus(cpus: list[int]) -> None:
    """Let this process and its children use only these CPUs."""
    if hasattr(os, "sched_setaffinity"):  # macOS has no such call.
        os.sched_setaffinity(0, cpus)
