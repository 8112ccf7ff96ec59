"""Where the figures of a record come from: commit, machine, peak memory of a process."""

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from common.documents import Hardware
from common.machine.allocator import KEEPING
from common.machine.cgroups import usable_memory
from common.machine.files import system_lines
from common.machine.threads import SPINNING, cpu_count

VARIABLES = [
    "GLIBC_TUNABLES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "JAX_PLATFORMS",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "JAX_ENABLE_COMPILATION_CACHE",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "MXNET_CUDNN_AUTOTUNE_DEFAULT",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
]
"""Environment variables that change how a framework computes, or on which GPU."""
OURS = {
    "OMP_NUM_THREADS",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "JAX_ENABLE_COMPILATION_CACHE",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
}
"""Of these, those that a benchmark or a package sets itself, and those that name a card."""
UNLESS_SET = KEEPING | SPINNING
"""Those that it sets unless the user has, and to what."""
OUR_FLAGS = ("--xla_cpu_experimental_ynn_fusion_type=", "--xla_gpu_deterministic_ops=")
"""What ``jax_impl/device.py`` adds to XLA_FLAGS."""

ALIKE = ("processor", "cpus", "system")
"""Of the hardware: figures are compared, and trainings gone on with, where these are the same."""


def recorded_environment() -> dict[str, str]:
    """Return the variables of this process that change how a framework computes."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def set_by_user(environment: Mapping[str, str]) -> dict[str, str]:
    """Return of recorded variables those that the user has set, and not a benchmark."""
    own = {name: environment[name] for name in VARIABLES if name in environment.keys() - OURS}
    own = {name: value for name, value in own.items() if value != UNLESS_SET.get(name)}
    if "XLA_FLAGS" in own:
        flags = own.pop("XLA_FLAGS").split()
        if rest := " ".join(flag for flag in flags if not flag.startswith(OUR_FLAGS)):
            own["XLA_FLAGS"] = rest
    return own


def host_memory_peak() -> int:
    """Return this process's peak resident memory in bytes."""
    # The kernel's ru_maxrss starts at the peak of the process that started this one.
    if own := resident_peak("self"):
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_peak(process: int | str) -> int:
    """Return the peak resident memory, in bytes, of a living process; 0 where none can be read."""
    for line in system_lines(f"/proc/{process}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def git_commit() -> str | None:
    """Return the commit of the project's checkout, "-dirty" appended if it is changed."""
    project = Path(__file__).parents[2]
    if not (project / ".git").exists():
        return None
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def hardware() -> Hardware:
    """Return the processor, the CPUs and the memory that this process may use, and the system."""
    return {
        "processor": processor() or platform.processor() or platform.machine(),
        "cpus": cpu_count(),
        "memory_bytes": usable_memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the first processor's name, family and model; nothing where the system names none.

    A virtual machine may call generations "AMD EPYC" alike of which one is twice as fast.
    """
    told: dict[str, str] = {}
    for line in system_lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    named, family, model = (told.get(n, "") for n in ("model name", "cpu family", "model"))
    return f"{named} (family {family}, model {model})" if named and family and model else named
