"""The accuracy case as text and as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages.bench_text import columns
from benchmarks.pages.compare_view import backend_color, join
from benchmarks.pages.gallery import Gallery, Item, gallery_items, gallery_view
from benchmarks.pages.html import COLORS, TEXT, can_draw, mute, svg
from benchmarks.records.equivalence import finished_rows
from common.errors import InputError
from common.machine.files import write_bytes


def accuracy_title(accuracy: dict[str, Any]) -> str:
    """Return what was trained."""
    recipe = accuracy["config"]["recipe"]
    height, width = recipe["crop"]
    return (
        f"accuracy, {recipe['backbone']}, {recipe['name']}, batch {recipe['batch_size']}, "
        f"{height}x{width}, {accuracy['seeds']} seeds: mean [least, most]"
    )


def score_cells(accuracy: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of a table with a row for every backend that finished all its seeds."""
    void = accuracy["config"]["recipe"]["void"]
    cells: list[tuple[str, ...]] = [
        ("backend", "pixel accuracy", "mean IoU", "to target", "first losses")
    ]
    for row in finished_rows(accuracy["rows"]):
        runs = row["runs"]
        scores = [[run["scores"][void][name] for run in runs] for name in accuracy["margins"]]
        times = [run["seconds_to_target"] for run in runs]
        reached = [seconds for seconds in times if seconds is not None]
        cells.append(
            (
                row["backend"],
                *map(spread, scores),
                f"{np.mean(reached):.1f} s, {len(reached)} of {len(times)}" if reached else "never",
                f"{max(run['agreement'] for run in runs):.2g} of the bound",
            )
        )
    return cells


def failures(accuracy: dict[str, Any]) -> list[str]:
    """Return why trainings are absent, a line each."""
    return [
        f"{row['backend']}: {row['status']}: {row['reason']}"
        for row in accuracy["rows"]
        if row["status"] != "ok"
    ]


def words_of(test: dict[str, Any]) -> str:
    """Return a test of equivalence as a sentence."""
    said = "equivalent" if test["equivalent"] else "equivalence not shown"
    return (
        f"{' - '.join(test['backends'])}, {test['score']}: {test['mean']:+.4f} "
        f"[{test['low']:+.4f}, {test['high']:+.4f}] within {test['margin']}: {said} "
        f"(p {test['p']:.2g}, {len(test['differences'])} pairs)"
    )


def accuracy_lines(accuracy: dict[str, Any]) -> list[str]:
    """Return the scores of every backend and the tests of every pair, a line each."""
    said = failures(accuracy) + [words_of(test) for test in accuracy["equivalence"]]
    table = columns(score_cells(accuracy))
    return [accuracy_title(accuracy), table, *(f"  {line}" for line in said)]


def accuracy_curves(accuracy: dict[str, Any]) -> Any | None:
    """Return every backend's mean curve and the spread over its seeds.

    None if there is none or no matplotlib.
    """
    rows = finished_rows(accuracy["rows"])
    if not rows or not can_draw():
        return None
    from matplotlib.figure import Figure

    void = accuracy["config"]["recipe"]["void"]
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), accuracy["margins"], strict=True):
        for row in rows:
            curves = np.array(
                [[epoch["scores"][void][name] for epoch in run["epochs"]] for run in row["runs"]]
            )
            color = COLORS[backend_color(row["backend"])]
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(epochs, curves.mean(0), "o-", color=color, label=row["title"])
            axes.fill_between(epochs, curves.min(0), curves.max(0), color=color, alpha=0.15)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        mute(axes)
    axes.legend(loc="lower right", frameon=False, labelcolor=TEXT)
    return figure


def epoch_rows(accuracy: dict[str, Any]) -> list[list[str]]:
    """Return the numbers of the curves: epoch, backend, mean and spread of each score."""
    void = accuracy["config"]["recipe"]["void"]
    found = []
    for row in finished_rows(accuracy["rows"]):
        curves = [run["epochs"] for run in row["runs"]]
        for number, epochs in enumerate(zip(*curves, strict=True), start=1):
            scores = [[e["scores"][void][name] for e in epochs] for name in accuracy["margins"]]
            found.append([str(number), row["title"], *map(spread, scores)])
    return found


def spread(values: list[float]) -> str:
    """Return the mean of ``values``, the least and the most."""
    return f"{np.mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]"


def draw_accuracy(accuracy: dict[str, Any], path: Path) -> bool:
    """Draw the curves as PNG; False if there is none."""
    figure = accuracy_curves(accuracy)
    if figure is None:
        return False
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())
    return True


def accuracy_view(accuracy: dict[str, Any], salt: str) -> dict[str, Any]:
    """Return what a page shows of the case: a table of scores, the tests, the picture."""
    head, *rows = score_cells(accuracy)
    curves = accuracy_curves(accuracy)
    return {
        "title": accuracy_title(accuracy),
        "head": head,
        "scores": rows,
        "tests": [words_of(test) for test in accuracy["equivalence"]],
        "notes": failures(accuracy),
        "epochs": epoch_rows(accuracy),
        "curves": svg(curves, salt) if curves else None,
    }


def accuracy_gallery(accuracy: dict[str, Any], folder: Path) -> Gallery | None:
    """Return the gallery of the case; None where it has none, or no picture of it is here.

    A benchmark's page does not depend on it: an example that cannot be read is left out, and named.

    Args:
        accuracy: What ``fcn bench`` wrote of the case.
        folder: Where the pictures that it names lie.
    """
    items: list[Item] = []
    absent = []
    for entry in accuracy.get("gallery", []):
        try:
            items += gallery_items({**accuracy, "gallery": [entry]}, folder)
        except InputError:
            absent.append(entry["name"])
    config = accuracy["config"]
    caption = f"Predictions after the training from seed {config['seed']}."
    if absent:
        caption += f" Left out, as their pictures cannot be read: {join(absent)}."
    return gallery_view(items, caption)
