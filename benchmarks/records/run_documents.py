"""The types of what a training, `fcn compare` and `fcn parity` write as JSON.

A string in ``Annotated`` describes a field, a pair narrows its values; ``records.schema`` makes
the stored JSON schemas of both. Times are in seconds, memory is in bytes, losses and errors are
plain numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Sides = Annotated[list[int], "Height and width in pixels.", ("minItems", 2), ("maxItems", 2)]
Picture = Annotated[str, ("pattern", r"^gallery/[^/\\]+\.png$")]
"""The path of a picture, relative to the document's folder."""


class Hardware(TypedDict):
    """The machine that computed."""

    processor: str
    cpus: Annotated[int, "CPUs that the process may use."]
    memory_bytes: int | None
    system: str
    python: str


class Reading(TypedDict):
    """Scores in one reading of the void pixels, as ``common.run.metrics.Scores`` defines them."""

    pixel_accuracy: Share
    mean_iou: Share
    mean_class_accuracy: NotRequired[float]
    frequency_weighted_iou: NotRequired[float]
    class_iou: NotRequired[Annotated[list[float | None], "null: the truth lacks the class."]]
    classes_present: NotRequired[int]
    background_pixel_accuracy: NotRequired[
        Annotated[float, "The score of always predicting background."]
    ]
    background_mean_iou: NotRequired[float]


class Scores(TypedDict):
    """Scores in both readings of the void pixels."""

    background: Reading
    ignore: Reading


class Epoch(TypedDict):
    """The evaluation after one epoch."""

    scores: Scores
    epoch: NotRequired[int]
    train_loss: NotRequired[Annotated[float, "Mean loss of the epoch's training batches."]]
    val_loss: NotRequired[Annotated[float | None, "null where the evaluation tiles whole images."]]


class RecipeRecord(TypedDict):
    """A stored ``common.recipes.Recipe``."""

    name: str
    backbone: str
    batch_size: Annotated[int, ("minimum", 1)]
    crop: Annotated[
        list[Annotated[int, ("minimum", 1)]],
        "Height and width in pixels.",
        ("minItems", 2),
        ("maxItems", 2),
    ]
    void: Literal["background", "ignore"]
    loss_reduction: NotRequired[str]
    learning_rate: NotRequired[float]
    schedule: NotRequired[str]
    momentum: NotRequired[float]
    weight_decay: NotRequired[float]
    decay_scope: NotRequired[str]
    init: NotRequired[str]
    upsample_init: NotRequired[str]
    epochs: NotRequired[int]
    flip: NotRequired[bool]
    evaluation: NotRequired[str]
    tile: NotRequired[Sides]


class ConfigRecord(TypedDict):
    """A stored ``common.config.Config``: the contents of a run's `config.json`."""

    recipe: RecipeRecord
    seed: int
    max_steps: NotRequired[int | None]
    device: NotRequired[str]
    devices: NotRequired[int]
    precision: NotRequired[str]
    upsampling: NotRequired[str]
    without: NotRequired[Annotated[list[str], "Tricks that are switched off."]]
    deterministic: NotRequired[bool]
    threads: NotRequired[int | None]
    cache_mib: NotRequired[int | None]


class BackendRecord(TypedDict):
    """What a backend reports of itself once it is configured; it may add switches of its own."""

    name: str
    versions: dict[str, str]
    device: str
    threads: int | None
    precision: str
    deterministic: bool


class DatasetRecord(TypedDict):
    """The data set of a training; a digest identifies the files' contents."""

    root: str
    digest: str
    train_images: int
    train_dropped: Annotated[int, "Images that are smaller than the crop."]
    val_digest: str
    val_images: int
    val_dropped: int
    steps_per_epoch: int
    generated: NotRequired[Annotated[bool, "In a comparison: `fcn compare` generated it."]]


class WeightsRecord(TypedDict):
    """The file of parameters that a training started from."""

    name: str
    sha256: str


class Manifest(TypedDict):
    """`manifest.json`: what a training ran on."""

    backend: BackendRecord
    hardware: Hardware
    commit: str | None
    dataset: DatasetRecord
    weights: WeightsRecord | None
    resumed_from_step: int | None


class StepLine(TypedDict):
    """A line of `metrics.jsonl` for a step."""

    kind: Literal["step"]
    step: int
    epoch: int
    loss: float
    learning_rate: float
    seconds: Annotated[float, "Mean over the steps since the losses were last read."]


class EpochLine(Epoch):
    """A line of `metrics.jsonl` for an epoch."""

    kind: Literal["epoch"]


class Summary(TypedDict):
    """`summary.json`: the figures of a finished training."""

    backend: str
    steps: int
    first_step_seconds: float | None
    step_seconds: Annotated[list[float], "One mean for each read of the losses but the first."]
    batch_size: int
    total_seconds: float
    host_memory_peak_bytes: int
    device_memory_peak_bytes: int | None
    final: EpochLine | None


class Rate(TypedDict):
    """The median of samples and its 95 % bootstrap interval, with the samples."""

    median: float
    low: float
    high: float
    samples: list[float]


class TrainedRow(TypedDict):
    """One backend's training in a comparison. Only a finished one has more than six fields."""

    backend: str
    title: str
    note: str | None
    status: Literal["ok", "missing", "failed", "differs"]
    reason: str | None
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    precision: NotRequired[str]
    deterministic: NotRequired[bool]
    agreement: NotRequired[
        Annotated[float | None, "The largest part of its bound that a first loss was off by."]
    ]
    train_loss: NotRequired[Annotated[float | None, "null where the row differs."]]
    val_loss: NotRequired[float | None]
    scores: NotRequired[Scores | None]
    examples_per_second: NotRequired[Rate | None]
    first_step_seconds: NotRequired[float | None]
    host_memory_peak_bytes: NotRequired[int]
    device_memory_peak_bytes: NotRequired[int | None]
    total_seconds: NotRequired[float]
    steps: NotRequired[Annotated[list[tuple[int, float]], "Step and loss."]]
    epochs: NotRequired[list[Epoch]]


class Trace(TypedDict):
    """The first losses of a training in float64, and how far a backend's may be from them."""

    reference: Annotated[str, "The backend that computed them."]
    losses: list[float]
    drift: Annotated[list[float], "The furthest that the reference drifts from itself."]
    bounds: Annotated[list[float | None], "null once drift hides what a bound would show."]


class Example(TypedDict):
    """A validation image as files. Paths are relative to the document's folder."""

    name: str
    image: Picture
    truth: Picture


class GalleryEntry(Example):
    """An example with the predictions that a benchmark copied beside it."""

    predictions: Annotated[dict[str, Picture], "By backend."]


class ComparedExample(Example):
    """An example with the predictions in the runs' folders."""

    predictions: Annotated[dict[str, str], "By backend."]


class Compared(TypedDict):
    """`compare.json`: every backend's training from the same start over the same bytes."""

    version: Literal[2]
    kind: Literal["compare"]
    created: str
    commit: str | None
    config: ConfigRecord
    hardware: Hardware
    dataset: DatasetRecord
    weights: WeightsRecord | None
    agreement: Trace
    rows: list[TrainedRow]
    gallery: list[ComparedExample]


class FindingRecord(TypedDict):
    """One error beside its bound; null stands for no finite number."""

    quantity: str
    name: str
    error: float | None
    limit: float


class ProofRow(TypedDict):
    """One backend's proof with one backbone. Without a proof only five fields are there."""

    backend: str
    title: str
    status: Literal["ok", "differs", "missing", "refused", "failed"]
    reason: str | None
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    errors: NotRequired[
        Annotated[dict[str, dict[str, float | None]], "By quantity and layer, tensor or step."]
    ]
    worst: NotRequired[Annotated[FindingRecord, "What takes up most of its bound."]]
    drift: NotRequired[Annotated[list[float | None], "The relative error of each training loss."]]
    drift_float64: NotRequired[Annotated[list[float | None] | None, "The same in float64."]]
    broken: NotRequired[list[FindingRecord]]


class Yardstick(TypedDict):
    """How far one backend's losses are from its own with another number of threads."""

    backend: str
    threads: Annotated[list[int], "The usual number and the other one."]
    drift: list[float]


class ProofPart(TypedDict):
    """The proofs with one backbone."""

    backbone: str
    losses: Annotated[list[float], "Of the reference's training."]
    limits: Annotated[list[float], "The bound of each step's loss."]
    yardstick: Yardstick | None
    rows: list[ProofRow]


class ProofData(TypedDict):
    """The images of a proof."""

    generated: bool
    digest: Annotated[str | None, "Of real images; null for generated ones."]


class Proof(TypedDict):
    """`parity.json`: every backend against the float64 reference of the whole network."""

    version: Literal[1]
    kind: Literal["parity"]
    created: str
    commit: str | None
    hardware: Hardware
    data: ProofData
    precision: str
    upsampling: str
    without: NotRequired[Annotated[list[str], "Tricks that are switched off."]]
    batch: int
    crop: Sides
    weights: str | None
    seed: int
    backbones: list[ProofPart]


OPEN = (Hardware, Reading, Scores, Epoch, RecipeRecord, ConfigRecord, BackendRecord)
"""Objects that may have more fields than their type names."""
