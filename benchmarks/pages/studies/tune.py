"""A search for a recipe as one page, and as text."""

from __future__ import annotations

from pathlib import Path

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
from benchmarks.pages.html import render
from benchmarks.pages.studies.command import as_typed, tune_command
from benchmarks.pages.studies.hosts import host_facts, kinds_notice
from benchmarks.pages.studies.pictures import SCORE, figures, scored
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

CONFIRMED, BEST = "confirmed", "best.toml"
"""In the folder of a search: the study of its outcome, and its best recipe."""


def render_page(tune: Tune, folder: Path) -> str:
    """Return the page of a search: HTML that needs no other file and no network.

    Args:
        tune: The search.
        folder: Where it lies; the page links to the study of its outcome there, if there is one.
    """
    study = confirmation(tune, folder)
    return render(
        tune,
        verdict=verdict(tune, study is not None),
        title=BACKENDS.get(tune["backend"], tune["backend"]),
        study=study,
        has_link=study is not None and study.name == CONFIRMED,
        has_recipe=(folder / BEST).is_file(),
        trials=trial_rows(tune),
        heads=heads(tune),
        best_recipe=best_values(tune),
        figures=figures(tune),
        facts=facts(tune),
        notice=kinds_notice(tune),
        least_for_importance=LEAST_FOR_IMPORTANCE,
    )


def first(tune: Tune) -> TrialRecord | None:
    """Return the trial of the recipe that the search began with, if it has a score."""
    if tune["start"].keys() != tune["space"].keys():
        return None  # The space does not hold that recipe.
    return next((trial for trial in scored(tune) if trial["values"] == tune["start"]), None)


def confirmation(tune: Tune, folder: Path) -> Path | None:
    """Return the folder of the study of a search's best recipe; None if there is none.

    It lies in the folder of the search. A stored one lies beside it, where the documents link to
    it, and has the name of the search with ``study-`` before it.
    """
    folder = folder.absolute()
    places = folder / CONFIRMED, folder.with_name(f"study-{folder.name}")
    return next((place for place in places if is_of_best(tune, place / STUDY)), None)


def is_of_best(tune: Tune, path: Path) -> bool:
    """Return whether a study is of the best recipe of a search."""
    if tune["recipe"] is None or not path.is_file():
        return False
    try:
        stored = [each["config"]["recipe"] for each in read_document(path, Study)["variants"]]
        best, *confirmed = map(Recipe.from_json, (tune["recipe"], *stored))
    except InputError:
        return False
    return best in confirmed  # As stored they may differ: a search in memory has tuples for lists.


def verdict(tune: Tune, confirmed: bool = False) -> str:
    """Return the outcome of a search in one or two sentences.

    Args:
        tune: The search.
        confirmed: There is a study of its best recipe.
    """
    trials, best = scored(tune), tune["best"]
    if best is None:
        return f"None of {counted(len(tune['trials']), 'trial')} has a score."
    top = max(trial["score"] or 0.0 for trial in trials)
    start = first(tune)
    these = f"trials 0 to {len(tune['trials']) - 1}"
    text = f"Of {these}, trial {best} is best: {SCORE} {top:.4f} on the tuning images"
    if start is None or start["score"] is None:
        return f"{text}."
    if any(trial["number"] == best and trial["values"] == tune["start"] for trial in trials):
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
    order = sorted(tune["trials"], key=lambda t: 1.0 if t["score"] is None else -t["score"])
    return [
        [
            str(trial["number"]),
            trial["state"],
            number(trial["score"]),
            str(len(trial["epochs"])),
            DASH if trial["seconds"] is None else f"{trial['seconds']:.0f}",
            *(shown(trial["values"].get(name)) for name in tune["space"]),
        ]
        for trial in order
    ]


def shown(value: Value | None) -> str:
    """Return a value as a reader writes it."""
    if value is None:
        return DASH
    return significant(value) if isinstance(value, float) else as_typed(value)


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
        return ", ".join(map(as_typed, values["choices"]))
    scale = ", logarithmic" if values["log"] else ""
    return f"{significant(values['low'])} to {significant(values['high'])}{scale}"


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
