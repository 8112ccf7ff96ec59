"""The case `accuracy` as text, as a part of a benchmark's page, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pages.format import DASH, counted, recipe_words, small_percent, text_table
from benchmarks.pages.gallery import Item, gallery_item
from benchmarks.pages.html import COLORS, TEXT, backend_color, mute, new_figure
from benchmarks.records.documents import Bench
from benchmarks.records.equivalence import SCORES
from benchmarks.records.training_documents import (
    Accuracy,
    AccuracyRun,
    Equivalence,
    Score,
    Study,
    Trainings,
    failures,
    finished,
)
from common.documents import Void
from common.errors import InputError
from common.run.plots import whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.documents import Epoch

NAMES: dict[str, str] = {"pixel_accuracy": "pixel accuracy", "mean_iou": "mean IoU"}
HEADS = ("backend", *NAMES.values(), "to target", "error of the first losses")


def accuracy_title(accuracy: Accuracy) -> str:
    """Return what was trained."""
    recipe = recipe_words(accuracy["config"]["recipe"], accuracy["seeds"])
    return f"accuracy, {recipe}: mean [least, most]"


def score_rows(accuracy: Accuracy) -> list[list[str]]:
    """Return the cells of a table with a row for every backend that finished all its seeds."""
    cells = []
    for row in finished(accuracy["rows"]):
        runs = row["runs"]
        scores = spreads(runs, void_of(accuracy))
        cells.append([row["backend"], *scores, to_target(runs), error_share(runs)])
    return cells


def to_target(runs: Sequence[AccuracyRun]) -> str:
    """Return the mean time until a run reached the target, and how many did."""
    reached = [run["seconds_to_target"] for run in runs if run["seconds_to_target"] is not None]
    return f"{np.mean(reached):.1f} s, {len(reached)} of {len(runs)}" if reached else "never"


def error_share(runs: Sequence[AccuracyRun]) -> str:
    """Return how far the first losses are from the float64 trace at most."""
    return f"{small_percent(max(run['agreement'] for run in runs))} of what is allowed"


def spreads(scored: Sequence[AccuracyRun] | Sequence[Epoch], void: Void) -> list[str]:
    """Return the mean of each score, the least and the most, over runs or their epochs."""
    columns = [values_of(scored, void, name) for name in SCORES]
    return [
        f"{np.mean(column):.4f} [{min(column):.4f}, {max(column):.4f}]" if column else DASH
        for column in columns
    ]


def void_of(document: Accuracy | Study) -> Void:
    """Return how all scores of a document read void pixels: as its recipe does."""
    return document["config"]["recipe"]["void"]


def values_of(
    scored: Sequence[AccuracyRun] | Sequence[Epoch], void: Void, score: Score
) -> list[float]:
    """Return one score of the runs or epochs that have it."""
    values = [each["scores"][void][score] for each in scored]
    return [value for value in values if value is not None]


def finding(test: Equivalence) -> str:
    """Return in words what a test of equivalence shows."""
    return "equivalent" if test["equivalent"] else "equivalence not shown"


def words_of(test: Equivalence) -> str:
    """Return a test of equivalence as a sentence."""
    return (
        f"{' - '.join(test['backends'])}, {NAMES[test['score']]}: {test['mean']:+.4f} "
        f"[{test['low']:+.4f}, {test['high']:+.4f}], margin {test['margin']}: {finding(test)} "
        f"(p {test['p']:.2g}, {counted(len(test['differences']), 'pair')})"
    )


def accuracy_text(accuracy: Accuracy) -> list[str]:
    """Return the scores of every backend and the tests of every pair, a line each."""
    table = text_table([HEADS, *score_rows(accuracy)])
    notes = [*failures(accuracy["rows"]), *map(words_of, accuracy["equivalence"])]
    return [accuracy_title(accuracy), table, *(f"  {line}" for line in notes)]


def accuracy_curves(accuracy: Accuracy) -> Figure | None:
    """Return a picture of every backend's mean scores by epoch and their spread over the seeds.

    None if there is none or no matplotlib.
    """
    rows = finished(accuracy["rows"])
    if not rows or not (figure := new_figure(9, 4)):
        return None
    for axes, name in zip(figure.subplots(1, 2), SCORES, strict=True):
        for row in rows:
            curves = np.array(
                [values_of(run["epochs"], void_of(accuracy), name) for run in row["runs"]]
            )
            color = COLORS[backend_color(row["backend"])]
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(epochs, curves.mean(0), "o-", color=color, label=row["title"])
            axes.fill_between(epochs, curves.min(0), curves.max(0), color=color, alpha=0.15)
        axes.set(xlabel="epoch", ylabel=NAMES[name])
        axes.xaxis.set_major_locator(whole_numbers())
        mute(axes)
    axes.legend(loc="lower right", frameon=False, labelcolor=TEXT)
    return figure


def epoch_rows(trainings: Trainings, void: Void, *names: str) -> list[list[str]]:
    """Return the numbers of the curves: epoch, ``names``, backend, and spread of each score."""
    return [
        [str(number), *names, row["title"], *spreads(epochs, void)]
        for row in finished(trainings["rows"])
        for number, epochs in enumerate(
            zip(*(run["epochs"] for run in row["runs"]), strict=True), start=1
        )
    ]


def accuracy_gallery(document: Bench, folder: Path) -> list[Item]:
    """Return the gallery of a benchmark's trainings; empty where it has none.

    A benchmark's page does not depend on it: an example that cannot be read is left out.

    Args:
        document: The results that name the pictures.
        folder: Where they lie.
    """
    if "accuracy" not in document:
        return []
    accuracy, items = document["accuracy"], []
    titles = {row["backend"]: row["title"] for row in finished(accuracy["rows"])}
    for example in accuracy.get("gallery", []):
        with suppress(InputError):
            recipe = accuracy["config"]["recipe"]
            items.append(gallery_item(example, folder, titles, recipe))
    return items
