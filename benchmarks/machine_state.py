"""The machine while it is timed: the GPU's clocks and throttling, and what other processes take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import InputError
from common.threads import available_cpus

THROTTLED = 0x0000_0000_0000_00E8
"""NVML's reasons that make a sample worthless: hardware slowdown (0x8), software thermal (0x20),
hardware thermal (0x40), power brake (0x80). The software power cap is how a card runs when busy."""

TOO_NEW = {"mxnet": ((9, 0), "MXNet's last CUDA wheels (1.9.1, for CUDA 11)")}
"""Backend -> the compute capability that came after its last build, and what that was."""


def gpu_state() -> dict[str, Any] | None:
    """Return clocks, temperature, power, memory and throttling of the first GPU; None without."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver or no card: the fields are null
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        reasons = int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        return {
            "name": str(pynvml.nvmlDeviceGetName(handle)),
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
            "clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "temperature_celsius": pynvml.nvmlDeviceGetTemperature(
                handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            "power_watts": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "memory_used_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(handle).used),
            "throttle_reasons": reasons,
            "throttled": bool(reasons & THROTTLED),
            "thermal_slowdown_seconds": thermal_slowdown(pynvml, handle),
        }
    except pynvml.NVMLError:
        return None


def thermal_slowdown(pynvml: Any, handle: Any) -> float | None:
    """Return the seconds that heat has slowed the GPU since its driver came, where counted."""
    try:
        status = pynvml.nvmlDeviceGetViolationStatus(handle, pynvml.NVML_PERF_POLICY_THERMAL)
    except pynvml.NVMLError:
        return None
    return float(status.violationTime) / 1e9


def was_throttled(before: dict[str, Any] | None, after: dict[str, Any] | None) -> bool:
    """Tell whether the GPU was slowed at the beginning or end of a time, or by heat within it."""
    if before is None or after is None:
        return False
    slowed = [state["thermal_slowdown_seconds"] or 0.0 for state in (before, after)]
    return bool(before["throttled"] or after["throttled"] or slowed[1] > slowed[0])


def check_card(backend: str) -> None:
    """Raise InputError if the framework's last CUDA build is older than this machine's GPU."""
    if backend not in TOO_NEW or gpu_state() is None:
        return
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    found = tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    limit, builds = TOO_NEW[backend]
    if found >= limit:
        asked, here = (".".join(map(str, version)) for version in (limit, found))
        raise InputError(f"{builds} are older than capability {asked}, and this card has {here}")


def gpu_count() -> int:
    """Return how many GPUs NVIDIA's driver sees; 0 without it."""
    if gpu_state() is None:
        return 0
    import pynvml

    return int(pynvml.nvmlDeviceGetCount())


def busy_seconds() -> float | None:
    """Return the CPU seconds that all processes have spent on the CPUs this one may use."""
    import os

    path = Path("/proc/stat")
    if not path.exists():
        return None
    names = {f"cpu{index}" for index in available_cpus()}
    ticks = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _, _, interrupt, soft, *_ = map(int, fields)
            ticks += user + nice + system + interrupt + soft
    return ticks / os.sysconf("SC_CLK_TCK")


def kills_for_memory() -> int:
    """Return how many processes the kernel has ended for want of memory since the start."""
    path = Path("/proc/vmstat")
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
