"""The trials of a search: what they have in common, how they ended, and their document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records.results import origin
from benchmarks.records.tuning_documents import LEAST_FOR_IMPORTANCE, Ended, TrialRecord, Tune
from benchmarks.studies.holdout import RULE
from benchmarks.studies.space import Space, first_values, recipe_with, searched
from common.config import Config
from common.errors import InputError
from common.parameters.files import describe_weights
from common.recipes import Recipe
from common.run.training import TrainingData

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STORAGE = "trials.db"
"""File of a search's trials, in its folder."""
ENDED = "ended"
"""Attribute of Optuna's trials: how it ended."""
AGAIN = "again"
"""Attribute of Optuna's trials: the number of the lost one whose values it tries again."""
OPTUNA = {"finished": "COMPLETE", "diverged": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""How a trial ended -> Optuna's name for it."""
KILLED: Ended = {"state": "killed", "epochs": [], "reason": None, "seconds": None}


@dataclass(frozen=True)
class Search:
    """What all trials of a search have in common.

    Attributes:
        backend: Which trains.
        config: Its recipe is the first that is tried, where the space holds it.
        space: By field of the recipe.
        data: The data set, whose validation images are the tuning images.
        folder: Of the search.
        weights: Where every trial starts, as ``--weights``.
        silence, verbose: As ``train_backend``.
    """

    backend: str
    config: Config
    space: Space
    data: Path
    folder: Path
    weights: Path | None = None
    silence: float | None = None
    verbose: bool = False


@contextmanager
def trials_stored(path: Path, *others: type[Exception]) -> Iterator[None]:
    """Turn what Optuna raises for a damaged or a full storage into an InputError that names it.

    Args:
        path: Of the storage.
        others: Errors that mean the same in this block.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    faults: tuple[type[Exception], ...] = (OptunaError, SQLAlchemyError, *others)
    try:
        yield
    except faults as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{path}: the trials of a search cannot be read or written there ({first}); "
            "if there is room on the disk, begin a search in another folder"
        ) from error


def records(study: Study) -> list[TrialRecord]:
    """Return a study's trials that have begun."""
    return [record_of(trial) for trial in study.get_trials(deepcopy=False) if trial.params]


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Return a trial as it is stored.

    How it ended is written before Optuna's own state and score: of one that was killed in between
    only the first is known.
    """
    ended: Ended = trial.user_attrs.get(ENDED) or KILLED
    if OPTUNA.get(ended["state"]) != trial.state.name:
        ended = KILLED
    return {
        "number": trial.number,
        "values": trial.params,
        "score": trial.value if ended["state"] in ("finished", "diverged") else None,
        **ended,
    }


def try_again(study: Study, number: int) -> None:
    """Give up a trial that was lost while it trained; the next one has its values.

    These are enqueued first, unless they are: whenever the process is killed, they are neither lost
    nor tried twice.

    Args:
        number: Of the lost trial; the next one has it as its attribute ``AGAIN``.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    lost = trials[number]
    # One that was killed while it began has not all of its values as its own yet.
    values = lost.system_attrs.get("fixed_params", {}) | lost.params
    if values and not any(trial.user_attrs.get(AGAIN) == number for trial in trials):
        study.enqueue_trial(values, user_attrs={AGAIN: number})
    study.tell(number, state=TrialState.FAIL)


def importance(study: Study) -> dict[str, float]:
    """Return each field's share of the differences between the scores, the largest first.

    Source:
        Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance".
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState as State

    finished = study.get_trials(deepcopy=False, states=[State.COMPLETE])
    if len(finished) < LEAST_FOR_IMPORTANCE or len({trial.value for trial in finished}) < 2:
        return {}
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the finished trial with the highest score, the first of several; None without one."""
    finished = [trial for trial in trials if trial["state"] == "finished"]
    return max(finished, key=lambda trial: trial["score"] or 0.0, default=None)


def best_recipe(search: Search, best: TrialRecord) -> Recipe:
    """Return the recipe of the best trial."""
    return replace(recipe_with(search.config.recipe, best["values"]), name="best")


def document_of(search: Search, stored: Study, options: dict[str, str], generated: bool) -> Tune:
    """Return a search as it is stored.

    Args:
        options: Its sampler and its pruner.
        generated: Whether its images are.

    Raises:
        InputError: If the trials cannot be read any more.
    """
    with trials_stored(search.folder / STORAGE):
        trials, shares = records(stored), importance(stored)
    best = best_trial(trials)
    data = TrainingData(search.data, search.config)
    recipe = None if best is None else best_recipe(search, best)
    return {
        "version": 1,
        "kind": "tune",
        **origin(),
        "backend": search.backend,
        "config": search.config.to_json(),
        "dataset": {
            "generated": generated,
            "rule": RULE,
            "train_images": len(data.train.names),
            "tuning_images": len(data.val.names),
            "digest": data.train.digest,
        },
        "weights": describe_weights(search.config.recipe, search.weights),
        "space": {name: searched(values) for name, values in search.space.items()},
        "start": first_values(search.space, search.config.recipe),
        "sampler": options["sampler"],
        "pruner": options["pruner"],
        "trials": trials,
        "best": best["number"] if best else None,
        "recipe": replace(search.config, recipe=recipe).to_json()["recipe"] if recipe else None,
        "importance": shares,
        "optuna": version("optuna"),
    }
