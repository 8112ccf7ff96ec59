"""The types of what a training writes: its configuration, what it ran on, its metrics, its summary.

``benchmarks.records.schema`` makes JSON schemas of the types and of their docstrings; a pair in
``Annotated`` narrows a field's values. Times are in seconds, memory is in bytes.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

Share = Annotated[float, ("minimum", 0), ("maximum", 1)]
Positive = Annotated[int, ("minimum", 1)]
Sides = Annotated[list[Positive], ("minItems", 2), ("maxItems", 2)]
"""Height and width in pixels."""
Byte = Annotated[int, ("minimum", 0), ("maximum", 255)]
Rgb = Annotated[list[Byte], ("minItems", 3), ("maxItems", 3)]
Void = Literal["background", "ignore"]
"""How the pixels with the label 255 are read."""


class ClassesRecord(TypedDict):
    """A stored ``common.classes.Classes``: a class's label is its place in both lists.

    Attributes:
        colors: RGB of each class, 0..255.
    """

    names: Annotated[list[str], ("minItems", 1), ("maxItems", 255)]
    colors: Annotated[list[Rgb], ("minItems", 1), ("maxItems", 255)]


class RecipeRecord(TypedDict):
    """A stored ``common.recipes.Recipe``, of whose other fields any may be absent.

    Attributes:
        crop, tile: Height and width in pixels.
        head: Absent where it was FCN-32s of old.
        classes: Absent where they were VOC's of old.
    """

    name: str
    backbone: str
    head: NotRequired[str]
    batch_size: Positive
    crop: Sides
    void: Void
    tile: NotRequired[Sides]
    classes: NotRequired[ClassesRecord]


class ConfigRecord(TypedDict):
    """A run's `config.json`: a stored ``common.config.Config``, whose other fields may be absent.

    Attributes:
        workers: In how many processes was trained: 1 unless it is stated.
        without: Tricks that are switched off.
    """

    recipe: RecipeRecord
    seed: int
    workers: NotRequired[int]
    precision: NotRequired[str]
    without: NotRequired[list[str]]


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


class DatasetRecord(TypedDict):
    """The data set of a training; a digest identifies the files' contents.

    Attributes:
        train_dropped: Images that are smaller than the crop.
        val_images: Those not dropped; an evaluation by crops leaves out what fills no batch.
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


class Manifest(TypedDict):
    """`manifest.json`: what a training ran on.

    Attributes:
        environment: Variables that change how a framework computes; absent from early files.
    """

    backend: BackendRecord
    environment: NotRequired[dict[str, str]]
    hardware: Hardware
    commit: str | None
    dataset: DatasetRecord
    classes: NotRequired[ClassesRecord]
    weights: WeightsRecord | None
    resumed_from_step: int | None


class Reading(TypedDict):
    """Scores in one reading of the void pixels, after Long et al., section 5.

    The means are over the classes present in the truth, so that a model and the constant predictor
    beside it are compared over the same classes. In the paper's validation set all are present.
    Where no pixel counts, because all are void and void is ignored, every score is null.

    Attributes:
        pixel_accuracy: Correct pixels over all pixels.
        mean_class_accuracy: Mean over classes of correct pixels over the class's pixels.
        mean_iou: Mean over classes of intersection over union.
        frequency_weighted_iou: The classes' IoU weighted with their share of the pixels.
        class_iou: IoU of each class, null where absent from the truth.
        classes_present: How many classes the truth has.
        background_pixel_accuracy, background_mean_iou: Of a predictor that always says background.
        pixels: Scored in this reading; absent from early files.
    """

    pixel_accuracy: Share | None
    mean_class_accuracy: Share | None
    mean_iou: Share | None
    frequency_weighted_iou: Share | None
    class_iou: Annotated[list[Share | None], ("minItems", 1), ("maxItems", 255)]
    classes_present: Annotated[int, ("minimum", 0)]
    background_pixel_accuracy: Share | None
    background_mean_iou: Share | None
    pixels: NotRequired[Annotated[int, ("minimum", 0)]]


class Scores(TypedDict):
    """Scores in both readings of the void pixels."""

    background: Reading
    ignore: Reading


class Evaluation(TypedDict):
    """The scores of a network on the validation set.

    Attributes:
        val_loss: null where the evaluation tiles whole images.
        confusion: Pixels by true class (rows, the last for void) and predicted class. Comparisons
            and benchmarks leave it out.
    """

    val_loss: float | None
    scores: Scores
    confusion: NotRequired[list[list[Annotated[int, ("minimum", 0)]]]]


class Epoch(Evaluation):
    """The evaluation after one epoch.

    Attributes:
        epoch: Counted from 0.
        train_loss: Mean loss of the epoch's training batches.
        val_loss: null where the evaluation tiles whole images.
    """

    epoch: int
    train_loss: float


class EpochLine(Epoch):
    """A line of `metrics.jsonl` for an epoch.

    Attributes:
        train_loss: Mean loss of the epoch's training batches.
        val_loss: null where the evaluation tiles whole images.
        confusion: Pixels by true class (rows, the last for void) and predicted class; absent from
            early files.
    """

    kind: Literal["epoch"]


class StepLine(TypedDict):
    """A line of `metrics.jsonl` for a step.

    Attributes:
        seconds: Mean over the steps since the losses were last read.
    """

    kind: Literal["step"]
    step: int
    epoch: int
    loss: float
    learning_rate: float
    seconds: float


class Summary(TypedDict):
    """`summary.json`: the figures of a finished training.

    Attributes:
        step_seconds: One mean for each read of the losses but the first.
    """

    backend: str
    steps: int
    first_step_seconds: float | None
    step_seconds: list[float]
    batch_size: int
    total_seconds: float
    host_memory_peak_bytes: int
    device_memory_peak_bytes: int | None
    final: EpochLine
