"""The machine while it is timed: the GPU's clocks and throttling, and what other processes take."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, cast

from benchmarks.records.documents import Bench, Row
from benchmarks.records.machines.documents import Gpu, GpuRanges
from common.backends import device_kind
from common.errors import InputError
from common.machine.load import busy_seconds
from common.machine.threads import available_cpus

THROTTLED = 0x0000_0000_0000_00E8
"""NVML's reasons that make a sample worthless: hardware slowdown (0x8), software thermal (0x20),
hardware thermal (0x40), power brake (0x80). The software power cap is how a card runs when busy."""

POLL_SECONDS = 0.2
"""Between two looks at a GPU while a worker has its turn and the parent waits."""

TOO_NEW = {"mxnet": ((9, 0), "MXNet's last CUDA wheels (1.9.1, for CUDA 11)")}
"""Backend -> the first compute capability that its last CUDA build lacks, and that build."""


def query(nvml: Any, name: str, *arguments: Any) -> Any | None:
    """Return what one function of NVML gives; None where the card or driver does not offer it."""
    try:
        return getattr(nvml, name)(*arguments)
    except nvml.NVMLError:
        return None


def visible_gpus() -> tuple[Any, list[Any]]:
    """Return NVIDIA's management library and the GPUs that a CUDA program started here sees.

    The handles are in the program's order. There are none without the package, the driver or a
    card.

    ``CUDA_VISIBLE_DEVICES`` lists indices, or UUIDs (``GPU-...``, ``MIG-...``) of which a GPU's may
    be cut short as long as it is the only one; the first entry that names no card ends the list, so
    that an empty one and -1 leave none. Indices are NVML's where CUDA counts by the PCI bus, as
    ``backend_environment`` lets it; with CUDA_DEVICE_ORDER=FASTEST_FIRST they may be other cards.

    Source:
        CUDA C++ Programming Guide, "CUDA Environment Variables", "Device Enumeration and
        Properties"; NVIDIA Multi-Instance GPU User Guide, "Device Enumeration".
    """
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception:  # The package, the driver or a card is missing.
        return None, []
    count = query(nvml, "nvmlDeviceGetCount") or 0
    cards = [query(nvml, "nvmlDeviceGetHandleByIndex", index) for index in range(count)]
    entries = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count))))
    visible: list[Any] = []
    for entry in map(str.strip, entries.split(",")):
        handle = gpu_named(nvml, entry, cards)
        if handle is None:
            break
        visible.append(handle)
        if entry.startswith("MIG-"):  # A process has one instance at most.
            break
    return nvml, visible


def gpu_named(nvml: Any, entry: str, cards: Sequence[Any]) -> Any | None:
    """Return the handle of the card that an entry of ``CUDA_VISIBLE_DEVICES`` names, if any."""
    if entry.startswith("MIG-"):
        return query(nvml, "nvmlDeviceGetHandleByUUID", entry)
    if entry.startswith("GPU-"):
        names = [str(query(nvml, "nvmlDeviceGetUUID", card)) for card in cards]
        same = [card for card, name in zip(cards, names, strict=True) if name.startswith(entry)]
        return same[0] if len(same) == 1 else None
    return cards[int(entry)] if entry.isdecimal() and int(entry) < len(cards) else None


def gpu_state() -> Gpu | None:
    """Return clocks, temperature, power, memory and throttling of the first GPU a worker sees.

    A value is null where the card, or the instance or virtual part of one, does not report it. None
    without a GPU.
    """
    nvml, cards = visible_gpus()
    if not cards:
        return None

    def of_card(name: str, *arguments: Any) -> Any | None:
        return query(nvml, name, cards[0], *arguments)

    reasons = of_card("nvmlDeviceGetCurrentClocksThrottleReasons")
    power, memory = of_card("nvmlDeviceGetPowerUsage"), of_card("nvmlDeviceGetMemoryInfo")
    heat = of_card("nvmlDeviceGetViolationStatus", nvml.NVML_PERF_POLICY_THERMAL)
    return {
        "name": of_card("nvmlDeviceGetName") or "GPU without a name",
        "driver": query(nvml, "nvmlSystemGetDriverVersion"),
        "clock_mhz": of_card("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": of_card("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        "temperature_celsius": of_card("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        "power_watts": None if power is None else power / 1000,
        "memory_used_bytes": None if memory is None else int(memory.used),
        "throttle_reasons": reasons,
        "throttled": None if reasons is None else bool(reasons & THROTTLED),
        "thermal_slowdown_seconds": None if heat is None else heat.violationTime / 1e9,
    }


@contextmanager
def gpu_watched(used: bool) -> Iterator[list[Gpu]]:
    """Yield a list that gets the GPU's state now, every ``POLL_SECONDS``, and at the end.

    Where there is no GPU, or none is ``used``, it stays empty and nothing is polled.
    """
    states: list[Gpu] = []

    def look() -> None:
        if state := gpu_state():
            states.append(state)

    def poll() -> None:
        while not ended.wait(POLL_SECONDS):
            look()

    if used:
        look()
    if not states:
        yield states
        return
    ended, thread = Event(), Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield states
    finally:
        ended.set()
        thread.join()
    look()


def gpu_ranges(states: Sequence[Gpu]) -> GpuRanges | None:
    """Return the least and the most of what varied over ``states``; None without a GPU."""
    if not states:
        return None
    records: Sequence[Mapping[str, Any]] = states
    ranges: dict[str, object] = {"states": len(states)}
    for name in ("clock_mhz", "temperature_celsius", "power_watts"):
        values = [record[name] for record in records if record[name] is not None]
        ranges[name] = [min(values), max(values)] if values else None
    return cast(GpuRanges, ranges)


def was_throttled(states: Sequence[Gpu]) -> bool:
    """Return whether the GPU was slowed in one of ``states``, or by heat between them.

    A card that does not report it counts as not slowed.
    """
    slowed = [state["thermal_slowdown_seconds"] or 0.0 for state in states]
    return any(state["throttled"] for state in states) or bool(slowed and slowed[-1] > slowed[0])


def check_card(backend: str) -> None:
    """Raise InputError if the framework's last CUDA build is older than the GPU it would see."""
    nvml, cards = visible_gpus()
    if backend not in TOO_NEW or not cards:
        return
    capability = query(nvml, "nvmlDeviceGetCudaComputeCapability", cards[0])
    limit, builds = TOO_NEW[backend]
    if capability is not None and tuple(capability) >= limit:
        newer, here = (".".join(map(str, version)) for version in (limit, capability))
        raise InputError(
            f"{builds} are older than capability {newer}, and this card has {here}: "
            f"use --device cpu, or leave {backend} out of --backends"
        )


def gpu_count() -> int:
    """Return how many GPUs a worker sees; 0 without NVIDIA's driver."""
    return len(visible_gpus()[1])


def watched(document: Bench, row: Row, take: Callable[[], Any]) -> Any:
    """Return the sample of a row that ``take`` brings, with the machine's state meanwhile.

    The GPU's state is recorded only for a row that computes on it: with ``--device auto`` some rows
    do and others do not. For the first process of a row this is known when it has answered.
    """

    def on_gpu() -> bool:
        return device_kind(row["processes"][-1]["backend"]["device"]) == "gpu"

    used = document["gpu"] is not None and (not row["processes"] or on_gpu())
    busy, began = busy_seconds(), time.time()
    with gpu_watched(used) as states:
        sample = take()
    if not on_gpu():
        states = []
    busy_after, other_share = busy_seconds(), None
    if busy is not None and busy_after is not None:
        cpu_seconds = sample["turn_seconds"] * len(available_cpus())
        other_share = max(0.0, (busy_after - busy - sample["turn_cpu_seconds"]) / cpu_seconds)
    return sample | {
        "began": began,
        "other_cpu_share": other_share,
        "gpu": states[-1] if states else None,
        "gpu_ranges": gpu_ranges(states),
        "dropped": "throttled" if was_throttled(states) else None,
    }
