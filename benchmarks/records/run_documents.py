"""The types of what a training and `fcn parity` write as JSON, and parts that documents share.

A string in ``Annotated`` describes a field, a pair narrows its values; ``records.schema`` makes
the stored JSON schemas of both. Times are in seconds, memory is in bytes, losses and errors are
plain numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

Finite = Annotated[float, ("maximum", 1e18)]
Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Positive = Annotated[int, ("minimum", 1)]
Sides = Annotated[list[Positive], "Height and width in pixels.", ("minItems", 2), ("maxItems", 2)]


class Interval(TypedDict):
    """The median over samples and its 95 % bootstrap interval."""

    median: Finite
    low: Finite
    high: Finite


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
    background_pixel_accuracy: NotRequired[Annotated[float, "Of always predicting background."]]
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
    batch_size: Positive
    crop: Sides
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
    final: EpochLine


class FindingRecord(TypedDict):
    """One error beside its bound; null stands for no finite number."""

    quantity: str
    name: str
    error: float | None
    limit: float


Errors = Annotated[dict[str, float | None], "By layer, tensor or step."]


class ProofRow(TypedDict):
    """One backend's proof with one backbone. Without a proof only five fields are there."""

    backend: str
    title: str
    status: Literal["ok", "differs", "missing", "refused", "failed"]
    reason: str | None
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    errors: NotRequired[Annotated[dict[str, Errors], "By quantity."]]
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
