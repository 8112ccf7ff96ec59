"""The numbers behind a comparison's page: what its charts draw, and its tables of scores."""

from typing import Literal

import numpy as np

from benchmarks.pages.html import backend_color
from benchmarks.records.training_documents import Compared, Score, TrainedRow, finished
from common.documents import Epoch, Reading, Void

LEAST_DISTANCE = 1e-8
"""Below it a relative difference is drawn here: a logarithmic axis has no zero."""
LOSS_LINES = 21
ALL_SCORES = {
    "Pixel accuracy": "pixel_accuracy",
    "Mean class accuracy": "mean_class_accuracy",
    "Mean IoU": "mean_iou",
    "Frequency-weighted IoU": "frequency_weighted_iou",
}
"""By their name on the page, in the order of its tables."""
READINGS: dict[Void, str] = {"background": "void counts as background", "ignore": "void ignored"}
BackgroundScore = Literal["background_pixel_accuracy", "background_mean_iou"]
DRAWN: tuple[tuple[str, Score, BackgroundScore], ...] = (
    ("Pixel accuracy", "pixel_accuracy", "background_pixel_accuracy"),
    ("Mean IoU", "mean_iou", "background_mean_iou"),
)
Loss = Literal["val_loss", "train_loss"]
LOSSES: dict[Loss, str] = {"val_loss": "Validation loss", "train_loss": "Training loss"}


def scores_of(compare: Compared, row: TrainedRow) -> Reading:
    """Return a finished row's scores in the recipe's reading of the void pixels."""
    scores = row["scores"]
    assert scores is not None, f"{row['title']} is {row['status']}"
    return scores[compare["config"]["recipe"]["void"]]


def readings(compare: Compared) -> list[Void]:
    """Return both readings of the void pixels, the recipe's first."""
    return sorted(READINGS, key=lambda void: void != compare["config"]["recipe"]["void"])


def chart_data(compare: Compared) -> dict[str, object]:
    """Return the series of the page's charts: of each backend one value a step or epoch."""
    rows, trace = finished(compare["rows"]), compare["agreement"]
    losses = [dict(row["steps"]) for row in rows]
    steps = sorted({step for series in losses for step in series})
    exact = dict(zip(steps, trace["losses"], strict=False))
    return {
        "backends": [
            {"name": row["backend"], "title": row["title"], "color": backend_color(row["backend"])}
            for row in rows
        ],
        "steps": steps,
        "losses": [[rounded(series.get(step), 7) for step in steps] for series in losses],
        "checked": list(exact),
        "distances": [
            [rounded(distance(series.get(step), loss), 3) for step, loss in exact.items()]
            for series in losses
        ],
        "bound": trace["bounds"],
        **score_lines(compare, rows),
    }


def distance(loss: float | None, exact: float) -> float | None:
    """Return a loss's relative distance from the float64 trace, as a logarithmic axis shows it."""
    return None if loss is None else max(abs(loss - exact) / abs(exact or 1), LEAST_DISTANCE)


def rounded(value: float | None, digits: int) -> float | None:
    """Return ``value`` to as many digits as a reader of a chart can use."""
    return None if value is None else float(f"{value:.{digits}g}")


def drawn(epoch: Epoch, voids: list[Void]) -> dict[str, tuple[float | None, float | None]]:
    """Return by label what is drawn of an epoch, a score beside that of always background."""
    values: dict[str, tuple[float | None, float | None]] = {}
    for void in voids:
        scores = epoch["scores"][void]
        for label, key, background in DRAWN:
            values[f"{label}, {READINGS[void]}"] = scores[key], scores[background]
    for loss, label in LOSSES.items():
        values[f"{label}, mean of an epoch"] = epoch[loss], None
    return values


def score_lines(compare: Compared, rows: list[TrainedRow]) -> dict[str, object]:
    """Return the epochs, from 1, and every score and loss that any row has in them: a line a row.

    Beside a score stands the line of always predicting background.
    """
    voids = readings(compare)
    by_epoch = [{line["epoch"] + 1: drawn(line, voids) for line in row["epochs"]} for row in rows]
    epochs = sorted({epoch for lines in by_epoch for epoch in lines})
    labels = dict.fromkeys(label for lines in by_epoch for line in lines.values() for label in line)
    scores = []
    for label in labels:
        pairs = [[line.get(epoch, {}).get(label) for epoch in epochs] for line in by_epoch]
        series = [[pair and pair[0] for pair in line] for line in pairs]
        constant = [pair and pair[1] for pair in pairs[0]]
        if any(value is not None for line in series for value in line):
            is_score = any(value is not None for value in constant)
            scores.append(
                {"label": label, "series": series, "constant": constant if is_score else None}
            )
    return {"epochs": epochs, "scores": scores}


def shown_steps(count: int) -> list[int]:
    """Return the indices of evenly spread steps out of ``count``, the first and the last too."""
    spread = np.linspace(0, count - 1, min(count, LOSS_LINES)).round().astype(int)
    return np.unique(spread).tolist()


def background_scores(scores: Reading) -> dict[str, float | None]:
    """Return the scores of always predicting background, on the truth of ``scores``.

    It finds all of one class and none of the others; its one IoU is that class's share.
    """
    share = scores["background_pixel_accuracy"]
    return {
        "pixel_accuracy": share,
        "mean_class_accuracy": 1 / scores["classes_present"] if share else share,
        "mean_iou": scores["background_mean_iou"],
        "frequency_weighted_iou": None if share is None else share**2,
    }
