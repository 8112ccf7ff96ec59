"""The numbers behind a comparison's page: what its charts draw, and its tables of scores."""

from typing import Literal, TypedDict

import numpy as np

from benchmarks.pages.html import backend_color
from benchmarks.records.run_documents import Reading, Scores
from benchmarks.records.training_documents import Compared, TrainedRow
from common.data.voc import CLASSES

LEAST_DISTANCE = 1e-8
"""Below it a relative difference is drawn here: a logarithmic axis has no zero."""
LOSS_LINES = 21
ALL_SCORES = ["Pixel accuracy", "Mean class accuracy", "Mean IoU", "Frequency-weighted IoU"]
Void = Literal["background", "ignore"]
READINGS: dict[Void, str] = {
    "background": "void counts as background",
    "ignore": "void ignored",
}
Score = Literal["pixel_accuracy", "mean_iou"]
BackgroundScore = Literal["background_pixel_accuracy", "background_mean_iou"]
DRAWN: tuple[tuple[str, Score, BackgroundScore], ...] = (
    ("Pixel accuracy", "pixel_accuracy", "background_pixel_accuracy"),
    ("Mean IoU", "mean_iou", "background_mean_iou"),
)
Loss = Literal["val_loss", "train_loss"]
LOSSES: dict[Loss, str] = {"val_loss": "Validation loss", "train_loss": "Training loss"}


class Backend(TypedDict):
    """A backend as the page's script names it."""

    name: str
    title: str
    color: int


class ScoreLines(TypedDict):
    """One score by epoch: a line a backend, and that of always predicting background."""

    label: str
    series: list[list[float | None]]
    constant: list[float | None] | None


class Charts(TypedDict):
    """The series of the page's charts: of each backend one value a step or epoch."""

    backends: list[Backend]
    steps: list[int]
    losses: list[list[float | None]]
    checked: list[int]
    distances: list[list[float | None]]
    bound: list[float | None]
    epochs: list[int]
    scores: list[ScoreLines]


def finished_rows(compare: Compared) -> list[TrainedRow]:
    """Return the rows that may show figures."""
    return [row for row in compare["rows"] if row["status"] == "ok"]


def scores_of(compare: Compared, row: TrainedRow) -> Reading:
    """Return a finished row's scores in the recipe's reading of the void pixels."""
    return both_readings(row)[compare["config"]["recipe"]["void"]]


def both_readings(row: TrainedRow) -> Scores:
    """Return a finished row's scores."""
    scores = row["scores"]
    assert scores is not None, f"{row['title']} is {row['status']}"
    return scores


def readings(compare: Compared) -> list[Void]:
    """Return both readings of the void pixels, the recipe's first."""
    return sorted(READINGS, key=lambda void: void != compare["config"]["recipe"]["void"])


def chart_data(compare: Compared) -> Charts:
    """Return the series of the page's charts."""
    rows, trace = finished_rows(compare), compare["agreement"]
    losses = [dict(row["steps"]) for row in rows]
    steps = sorted({step for series in losses for step in series})
    checked = steps[: len(trace["losses"])]
    exact = dict(zip(checked, trace["losses"], strict=False))
    return {
        "backends": [
            {"name": row["backend"], "title": row["title"], "color": backend_color(row["backend"])}
            for row in rows
        ],
        "steps": steps,
        "losses": [[rounded(series.get(step), 7) for step in steps] for series in losses],
        "checked": checked,
        "distances": [
            [rounded(distance(series.get(step), exact[step]), 3) for step in checked]
            for series in losses
        ],
        "bound": trace["bounds"],
        "epochs": epochs_of(rows),
        "scores": score_lines(compare, rows),
    }


def distance(loss: float | None, exact: float) -> float | None:
    """Return a loss's relative distance from the float64 trace, as a logarithmic axis shows it."""
    return None if loss is None else max(abs(loss - exact) / abs(exact or 1), LEAST_DISTANCE)


def rounded(value: float | None, digits: int) -> float | None:
    """Return ``value`` to as many digits as a reader of a chart can use."""
    return None if value is None else float(f"{value:.{digits}g}")


def epochs_of(rows: list[TrainedRow]) -> list[int]:
    """Return the numbers of all epochs, from 1."""
    return sorted({line["epoch"] + 1 for row in rows for line in row["epochs"]})


def score_lines(compare: Compared, rows: list[TrainedRow]) -> list[ScoreLines]:
    """Return every score and loss that any row has, by epoch."""
    epochs = epochs_of(rows)
    by_epoch = [{line["epoch"] + 1: line for line in row["epochs"]} for row in rows]
    table = [[lines.get(epoch) for epoch in epochs] for lines in by_epoch]
    scores: list[ScoreLines] = []
    for void in readings(compare):
        for label, key, background in DRAWN:
            read = [[line and line["scores"][void] for line in lines] for lines in table]
            series = [[line[key] if line else None for line in lines] for lines in read]
            constants = [[line[background] if line else None for line in lines] for lines in read]
            name = f"{label}, {READINGS[void]}"
            scores.append(
                {"label": name, "series": series, "constant": constants[0] if constants else None}
            )
    for loss, label in LOSSES.items():
        series = [[line[loss] if line else None for line in lines] for lines in table]
        scores.append({"label": f"{label}, mean of an epoch", "series": series, "constant": None})
    return [each for each in scores if any(v is not None for line in each["series"] for v in line)]


def loss_rows(charts: Charts) -> list[tuple[int, list[float | None]]]:
    """Return evenly spread steps, the first and the last among them, and each backend's loss."""
    count = len(charts["steps"])
    chosen = np.unique(np.linspace(0, count - 1, min(count, LOSS_LINES)).round().astype(int))
    return [(charts["steps"][i], [column[i] for column in charts["losses"]]) for i in chosen]


def epoch_rows(compare: Compared) -> list[tuple[int, str, list[float | None]]]:
    """Return epoch, backend, both losses and both scores of every epoch of every finished row."""
    void = compare["config"]["recipe"]["void"]
    lines = []
    for row in finished_rows(compare):
        for line in row["epochs"]:
            scores = [line["scores"][void][key] for _, key, _ in DRAWN]
            values = [line["train_loss"], line["val_loss"], *scores]
            lines.append((line["epoch"] + 1, row["title"], values))
    return lines


def score_tables(compare: Compared) -> list[tuple[str, list[tuple[str, list[float]]]]]:
    """Return ``ALL_SCORES`` in each reading of the void pixels, the recipe's first.

    The last row of a table is that of always predicting background.
    """
    rows = finished_rows(compare)
    tables = []
    for void in readings(compare):
        read = [(row["title"], both_readings(row)[void]) for row in rows]
        lines = [(title, all_scores(scores)) for title, scores in read]
        if read:
            lines.append(("Always background", background_scores(read[0][1])))
        tables.append((READINGS[void], lines))
    return tables


def all_scores(scores: Reading) -> list[float]:
    """Return the values of ``ALL_SCORES``."""
    return [
        scores["pixel_accuracy"],
        scores["mean_class_accuracy"],
        scores["mean_iou"],
        scores["frequency_weighted_iou"],
    ]


def background_scores(scores: Reading) -> list[float]:
    """Return the values of ``ALL_SCORES`` of always predicting background.

    It finds all of one class and none of the others; its one IoU is that class's share.
    """
    share = scores["background_pixel_accuracy"]
    class_accuracy = 1 / scores["classes_present"] if share else 0.0
    return [share, class_accuracy, scores["background_mean_iou"], share**2]


def class_rows(compare: Compared) -> list[tuple[str, tuple[float | None, ...]]]:
    """Return each class of the truth and its IoU in every finished row, in the recipe's reading."""
    columns = [scores_of(compare, row)["class_iou"] for row in finished_rows(compare)]
    return [
        (name, values)
        for name, values in zip(CLASSES, zip(*columns, strict=True), strict=False)
        if any(value is not None for value in values)
    ]
