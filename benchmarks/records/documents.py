"""The types of `bench.json`, the results of `fcn bench`.

A string in ``Annotated`` describes a field, a pair narrows its values; ``records.schema`` makes
the stored JSON schema of both. Times are in seconds, memory is in bytes. The types of
whole trainings and of the other documents stand in the two modules it imports.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from benchmarks.records.run_documents import BackendRecord, Hardware, Interval, Positive, Sides
from benchmarks.records.training_documents import Accuracy

Track = Annotated[str, ("pattern", "^(chapter|default|tuned|native-upsampling|without-[a-z-]+)$")]
Precision = Annotated[str, ("enum", ("float32", "tf32", "bfloat16", "float64"))]
Device = Annotated[str, ("enum", ("auto", "cpu", "gpu"))]
LeastAndMost = Annotated[list[float], ("minItems", 2), ("maxItems", 2)]
RowStatus = Literal["running", "ok", "invalid", "failed", "unsupported"]


class Gpu(TypedDict):
    """The first GPU that a worker sees; null: the card or its driver does not report it."""

    name: str
    driver: str | None
    clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    memory_used_bytes: int | None
    throttle_reasons: Annotated[int | None, "NVML's bit mask."]
    throttled: bool | None
    thermal_slowdown_seconds: Annotated[float | None, "Since the driver was loaded."]


class GpuRanges(TypedDict):
    """The least and the most of what varied from before a turn to after it."""

    states: Annotated[int, "How many times the GPU was queried."]
    clock_mhz: LeastAndMost | None
    temperature_celsius: LeastAndMost | None
    power_watts: LeastAndMost | None


class Settings(TypedDict):
    """The options of `fcn bench` that the rows were measured with."""

    backends: list[str]
    cases: list[str]
    tracks: list[str]
    batch_sizes: list[int]
    crop: list[int]
    recipe: str
    backbone: str
    precisions: list[str]
    upsampling: str
    rounds: int
    seconds: float
    least_steps: int
    seed: int
    device: str
    threads: int | None
    timeout: float
    pythons: dict[str, str]
    profile: bool
    quick: bool


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


class Test(TypedDict):
    """The test that the comparisons rest on."""

    name: str
    level: float


class Sample(TypedDict):
    """One turn of a row."""

    seconds: Annotated[
        float,
        "One step: the turn's time by its number of steps.",
        ("exclusiveMinimum", 0),
        ("maximum", 1e9),
    ]
    steps: int
    turn_seconds: float
    turn_cpu_seconds: Annotated[float, "CPU time of the worker in its turn, waking step included."]
    slept_seconds: Annotated[float, "Since the worker's last turn."]
    asleep_cpu_share: Annotated[float, "Of one CPU, taken by the worker while it should sleep."]
    round: int
    turn: Literal[0, 1]
    position: Annotated[int, "Place in the turn's order."]
    process: Annotated[int, "Index into the row's processes."]
    other_cpu_share: Annotated[float | None, "Of all CPUs, taken by other processes in the turn."]
    gpu: Annotated[Gpu | None, "After the turn."]
    gpu_ranges: NotRequired[GpuRanges | None]
    dropped: Annotated[Literal["throttled"] | None, "Why the sample does not count."]


class Process(TypedDict):
    """One worker process of a row."""

    backend: BackendRecord
    switches: dict[str, object] | None
    environment: dict[str, str]
    cpus: NotRequired[Annotated[list[int], "The numbers of the CPUs it may use."]]
    create_seconds: float
    first_seconds: float
    first_ended: NotRequired[Annotated[float, "The first step's end, on the monotonic clock."]]
    cpu_seconds: NotRequired[Annotated[float, "From its start until it had proved its work."]]
    steps: NotRequired[int]
    step_seconds: NotRequired[float]
    late_steps: NotRequired[Annotated[int, "Steps that were done to find late_seconds."]]
    late_seconds: NotRequired[
        Annotated[float, "Work left when synchronize had returned, but for noise."]
    ]
    host_memory_peak_bytes: NotRequired[int]
    host_memory_peak_reset: NotRequired[
        Annotated[bool, "True: of steps alone. False or absent: of the whole process."]
    ]
    device_memory_peak_bytes: NotRequired[int | None]


class Check(TypedDict):
    """The relative error of one quantity, null for no finite number, and its bound."""

    error: float | None
    bound: float


class Gate(TypedDict):
    """The proof of equal work that precedes every figure."""

    passed: bool
    reason: str | None
    checks: Annotated[dict[str, Check], "By quantity."]


class Ratio(TypedDict):
    """A paired test of times: their ratio, its 95 % interval, and a p-value."""

    pairs: int
    ratio: float
    low: float
    high: float
    p_value: float


class BreakEven(TypedDict):
    """When a row has caught up with the track whose first step is done first."""

    against: Annotated[str, "The key of that track's row."]
    steps: Annotated[int | None, "null where it never does."]


class Reached(TypedDict):
    """How near a row comes to the machine's limits."""

    bound: Literal["arithmetic", "bandwidth"]
    fraction: float
    flops_per_second: float
    intensity: Annotated[float, "FLOPs a byte."]


class Figures(TypedDict):
    """What the samples of a row give."""

    step_seconds: Interval
    examples_per_second: Interval
    self_ratio: Annotated[
        Ratio | None, "A against A: the worker's second turn over its first, round by round."
    ]
    first_step_seconds: float
    compile_seconds: Annotated[float, "The first step less a steady one."]
    break_even: Annotated[
        BreakEven | None,
        "Steps until the row has caught up with the track of its backend whose first step is "
        "shortest, all else equal; null for that track and where nothing is compiled.",
    ]
    create_seconds: float
    host_memory_peak_bytes: Annotated[
        int,
        "Of steps alone where the process has host_memory_peak_reset, else since its start; "
        "with the peaks, since their start, of the processes it keeps for loading: pages that "
        "they share count in each.",
    ]
    device_memory_peak_bytes: int | None
    flops: Annotated[float, "Of one step, counted from the shapes."]
    bytes: float
    limit: Annotated[Reached | None, "The least time by the measured limits over the time taken."]
    dropped_samples: int
    steady_seconds: NotRequired[
        Annotated[
            float,
            "Of a case that starts processes: the median step once all is compiled. step_seconds "
            "is then the time from a process's start to the end of its first step.",
        ]
    ]
    pixels_per_second: NotRequired[
        Annotated[float, "Pixels that get a label, each time they do, over the median step."]
    ]


class Row(TypedDict):
    """One case, variant, batch size, precision and track of one backend."""

    key: str
    case: str
    variant: str | None
    backend: str
    title: str
    track: Track
    backbone: str
    recipe: str
    batch_size: Positive
    crop: Sides
    precision: Precision
    device: Device
    status: RowStatus
    reason: str | None
    gate: Gate | None
    processes: list[Process]
    samples: list[Sample]
    figures: Figures | None
    warnings: list[str]
    profile: Annotated[str | None, "Folder of the framework's trace, relative to the document's."]


class Judgement(TypedDict):
    """What a table's tests say of one of them, corrected for their number."""

    p_corrected: float
    least_p: NotRequired[
        Annotated[float, "The least p_corrected that so few pairs can give. Absent in early files."]
    ]
    differ: bool


class Comparison(Ratio, Judgement):
    """Two rows, all else equal: of two backends on a track, or of two tracks of a backend.

    ``ratio`` is b's time over a's.
    """

    kind: Literal["backends", "tracks"]
    a: str
    b: str


class Bench(TypedDict):
    """Results of fcn bench.

    No ratio crosses rows that differ in case, variant, backbone, recipe, batch size, crop,
    precision or device, nor a CPU and a GPU.
    """

    version: Literal[1]
    kind: Literal["bench"]
    created: str
    commit: str | None
    schema_checked: Annotated[
        bool, "Whether the writer could check its results against this schema with jsonschema."
    ]
    hardware: Hardware
    gpu: Annotated[Gpu | None, "At the start."]
    settings: Settings
    limits: Annotated[
        dict[str, Limit | None],
        "By precision, for rows with threads of their own also by these ('float32, threads-1'). "
        "A row of several devices may reach as many times as much.",
    ]
    test: Test
    rows: list[Row]
    comparisons: list[Comparison]
    accuracy: NotRequired[Accuracy]
