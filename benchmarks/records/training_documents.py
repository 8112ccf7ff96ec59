"""The types of compared trainings: `compare.json`, and the case accuracy of `bench.json`."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from benchmarks.records.run_documents import (
    ConfigRecord,
    DatasetRecord,
    Epoch,
    Hardware,
    Interval,
    Scores,
    WeightsRecord,
)

Picture = Annotated[str, ("pattern", r"^gallery/[^/\\]+\.png$")]
"""The path of a picture, relative to the document's folder."""


class Rate(Interval):
    """Examples a second of a training, with the samples."""

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
    agreement: NotRequired[Annotated[float | None, "The largest share of a first loss's bound."]]
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


class Margins(TypedDict):
    """The differences of the scores that would not matter."""

    pixel_accuracy: float
    mean_iou: float


class AccuracyRun(TypedDict):
    """A finished training from one seed."""

    seed: int
    agreement: Annotated[float, "The largest part of its bound that a first loss was off by."]
    scores: Scores
    train_loss: float
    epochs: list[Epoch]
    seconds_to_target: Annotated[
        float | None,
        "Of training steps until an epoch ended 0.1 above the pixel accuracy of always predicting "
        "background; null where none did.",
    ]
    versions: dict[str, str]
    device: str
    threads: int | None
    precision: str


class AccuracyRow(TypedDict):
    """One backend's trainings. They are a result only where the status is ok."""

    backend: str
    title: str
    status: Literal["ok", "missing", "failed", "differs"]
    reason: str | None
    runs: Annotated[list[AccuracyRun], "By seed."]


class EquivalenceTest(TypedDict):
    """Two one-sided t-tests of the mean of paired differences."""

    mean: float
    low: Annotated[float, "Low and high bound the 90 % interval of the mean."]
    high: float
    margin: float
    p: float
    equivalent: bool
    differences: list[float]


class Equivalence(EquivalenceTest):
    """The test of one score of two backends, paired by seed."""

    backends: Annotated[list[str], "Two."]
    score: Annotated[str, ("enum", ("pixel_accuracy", "mean_iou"))]


class Accuracy(TypedDict):
    """Of the case accuracy: a training for each seed and backend, and tests of equivalence."""

    config: Annotated[ConfigRecord, "Of the first seed's trainings."]
    seeds: int
    margins: Margins
    level: float
    rows: list[AccuracyRow]
    equivalence: list[Equivalence]
    gallery: NotRequired[
        Annotated[
            list[GalleryEntry],
            "Validation images with the predictions of every finished backend's training from the "
            "first seed. Paths are relative to the results' folder.",
        ]
    ]
