"""The types of trainings side by side: `compare.json`, `study.json`, `bench.json`'s accuracy."""

from collections.abc import Sequence
from typing import Annotated, Literal, NotRequired, TypedDict, TypeVar

from benchmarks.records.proof_documents import BackendRow, HostRecord, Origin
from benchmarks.records.statistics import Finite, Interval
from common import documents as written
from common.documents import Positive

TrainedStatus = Literal["ok", "missing", "failed", "differs"]
Score = Literal["pixel_accuracy", "mean_iou"]
FOLDER, FILE = r"(?!\.\.?/)[^/\x00]+/", r"[^/\x00]+\.png"
"""Parts of a path: no folder is the one above, whatever a data set calls its images."""
Picture = Annotated[str, ("pattern", rf"^(gallery/|runs/{FOLDER}predictions/)({FOLDER})*{FILE}$")]
"""The path of a picture, relative to the document's folder; a benchmark's all lie in `gallery`."""


class Rate(Interval):
    """Examples a second of a training, with the samples."""

    samples: Annotated[list[Finite], ("minItems", 1)]


class TrainedRow(BackendRow):
    """One backend's training in a comparison. Only a finished one has more than six fields.

    One that differs before it is trained is not trained.

    Attributes:
        agreement: The largest share of a first loss's bound.
        train_loss: null where the row differs.
        other_cpu_share: Of all CPUs, taken by other processes while it trained; null where the
            system does not tell. Absent in early files.
        steps: Step and loss.
    """

    note: str | None
    status: TrainedStatus
    versions: NotRequired[dict[str, str]]
    device: NotRequired[str]
    threads: NotRequired[int | None]
    precision: NotRequired[str]
    deterministic: NotRequired[bool]
    agreement: NotRequired[float | None]
    train_loss: NotRequired[float | None]
    val_loss: NotRequired[float | None]
    scores: NotRequired[written.Scores | None]
    examples_per_second: NotRequired[Rate | None]
    other_cpu_share: NotRequired[float | None]
    first_step_seconds: NotRequired[float | None]
    host_memory_peak_bytes: NotRequired[int]
    device_memory_peak_bytes: NotRequired[int | None]
    total_seconds: NotRequired[float]
    steps: NotRequired[list[tuple[int, float]]]
    epochs: NotRequired[list[written.Epoch]]


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


class Pixels(TypedDict):
    """Pixels in both readings of void."""

    background: int
    ignore: int


class GalleryEntry(TypedDict):
    """A validation image as files. Paths are relative to the document's folder.

    Attributes:
        predictions: By backend.
    """

    name: str
    image: Picture
    truth: Picture
    predictions: dict[str, Picture]


class Compared(Origin):
    """`compare.json`: every backend's training from the same start over the same bytes.

    Attributes:
        pixels: That each evaluation of each backend has to score; absent from early files.
    """

    version: Literal[2]
    kind: Literal["compare"]
    config: written.ConfigRecord
    dataset: written.DatasetRecord
    weights: NotRequired[written.WeightsRecord | None]
    agreement: Trace
    pixels: NotRequired[Pixels]
    rows: list[TrainedRow]
    gallery: list[GalleryEntry]


class Margins(TypedDict):
    """The differences of the scores that would not matter."""

    pixel_accuracy: float
    mean_iou: float


class AccuracyRun(written.Platform):
    """A finished training from one seed.

    Attributes:
        agreement: The largest part of its bound that a first loss was off by.
        seconds_to_target: Of training steps until an epoch ended 0.1 above the pixel accuracy of
            always predicting background; null where none did.
        host: Where it was trained, if that was a host of a cluster.
    """

    seed: int
    agreement: float
    scores: written.Scores
    train_loss: float
    epochs: list[written.Epoch]
    seconds_to_target: float | None
    host: NotRequired[HostRecord]


class AccuracyRow(BackendRow):
    """One backend's trainings. They are a result only where the status is ok.

    Attributes:
        runs: By seed.
    """

    status: TrainedStatus
    runs: list[AccuracyRun]


AnyRow = TypeVar("AnyRow", TrainedRow, AccuracyRow)


def finished(rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Return the rows that may show figures."""
    return [row for row in rows if row["status"] == "ok"]


def failures(rows: Sequence[TrainedRow] | Sequence[AccuracyRow]) -> list[str]:
    """Return in words why the other rows have no figures."""
    return [
        f"{row['title']} – {row['status']}: {row['reason']}"
        for row in rows
        if row["status"] != "ok"
    ]


class Equivalence(TypedDict):
    """Two one-sided t-tests of the mean difference of a score of two backends, paired by seed.

    Attributes:
        low, high: Bounds of the 90 % interval of the mean.
    """

    backends: Annotated[list[str], ("minItems", 2), ("maxItems", 2)]
    score: Score
    mean: float
    low: float
    high: float
    margin: float
    p: float
    equivalent: bool
    differences: list[float]


class Trainings(TypedDict):
    """A training for each seed and backend, and tests of equivalence of the backends.

    Attributes:
        config: Of the first seed's trainings.
    """

    config: written.ConfigRecord
    seeds: Positive
    margins: Margins
    level: float
    rows: list[AccuracyRow]
    equivalence: list[Equivalence]


class Accuracy(Trainings):
    """Of the case accuracy: a training for each seed and backend, and tests of equivalence.

    Attributes:
        gallery: Validation images with the predictions of every finished backend's training from
            the first seed. Paths are relative to the results' folder.
    """

    gallery: NotRequired[list[GalleryEntry]]


class VariantRecord(Trainings):
    """The trainings of a study with one value of each varied field.

    Attributes:
        name: These values in words.
        changes: The values by field, as they are typed.
    """

    name: str
    changes: dict[str, str]


class Effect(TypedDict):
    """A paired t-test over the seeds: a score of the second variant less that of the first.

    Attributes:
        variants: They differ in one field.
        backend: null for the mean over all backends that have both variants.
        low, high: Bounds of the 95 % interval of the mean difference.
        p_corrected: By Holm's method, over the tests of the score: those of single backends
            together, those over all backends together.
    """

    variants: Annotated[list[str], ("minItems", 2), ("maxItems", 2)]
    backend: str | None
    score: Score
    mean: float
    low: float
    high: float
    p: float
    p_corrected: float
    differ: bool
    differences: list[float]


class Study(Origin):
    """`study.json`: trainings that differ in some fields of their recipe, and what that changes.

    Attributes:
        config: Of the first seed's trainings, without the changes. Its reading of the void pixels
            is that of all tests.
        varied: The values of each varied field, as they are typed.
        gallery: Validation images with each variant's prediction in one backend, from the first
            seed.
        gallery_backend: That backend; null where no picture fits all variants.
    """

    version: Literal[1]
    kind: Literal["study"]
    config: written.ConfigRecord
    dataset: written.DatasetRecord
    weights: written.WeightsRecord | None
    varied: dict[str, list[str]]
    variants: Annotated[list[VariantRecord], ("minItems", 1)]
    effects: list[Effect]
    gallery: list[GalleryEntry]
    gallery_backend: str | None
