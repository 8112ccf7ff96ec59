"""The pictures of a search for a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pages.format import significant
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, mute, new_figure
from benchmarks.pages.studies.command import as_typed
from benchmarks.records.tuning_documents import Searched, TrialRecord, Tune, Value
from common.run.plots import whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE = "mean IoU"
BEST_SHARE = 0.1
"""Of the trials, in colour among the parallel coordinates."""
PROGRESS_NOTE = (
    "A dot a trial with a score, which is 0 where it diverged; the line is the best until then."
)
PARALLEL_NOTE = (
    "A line a trial, from its value of each field to its score; the best tenth is in colour."
)
IMPORTANCE_NOTE = (
    "Each field's share of what tells the better trials from the others (PED-ANOVA, Watanabe et "
    "al. 2023)."
)


def figures(tune: Tune) -> tuple[tuple[str, str, Figure | None], ...]:
    """Return the title, the note and the picture of each; no picture where there is too little."""
    return (
        ("Best so far", PROGRESS_NOTE, progress_figure(tune)),
        ("Every trial's values", PARALLEL_NOTE, parallel_figure(tune)),
        ("Which fields matter", IMPORTANCE_NOTE, importance_figure(tune)),
    )


def scored(tune: Tune) -> list[TrialRecord]:
    """Return the trials that have a score, in their order."""
    return [trial for trial in tune["trials"] if trial["score"] is not None]


def progress_figure(tune: Tune) -> Figure | None:
    """Return a picture of the trials' scores and of the best one until each of them."""
    trials = scored(tune)
    if not trials or not (figure := new_figure(9, 3.2)):
        return None
    axes, color = figure.subplots(), COLORS[backend_color(tune["backend"])]
    numbers = [trial["number"] for trial in trials]
    scores = [trial["score"] or 0.0 for trial in trials]
    axes.plot(numbers, scores, "o", color=color, markersize=4)
    axes.step(numbers, np.maximum.accumulate(scores), where="post", color=color)
    axes.set(xlabel="trial", ylabel=SCORE, ylim=(0, max(scores) * 1.05 or 1))
    axes.xaxis.set_major_locator(whole_numbers())
    mute(axes)
    return figure


def parallel_figure(tune: Tune) -> Figure | None:
    """Return the parallel coordinates of the trials: an axis a field, the last one the score."""
    trials = scored(tune)
    if len(trials) < 2 or not (figure := new_figure(9, 3.8)):
        return None
    axes, color = figure.subplots(), COLORS[backend_color(tune["backend"])]
    names = [*tune["space"], SCORE]
    top = max(trial["score"] or 0.0 for trial in trials) or 1.0
    ends: dict[str, Searched] = {**tune["space"], SCORE: {"low": 0.0, "high": top, "log": False}}
    order = sorted(trials, key=lambda trial: trial["score"] or 0.0)
    best = len(order) - max(1, round(BEST_SHARE * len(order)))
    for rank, trial in enumerate(order):
        values: dict[str, Value | None] = {**trial["values"], SCORE: trial["score"]}
        heights = [height(values.get(name), ends[name]) for name in names]
        is_best = rank >= best
        line = axes.plot(heights, color=color if is_best else MUTED)[0]
        line.set(alpha=1 if is_best else 0.35, linewidth=1.8 if is_best else 0.8)
    for place, name in enumerate(names):
        axes.axvline(place, color=TEXT, linewidth=0.8)
        label_axis(axes, place, ends[name])
    axes.set(xticks=range(len(names)), yticks=[], ylim=(-0.08, 1.08))
    axes.set_xticklabels([name.replace("_", " ") for name in names])
    mute(axes)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def height(value: Value | None, values: Searched) -> float:
    """Return where a value lies on its axis, 0 to 1; not a number where the trial has none."""
    if value is None:
        return float("nan")
    if "choices" in values:
        return values["choices"].index(value) / (len(values["choices"]) - 1)
    scale = np.log if values["log"] else float
    low, high, at = (scale(float(x)) for x in (values["low"], values["high"], value))
    return float((at - low) / (high - low))


def label_axis(axes: Axes, place: int, values: Searched) -> None:
    """Write the values of one of the parallel axes beside it."""
    if "choices" in values:
        last = len(values["choices"]) - 1
        labels = [(i / last, as_typed(choice)) for i, choice in enumerate(values["choices"])]
    else:
        labels = [(0.0, significant(values["low"])), (1.0, significant(values["high"]))]
    for at, text in labels:
        axes.annotate(
            *(text, (place, at)), (3, 2), textcoords="offset points", color=TEXT, fontsize=8
        )


def importance_figure(tune: Tune) -> Figure | None:
    """Return a bar for each field's importance, the largest on top."""
    shares = tune["importance"]
    if not shares or not (figure := new_figure(9, 0.4 + 0.35 * len(shares))):
        return None
    axes = figure.subplots()
    names = list(shares)[::-1]
    color = COLORS[backend_color(tune["backend"])]
    axes.barh([name.replace("_", " ") for name in names], [shares[n] for n in names], color=color)
    axes.set(xlabel="share", xlim=(0, 1))
    mute(axes)
    return figure
