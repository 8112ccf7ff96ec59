"""A search for a recipe as one page, and as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pages.facts import (
    NO_COMMIT,
    Facts,
    machine_facts,
    named,
    recipe_facts,
    weights_facts,
)
from benchmarks.pages.format import (
    DASH,
    counted,
    markdown_table,
    moment,
    number,
    significant,
    text_table,
)
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, mute, new_figure, render
from benchmarks.pages.studies.command import tune_command
from benchmarks.pages.studies.hosts import host_facts, kinds_notice
from benchmarks.records.results import STUDY, read_document
from benchmarks.records.training_documents import Study
from benchmarks.records.tuning_documents import (
    LEAST_FOR_IMPORTANCE,
    Searched,
    TrialRecord,
    Tune,
    Value,
)
from common.backends import BACKENDS
from common.errors import InputError
from common.recipes import Recipe
from common.run.plots import whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORE, CONFIRMED = "mean IoU", "confirmed"
BEST_SHARE = 0.1
"""Of the trials, in colour among the parallel coordinates."""


def render_page(tune: Tune, folder: Path) -> str:
    """Return the page of a search: HTML that needs no other file and no network.

    Args:
        tune: The search.
        folder: Where it lies; the page links to the study of its outcome there, if there is one.
    """
    confirmed = is_confirmed(tune, folder)
    return render(
        tune,
        verdict=verdict(tune, confirmed),
        title=BACKENDS.get(tune["backend"], tune["backend"]),
        confirmed=confirmed,
        trials=trial_rows(tune),
        heads=heads(tune),
        best_recipe=best_values(tune),
        figures=(
            ("Best so far", PROGRESS_NOTE, progress_figure(tune)),
            ("Every trial's values", PARALLEL_NOTE, parallel_figure(tune)),
            ("Which fields matter", IMPORTANCE_NOTE, importance_figure(tune)),
        ),
        facts=facts(tune),
        notice=kinds_notice(tune),
        least_for_importance=LEAST_FOR_IMPORTANCE,
    )


PROGRESS_NOTE = "A dot a trial that was trained to its end; the line is the best until then."
PARALLEL_NOTE = (
    "A line a trial, from its value of each field to its score; the best tenth is in colour."
)
IMPORTANCE_NOTE = (
    "Each field's share of what tells the better trials from the others (PED-ANOVA, Watanabe et "
    "al. 2023)."
)


def scored(tune: Tune) -> list[TrialRecord]:
    """Return the trials that have a score, in their order."""
    return [trial for trial in tune["trials"] if trial["score"] is not None]


def first(tune: Tune) -> TrialRecord | None:
    """Return the trial of the recipe that the search began with, if it has a score."""
    if tune["start"].keys() != tune["space"].keys():
        return None  # The space does not hold that recipe.
    return next((trial for trial in scored(tune) if trial["values"] == tune["start"]), None)


def is_confirmed(tune: Tune, folder: Path) -> bool:
    """Return whether the study beside a search is of its best recipe."""
    path = folder / CONFIRMED / STUDY
    if tune["recipe"] is None or not path.is_file():
        return False
    try:
        stored = [each["config"]["recipe"] for each in read_document(path, Study)["variants"]]
        best, *confirmed = map(Recipe.from_json, (tune["recipe"], *stored))
    except InputError:
        return False
    return best in confirmed  # As stored they may differ: a search in memory has tuples for lists.


def verdict(tune: Tune, confirmed: bool = False) -> str:
    """Return the outcome of a search in one or two sentences; ``confirmed`` as ``is_confirmed``."""
    trials, best = scored(tune), tune["best"]
    if best is None:
        return f"None of {counted(len(tune['trials']), 'trial')} has a score."
    top = max(trial["score"] or 0.0 for trial in trials)
    start = first(tune)
    text = f"Trial {best} of {len(tune['trials'])} is best: {SCORE} {top:.4f} on the tuning images"
    if start is None or start["score"] is None:
        return f"{text}."
    if start["number"] == best:
        return f"{text}, with the values that the search began with."
    above = top - start["score"]
    advice = "" if confirmed else ": train it and the first one again from other seeds"
    return (
        f"{text}, {above:.4f} above the recipe that the search began with ({start['score']:.4f}). "
        f"The best of many trials is partly luck{advice}."
    )


def heads(tune: Tune) -> list[str]:
    """Return the heads of the table of trials."""
    return ["trial", "state", SCORE, "epochs", "seconds", *tune["space"]]


def trial_rows(tune: Tune) -> list[list[str]]:
    """Return the cells of a table with a row for each trial, the best one first."""
    order = sorted(tune["trials"], key=lambda t: -1.0 if t["score"] is None else t["score"])
    return [
        [
            str(trial["number"]),
            trial["state"],
            number(trial["score"]),
            str(len(trial["epochs"])),
            DASH if trial["seconds"] is None else f"{trial['seconds']:.0f}",
            *(shown(trial["values"].get(name)) for name in tune["space"]),
        ]
        for trial in reversed(order)
    ]


def shown(value: Value | None) -> str:
    """Return a value as a reader writes it."""
    if value is None:
        return DASH
    return significant(value) if isinstance(value, float) else str(value)


def best_values(tune: Tune) -> Facts:
    """Return the values of the best trial beside those that the search began with."""
    best = next((trial for trial in tune["trials"] if trial["number"] == tune["best"]), None)
    if best is None:
        return {}
    pairs = {name: (tune["start"].get(name), value) for name, value in best["values"].items()}
    return {
        name: f"{shown(value)} (before: {shown(before)})" if value != before else shown(value)
        for name, (before, value) in pairs.items()
    }


def facts(tune: Tune) -> dict[str, Facts]:
    """Return the manifest of a search."""
    config = tune["config"]
    return {
        "Search": {
            "Created": moment(tune["created"]),
            "Commit": tune["commit"] or NO_COMMIT,
            "Command": tune_command(tune),
            "Optuna": tune["optuna"],
            "Sampler": tune["sampler"],
            "Pruner": tune["pruner"],
            **named(tune["dataset"]),
            **weights_facts(tune),
            **{name: described(values) for name, values in tune["space"].items()},
        },
        "Run": named(config, [key for key in config if key not in ("recipe", "without")]),
        "Machine": machine_facts(tune["hardware"]),
        **host_facts(tune),
        "First recipe": recipe_facts(config),
    }


def described(values: Searched) -> str:
    """Return the values that are searched of a field."""
    if "choices" in values:
        return ", ".join(map(str, values["choices"]))
    scale = ", logarithmic" if values["log"] else ""
    return f"{significant(values['low'])} to {significant(values['high'])}{scale}"


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
        labels = [(i / last, str(choice)) for i, choice in enumerate(values["choices"])]
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


def table(tune: Tune, confirmed: bool = False) -> str:
    """Return a search as lines of text: the best trials and the outcome."""
    rows = text_table([heads(tune), *trial_rows(tune)[:10]])
    return "\n".join(filter(None, [rows, verdict(tune, confirmed), kinds_notice(tune)]))


def search_markdown(tune: Tune, confirmed: bool = False) -> str:
    """Return a search's outcome, its trials and the best values, for a document."""
    values = [[name, text] for name, text in best_values(tune).items()]
    parts = [verdict(tune, confirmed), markdown_table([heads(tune), *trial_rows(tune)])]
    if values:
        parts.append(markdown_table([["field", "value of the best trial"], *values]))
    return "\n\n".join(parts)
