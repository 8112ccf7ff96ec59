"""The machine while it is timed: the GPU's clocks and throttling, and what other processes take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.threads import available_cpus

THROTTLED = 0x0000_0000_0000_00E8
"""NVML's reasons that make a sample worthless: hardware slowdown (0x8), software thermal (0x20),
hardware thermal (0x40), power brake (0x80). The software power cap is how a card runs when busy."""


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
        }
    except pynvml.NVMLError:
        return None


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
