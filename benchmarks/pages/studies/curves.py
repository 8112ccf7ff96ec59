"""The pictures of a study: how far two variants are apart, and the scores by epoch."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages.html import COLORS, DASHES, MUTED, TEXT, mute, new_figure
from benchmarks.pages.studies.accuracy import NAMES, epoch_rows, values_of, void_of
from benchmarks.pages.studies.words import ordered_effects, title_of
from benchmarks.records.training_documents import Effect, Score, Study, finished
from common.run.plots import whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def effect_picture(study: Study, score: Score) -> Figure | None:
    """Return a picture of every test of a score: the mean difference and its interval, a line each.

    None if there is no test or no matplotlib.
    """
    tests = [test for test in ordered_effects(study) if test["score"] == score]
    if not tests or not (figure := new_figure(8, 0.9 + 0.28 * len(tests))):
        return None
    axes = figure.subplots()
    for place, test in enumerate(tests):
        color = COLORS[1] if test["backend"] else TEXT
        axes.plot([test["low"], test["high"]], [place, place], color=color, linewidth=2)
        filled = color if test["differ"] else "none"
        axes.plot([test["mean"]], [place], "o", color=color, markerfacecolor=filled)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(tests)), [label_of(test) for test in tests])
    axes.set_ylim(len(tests) - 0.4, -0.6)
    axes.set_xlabel(f"difference in {NAMES[score]}")
    mute(axes)
    return figure


def label_of(test: Effect) -> str:
    """Return what a line of the picture shows."""
    where = title_of(test["backend"]) if test["backend"] else "mean of all"
    return f"{test['variants'][1]} − {test['variants'][0]}, {where}"


def curves_picture(study: Study, score: Score) -> Figure | None:
    """Return a picture of a score by epoch: a panel a backend, a line a variant, over the seeds.

    None if no training finished, or without matplotlib.
    """
    backends = [row["backend"] for row in study["variants"][0]["rows"]]
    shown = [
        name for name in backends if any(v.size for v in lines_of(study, name, score).values())
    ]
    if not shown or not (figure := new_figure(max(9, 2.9 * len(shown)), 3.2)):
        return None
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        looks = zip(
            lines_of(study, name, score).items(), cycle(COLORS), cycle(DASHES), strict=False
        )
        for (variant, values), color, dash in looks:
            if not values.size:
                continue
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(epochs, values.mean(0), f"o{dash}", color=color, label=variant)
            axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.15)
        axes.set_title(title_of(name), color=TEXT, fontsize="medium")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(whole_numbers())
        mute(axes)
    panels[0].set_ylabel(NAMES[score])
    panels[-1].legend(loc="lower right", frameon=False, labelcolor=TEXT, fontsize="small")
    return figure


def lines_of(study: Study, backend: str, score: Score) -> dict[str, NDArray[np.float64]]:
    """Return by variant a score in one backend, [seeds, epochs]; empty without a whole row."""
    lines = {}
    for variant in study["variants"]:
        runs = next((r["runs"] for r in finished(variant["rows"]) if r["backend"] == backend), [])
        values = [values_of(run["epochs"], void_of(study), score) for run in runs]
        is_whole = all(len(v) == len(run["epochs"]) for v, run in zip(values, runs, strict=True))
        lines[variant["name"]] = np.array(values if is_whole else [], np.float64)
    return lines


def epoch_cells(study: Study) -> list[list[str]]:
    """Return the numbers of the curves: epoch, variant, backend, mean and spread of each score."""
    void = void_of(study)
    return [
        cells
        for variant in study["variants"]
        for cells in epoch_rows(variant, void, variant["name"])
    ]
