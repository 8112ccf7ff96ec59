"""The types of `bench.json`, the results of `fcn bench`.

``records.schema`` makes the stored JSON schema of the types and of their docstrings; a pair in
``Annotated`` narrows a field's values. Times are in seconds, memory is in bytes. The types of
whole trainings and of the other documents stand in the modules it imports.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from benchmarks.records.machines.documents import Gpu, GpuRanges, Limit
from benchmarks.records.proof_documents import BackendRow, Origin, Precision
from benchmarks.records.statistics import Interval, Judgement, Pair, Ratio, Test
from benchmarks.records.training_documents import Accuracy
from common.config import DEVICES
from common.documents import BackendRecord, Hardware, Positive, RecipeRecord, Sides

Track = Annotated[str, ("pattern", "^(chapter|default|tuned|native-upsampling|without-[a-z-]+)$")]
Device = Annotated[str, ("enum", DEVICES)]
Seconds = Annotated[float, ("exclusiveMinimum", 0), ("maximum", 1e9)]
RowStatus = Literal["running", "ok", "invalid", "failed", "unsupported"]


class Settings(TypedDict):
    """The options of `fcn bench`.

    Attributes:
        own_recipe: Of a file.
        head: Absent in early files.
        processes: Of each row. Absent in early files, where a row had one, or one a round in a case
            that starts processes.
        rounds: Of each process.
    """

    backends: list[str]
    cases: list[str]
    tracks: list[str]
    batch_sizes: list[int]
    crop: list[int]
    recipe: str
    own_recipe: NotRequired[RecipeRecord | None]
    backbone: str
    head: NotRequired[str]
    precisions: list[str]
    upsampling: str
    processes: NotRequired[int]
    rounds: int
    seconds: float
    least_steps: int
    seed: int
    device: str
    threads: int | None
    timeout: Seconds
    pythons: dict[str, str]
    profile: bool
    quick: bool


class Sample(TypedDict):
    """One turn of a row.

    Attributes:
        seconds: One step: the turn's time by its number of steps.
        turn_cpu_seconds: CPU time of the worker in its turn, waking step included.
        slept_seconds: Since the worker's last turn.
        asleep_cpu_share: Of one CPU, taken by the worker while it should sleep.
        position: Place in the turn's order.
        process: Index into the row's processes.
        began: Of the turn, in Unix time by the clock of its host.
        other_cpu_share: Of all CPUs, taken by other processes in the turn.
        asked_seconds: Of the turn by the parent's clock. Absent in early files.
        clocked_seconds: Of the timed steps alone by the parent's clock. Absent in early files.
        gpu: After the turn.
        dropped: Why the sample does not count.
    """

    seconds: Seconds
    steps: int
    turn_seconds: float
    turn_cpu_seconds: float
    asked_seconds: NotRequired[float]
    clocked_seconds: NotRequired[float]
    slept_seconds: float
    asleep_cpu_share: float
    round: int
    turn: Literal[0, 1]
    position: int
    process: int
    began: NotRequired[float]
    other_cpu_share: float | None
    gpu: Gpu | None
    gpu_ranges: NotRequired[GpuRanges | None]
    dropped: Literal["throttled"] | None


class Process(TypedDict):
    """One worker process of a row.

    Attributes:
        cpus: The numbers of the CPUs it may use.
        first_ended: The first step's end, on the monotonic clock.
        cpu_seconds: From its start until it had proved its work.
        late_steps: Steps that were done to find late_seconds.
        late_seconds: Work left when synchronize had returned, but for noise.
        host_memory_peak_reset: True: of steps alone. False or absent: of the whole process.
    """

    backend: BackendRecord
    switches: dict[str, object] | None
    environment: dict[str, str]
    cpus: NotRequired[list[int]]
    create_seconds: float
    first_seconds: float
    first_ended: NotRequired[float]
    cpu_seconds: NotRequired[float]
    steps: NotRequired[int]
    step_seconds: NotRequired[float]
    late_steps: NotRequired[int]
    late_seconds: NotRequired[float]
    host_memory_peak_bytes: NotRequired[int]
    host_memory_peak_reset: NotRequired[bool]
    device_memory_peak_bytes: NotRequired[int | None]


class Check(TypedDict):
    """The relative error of one quantity, null for no finite number, and its bound."""

    error: float | None
    bound: float


class Gate(TypedDict):
    """The checks, by quantity, of the proof that precedes every figure, or of the closing one.

    Of each quantity the largest error counts of the processes that were asked for it.
    """

    passed: bool
    reason: str | None
    checks: dict[str, Check]


class BreakEven(TypedDict):
    """When a row has caught up with the track whose first step is done first.

    Attributes:
        against: The key of that track's row.
        steps: null where it never does.
    """

    against: str
    steps: int | None


class Reached(TypedDict):
    """How near a row comes to the machine's limits.

    Attributes:
        intensity: FLOPs a byte.
    """

    bound: Literal["arithmetic", "bandwidth"]
    fraction: float
    flops_per_second: float
    intensity: float


class Figures(TypedDict):
    """What the samples of a row give.

    Attributes:
        self_ratio: A against A: each process' second turn over its first, round by round.
        first_step_seconds: The median over processes.
        compile_seconds: The first step less a steady one.
        break_even: Steps until the row has caught up with the track of its backend that starts
            first, all else equal; null for that track and where nothing is compiled.
        host_memory_peak_bytes: Of steps alone where the process has host_memory_peak_reset, else
            since its start; with the peaks, since their start, of the processes it keeps for
            loading: pages that they share count in each.
        flops: Of one step, counted from the shapes.
        limit: The least time by the measured limits over the time taken.
        steady_seconds: Of a case that starts processes: the median step once all is compiled;
            step_seconds is then the time from a process's start to the end of its first step.
        pixels_per_second: Pixels that get a label, each time they do, over the median step.
    """

    step_seconds: Interval
    examples_per_second: Interval
    self_ratio: Ratio | None
    first_step_seconds: float
    compile_seconds: float
    break_even: BreakEven | None
    create_seconds: float
    host_memory_peak_bytes: int
    device_memory_peak_bytes: int | None
    flops: float
    bytes: float
    limit: Reached | None
    dropped_samples: int
    steady_seconds: NotRequired[float]
    pixels_per_second: NotRequired[float]


class Row(BackendRow):
    """One case, variant, batch size, precision and track of one backend.

    Attributes:
        head: Absent where it was FCN-32s of old.
        crop: Height and width in pixels.
        host: The name of the machine that measured it, where several machines of one kind did.
        closing: Of the turns of every process, and of the questions that one is asked after them.
            Absent in early files and in first_step.
        profile: Folder of the framework's trace, relative to the document's.
    """

    key: str
    case: str
    variant: str | None
    track: Track
    backbone: str
    head: NotRequired[str]
    recipe: str
    batch_size: Positive
    crop: Sides
    precision: Precision
    device: Device
    status: RowStatus
    gate: Gate | None
    closing: NotRequired[Gate]
    processes: list[Process]
    samples: list[Sample]
    figures: Figures | None
    warnings: list[str]
    profile: str | None
    host: NotRequired[str]


class Comparison(Pair, Judgement):
    """A pair of rows and what the tests of its table say of it.

    Attributes:
        kind: Two rows, all else equal: of two backends on a track, or of two tracks of a backend.
        ratio: b's time over a's.
    """


class Bench(Origin):
    """Results of fcn bench.

    No ratio crosses rows that differ in case, variant, backbone, head, recipe, batch size, crop,
    precision, device or host, nor a CPU and a GPU.

    Attributes:
        schema_checked: Whether the writer could check its results against this schema.
        gpu: At the start.
        hosts: The machines of one kind that measured the rows, by name.
        limits: By precision, and by threads for rows that have their own ('float32, threads-1').
            A row of several devices may reach as many times as much.
    """

    version: Literal[1]
    kind: Literal["bench"]
    schema_checked: bool
    gpu: Gpu | None
    hosts: NotRequired[dict[str, Hardware]]
    settings: Settings
    limits: dict[str, Limit | None]
    test: Test
    rows: list[Row]
    comparisons: list[Comparison]
    accuracy: NotRequired[Accuracy]
