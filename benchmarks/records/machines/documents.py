"""The types of what `bench.json` says of a machine: its GPU and the rates that it reaches."""

from typing import Annotated, NotRequired, TypedDict

LeastAndMost = Annotated[list[float], ("minItems", 2), ("maxItems", 2)]


class Gpu(TypedDict):
    """The first GPU that a worker sees; null: the card or its driver does not report it.

    Attributes:
        throttle_reasons: NVML's bit mask.
        thermal_slowdown_seconds: Since the driver was loaded.
    """

    name: str
    driver: str | None
    clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    memory_used_bytes: int | None
    throttle_reasons: int | None
    throttled: bool | None
    thermal_slowdown_seconds: float | None


class GpuRanges(TypedDict):
    """The least and the most of what varied from before a turn to after it.

    Attributes:
        states: How many times the GPU was queried.
    """

    states: int
    clock_mhz: LeastAndMost | None
    temperature_celsius: LeastAndMost | None
    power_watts: LeastAndMost | None


class BackendRates(TypedDict):
    """The rates that one backend reached, or the reason why it reached none."""

    backend: str
    flops_per_second: NotRequired[float]
    bytes_per_second: NotRequired[float]
    reason: NotRequired[str]


class Limit(TypedDict):
    """The machine's measured rates: the best of all backends."""

    flops_per_second: float
    bytes_per_second: float
    by_backend: list[BackendRates]
