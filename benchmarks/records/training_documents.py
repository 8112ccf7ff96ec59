"""The types of trainings: what each writes, `compare.json`, the case accuracy of `bench.json`."""

from typing import Annotated, Literal, NotRequired, TypedDict

from benchmarks.records import run_documents as parts

Picture = Annotated[str, ("pattern", r"^gallery/[^/\\]+\.png$")]
"""The path of a picture, relative to the document's folder."""


class Manifest(TypedDict):
    """`manifest.json`: what a training ran on."""

    backend: parts.BackendRecord
    hardware: parts.Hardware
    commit: str | None
    dataset: parts.DatasetRecord
    weights: parts.WeightsRecord | None
    resumed_from_step: int | None


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


class EpochLine(parts.Epoch):
    """A line of `metrics.jsonl` for an epoch.

    Attributes:
        train_loss: Mean loss of the epoch's training batches.
        val_loss: null where the evaluation tiles whole images.
    """

    kind: Literal["epoch"]


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


class Rate(parts.Interval):
    """Examples a second of a training, with the samples."""

    samples: list[float]


class TrainedRow(parts.BackendRow):
    """One backend's training in a comparison. Only a finished one has more than six fields.

    Attributes:
        agreement: The largest share of a first loss's bound.
        train_loss: null where the row differs.
        steps: Step and loss.
    """

    note: str | None
    status: Literal["ok", "missing", "failed", "differs"]
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    precision: NotRequired[str]
    deterministic: NotRequired[bool]
    agreement: NotRequired[float | None]
    train_loss: NotRequired[float | None]
    val_loss: NotRequired[float | None]
    scores: NotRequired[parts.Scores | None]
    examples_per_second: NotRequired[Rate | None]
    first_step_seconds: NotRequired[float | None]
    host_memory_peak_bytes: NotRequired[int]
    device_memory_peak_bytes: NotRequired[int | None]
    total_seconds: NotRequired[float]
    steps: NotRequired[list[tuple[int, float]]]
    epochs: NotRequired[list[parts.Epoch]]


class Trace(TypedDict):
    """The first losses of a training in float64, and how far a backend's may be from them.

    Attributes:
        reference: The backend that computed them.
        drift: The furthest that the reference drifts from itself.
        bounds: null once drift hides what a bound would show.
    """

    reference: str
    losses: list[float]
    drift: list[float]
    bounds: list[float | None]


class Example(TypedDict):
    """A validation image as files. Paths are relative to the document's folder."""

    name: str
    image: Picture
    truth: Picture


class GalleryEntry(Example):
    """An example with the predictions that a benchmark copied beside it.

    Attributes:
        predictions: By backend.
    """

    predictions: dict[str, Picture]


class ComparedExample(Example):
    """An example with the predictions in the runs' folders.

    Attributes:
        predictions: By backend.
    """

    predictions: dict[str, str]


class Compared(parts.Origin):
    """`compare.json`: every backend's training from the same start over the same bytes."""

    version: Literal[2]
    kind: Literal["compare"]
    config: parts.ConfigRecord
    dataset: parts.DatasetRecord
    weights: parts.WeightsRecord | None
    agreement: Trace
    rows: list[TrainedRow]
    gallery: list[ComparedExample]


class Margins(TypedDict):
    """The differences of the scores that would not matter."""

    pixel_accuracy: float
    mean_iou: float


class AccuracyRun(parts.Platform):
    """A finished training from one seed.

    Attributes:
        agreement: The largest part of its bound that a first loss was off by.
        seconds_to_target: Of training steps until an epoch ended 0.1 above the pixel accuracy of
            always predicting background; null where none did.
    """

    seed: int
    agreement: float
    scores: parts.Scores
    train_loss: float
    epochs: list[parts.Epoch]
    seconds_to_target: float | None


class AccuracyRow(parts.BackendRow):
    """One backend's trainings. They are a result only where the status is ok.

    Attributes:
        runs: By seed.
    """

    status: Literal["ok", "missing", "failed", "differs"]
    runs: list[AccuracyRun]


class EquivalenceTest(TypedDict):
    """Two one-sided t-tests of the mean of paired differences.

    Attributes:
        low, high: Bounds of the 90 % interval of the mean.
    """

    mean: float
    low: float
    high: float
    margin: float
    p: float
    equivalent: bool
    differences: list[float]


class Equivalence(EquivalenceTest):
    """The test of one score of two backends, paired by seed.

    Attributes:
        backends: Two.
        low, high: Bounds of the 90 % interval of the mean.
    """

    backends: list[str]
    score: Annotated[str, ("enum", ("pixel_accuracy", "mean_iou"))]


class Accuracy(TypedDict):
    """Of the case accuracy: a training for each seed and backend, and tests of equivalence.

    Attributes:
        config: Of the first seed's trainings.
        gallery: Validation images with the predictions of every finished backend's training from
            the first seed. Paths are relative to the results' folder.
    """

    config: parts.ConfigRecord
    seeds: int
    margins: Margins
    level: float
    rows: list[AccuracyRow]
    equivalence: list[Equivalence]
    gallery: NotRequired[list[GalleryEntry]]
