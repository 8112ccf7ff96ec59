"""The types of parts that documents share, and of `parity.json`, the proofs of `fcn parity`.

``records.schema`` makes the stored JSON schemas of the types and of their docstrings; a pair in
``Annotated`` narrows a field's values. Times are in seconds, memory is in bytes, losses and errors
are plain numbers.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

Finite = Annotated[float, ("maximum", 1e18)]
Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Positive = Annotated[int, ("minimum", 1)]
Sides = Annotated[list[Positive], ("minItems", 2), ("maxItems", 2)]
"""Height and width in pixels."""


class Interval(TypedDict):
    """The median over samples and its 95 % bootstrap interval."""

    median: Finite
    low: Finite
    high: Finite


class Hardware(TypedDict):
    """The machine that computed.

    Attributes:
        cpus: CPUs that the process may use.
    """

    processor: str
    cpus: int
    memory_bytes: int | None
    system: str
    python: str


class Origin(TypedDict):
    """When and where a document was written, and by which code."""

    created: str
    commit: str | None
    hardware: Hardware


class BackendRow(TypedDict):
    """What every row of a backend states; its reason is null where its status is ok."""

    backend: str
    title: str
    reason: str | None


class Reading(TypedDict):
    """Scores in one reading of the void pixels, as ``common.run.metrics.Scores`` defines them.

    Attributes:
        class_iou: null: the truth lacks the class.
        background_pixel_accuracy: Of always predicting background.
    """

    pixel_accuracy: Share
    mean_iou: Share
    mean_class_accuracy: NotRequired[float]
    frequency_weighted_iou: NotRequired[float]
    class_iou: NotRequired[list[float | None]]
    classes_present: NotRequired[int]
    background_pixel_accuracy: NotRequired[float]
    background_mean_iou: NotRequired[float]


class Scores(TypedDict):
    """Scores in both readings of the void pixels."""

    background: Reading
    ignore: Reading


class Epoch(TypedDict):
    """The evaluation after one epoch.

    Attributes:
        train_loss: Mean loss of the epoch's training batches.
        val_loss: null where the evaluation tiles whole images.
    """

    scores: Scores
    epoch: NotRequired[int]
    train_loss: NotRequired[float]
    val_loss: NotRequired[float | None]


class RecipeRecord(TypedDict):
    """A stored ``common.recipes.Recipe``, of whose other fields any may be absent.

    Attributes:
        crop, tile: Height and width in pixels.
    """

    name: str
    backbone: str
    batch_size: Positive
    crop: Sides
    void: Literal["background", "ignore"]
    tile: NotRequired[Sides]


class ConfigRecord(TypedDict):
    """A run's `config.json`: a stored ``common.config.Config``, whose other fields may be absent.

    Attributes:
        without: Tricks that are switched off.
    """

    recipe: RecipeRecord
    seed: int
    precision: NotRequired[str]
    without: NotRequired[list[str]]


class Platform(TypedDict):
    """What a backend computes with."""

    versions: dict[str, str]
    device: str
    threads: int | None
    precision: str


class BackendRecord(Platform):
    """What a backend reports of itself once it is configured; it may add switches of its own."""

    name: str
    deterministic: bool


OPEN = (Hardware, Reading, Scores, Epoch, RecipeRecord, ConfigRecord, BackendRecord)
"""Objects that may have more fields than their types name."""


class DatasetRecord(TypedDict):
    """The data set of a training; a digest identifies the files' contents.

    Attributes:
        train_dropped: Images that are smaller than the crop.
        generated: In a comparison: `fcn compare` generated it.
    """

    root: str
    digest: str
    train_images: int
    train_dropped: int
    val_digest: str
    val_images: int
    val_dropped: int
    steps_per_epoch: int
    generated: NotRequired[bool]


class WeightsRecord(TypedDict):
    """The file of parameters that a training started from."""

    name: str
    sha256: str


class FindingRecord(TypedDict):
    """One error beside its bound; null stands for no finite number."""

    quantity: str
    name: str
    error: float | None
    limit: float


class ProofRow(BackendRow):
    """One backend's proof with one backbone. Without a proof only five fields are there.

    Attributes:
        errors: By quantity, then by layer, tensor or step.
        worst: What takes up most of its bound.
        drift: The relative error of each training loss.
        drift_float64: The same in float64.
    """

    status: Literal["ok", "differs", "missing", "refused", "failed"]
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    errors: NotRequired[dict[str, dict[str, float | None]]]
    worst: NotRequired[FindingRecord]
    drift: NotRequired[list[float | None]]
    drift_float64: NotRequired[list[float | None] | None]
    broken: NotRequired[list[FindingRecord]]


class Yardstick(TypedDict):
    """How far one backend's losses are from its own with another number of threads.

    Attributes:
        threads: The usual number and the other one.
    """

    backend: str
    threads: list[int]
    drift: list[float]


class ProofPart(TypedDict):
    """The proofs with one backbone.

    Attributes:
        losses: Of the reference's training.
        limits: The bound of each step's loss.
    """

    backbone: str
    losses: list[float]
    limits: list[float]
    yardstick: Yardstick | None
    rows: list[ProofRow]


class ProofData(TypedDict):
    """The images of a proof.

    Attributes:
        digest: Of real images; null for generated ones.
    """

    generated: bool
    digest: str | None


class Proof(Origin):
    """`parity.json`: every backend against the float64 reference of the whole network.

    Attributes:
        without: Tricks that are switched off.
        crop: Height and width in pixels.
    """

    version: Literal[1]
    kind: Literal["parity"]
    data: ProofData
    precision: str
    upsampling: str
    without: NotRequired[list[str]]
    batch: int
    crop: Sides
    weights: str | None
    seed: int
    backbones: list[ProofPart]
