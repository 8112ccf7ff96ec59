"""A search for a recipe: Optuna proposes, one backend trains, the tuning images decide.

The trials are kept in an SQLite file. So a search that was killed goes on where it was: a trial
that had not ended is tried again with the same values.

Source:
    Akiba et al. 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework".
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records.tuning_documents import Ended, State, TrialRecord
from benchmarks.studies.space import Space, first_values, recipe_with
from benchmarks.workers.scripts import train_backend
from common.config import Config
from common.errors import LOWER_RATE, InputError
from common.run.log import LOG, read_metrics
from common.run.metrics import in_reading

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

STORAGE = "trials.db"
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "none")
BEFORE_PRUNING = 5
"""Trials that are trained to their end before one is ended early."""
MOST_FAILURES = 3
"""Trials in a row that fail before the search does."""
OPTUNA = {"finished": "COMPLETE", "diverged": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""How a trial ended -> Optuna's name for it."""
ENDED = "ended"
"""Attribute of Optuna's trials: how it ended."""
KILLED: Ended = {"state": "killed", "epochs": [], "reason": None, "seconds": None}
LEAST_FOR_IMPORTANCE = 10
"""Finished trials; what fewer say of a field's importance is chance."""


@dataclass(frozen=True)
class Budget:
    """How long a search goes on: trials, minutes, or whichever ends first.

    Attributes:
        trials: None for no limit.
        minutes: No trial begins after so many of training, those before an interruption included;
            None for no limit.
    """

    trials: int | None
    minutes: float | None

    def is_left(self, trials: Sequence[TrialRecord]) -> bool:
        """Return whether another trial may begin."""
        ended = sum(trial["state"] != "killed" for trial in trials)
        spent = sum(trial["seconds"] or 0.0 for trial in trials)
        return (self.trials is None or ended < self.trials) and (
            self.minutes is None or spent < 60 * self.minutes
        )


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
        silence: As ``train_backend``.
    """

    backend: str
    config: Config
    space: Space
    data: Path
    folder: Path
    weights: Path | None = None
    silence: float | None = None


def open_study(search: Search, sampler: str, pruner: str) -> Study:
    """Return the Optuna study that a search's folder holds, a new one if it holds none.

    The sampler's random numbers begin anew with each call, from the seed and the number of trials.
    A trial that a killed process left behind is the next one to be tried.

    Raises:
        InputError: If the stored trials are damaged.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = search.folder / STORAGE
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.absolute()}",
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(trial.params)
    except (SQLAlchemyError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not the trials of a search ({first}); begin one in another folder"
        ) from error
    seed = search.config.seed + len(trials)
    if sampler == "tpe":
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    else:
        study.sampler = optuna.samplers.RandomSampler(seed=seed)
    if pruner == "median":
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING)
    else:
        study.pruner = optuna.pruners.NopPruner()
    if not trials:
        study.enqueue_trial(first_values(search.space, search.config.recipe))
    return study


def go_on(search: Search, study: Study, budget: Budget) -> list[TrialRecord]:
    """Train trial after trial until the budget is spent; return all trials.

    Raises:
        InputError: If several trials in a row fail: the next ones would, too.
    """
    trials = records(study)
    while budget.is_left(trials):
        run_trial(search, study)
        trials = records(study)
        last = [trial for trial in trials if trial["state"] != "killed"][-MOST_FAILURES:]
        if len(last) == MOST_FAILURES and all(trial["state"] == "failed" for trial in last):
            raise InputError(
                f"{search.folder}: {MOST_FAILURES} trials in a row failed, the last one with: "
                f"{last[-1]['reason']}"
            )
    return trials


def run_trial(search: Search, study: Study) -> None:
    """Train with the next values; the study gets the score after each epoch."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    trial = study.ask(search.space)
    recipe = recipe_with(search.config.recipe, trial.params)
    folder = search.folder / "trials" / str(trial.number)
    watch = Watch(trial, folder, recipe.void)
    shown = ", ".join(f"{name} {short(value)}" for name, value in trial.params.items())
    begun = time.monotonic()
    state: State = "finished"
    try:
        outcome = train_backend(
            search.backend,
            replace(search.config, recipe=recipe),
            search.data,
            folder,
            f"trial {trial.number}: {shown}",
            search.weights,
            silence=search.silence,
            watch=watch,
        )
        watch()
        reason = outcome.reason
        if outcome.status != "ok":
            state = "diverged" if LOWER_RATE in (reason or "") else "failed"
        elif watch.last is None:
            state, reason = "failed", "all pixels of the tuning images are void: there is no score"
    except TrialPruned:
        state, reason = "pruned", f"below the median after epoch {len(watch.scores)}"
    seconds = time.monotonic() - begun
    ended: Ended = {"state": state, "epochs": watch.scores, "seconds": seconds, "reason": reason}
    trial.set_user_attr(ENDED, ended)
    score = {"finished": watch.last, "diverged": 0.0}.get(state)
    study.tell(trial, score, TrialState[OPTUNA[state]])
    shutil.rmtree(folder, ignore_errors=True)
    outcome_text = (
        f"mean IoU {score:.4f}" if state == "finished" and score else f"{state}: {reason}"
    )
    print(f"trial {trial.number}: {outcome_text}", file=sys.stderr)


class Watch:
    """Tells Optuna the score of each epoch of a training as it ends.

    Attributes:
        scores: Mean IoU after each epoch, in the recipe's reading of void pixels.
    """

    def __init__(self, trial: Trial, folder: Path, void: str) -> None:
        self.trial, self.log, self.void = trial, folder / LOG, void
        self.scores: list[float | None] = []

    @property
    def last(self) -> float | None:
        """The score of the last epoch that has ended."""
        return self.scores[-1] if self.scores else None

    def __call__(self) -> None:
        """Look at the log.

        Raises:
            TrialPruned: If the trial is worse than the earlier ones were at this epoch.
        """
        from optuna import TrialPruned

        if not self.log.is_file():
            return
        lines = [line for line in read_metrics(self.log) if line["kind"] == "epoch"]
        for line in lines[len(self.scores) :]:
            score = in_reading(line["scores"], self.void)["mean_iou"]
            self.scores.append(score)
            if score is not None:
                self.trial.report(score, len(self.scores))
                if self.trial.should_prune():
                    raise TrialPruned


def records(study: Study) -> list[TrialRecord]:
    """Return a study's trials that have begun."""
    return [record_of(trial) for trial in study.get_trials(deepcopy=False) if trial.params]


def record_of(trial: FrozenTrial) -> TrialRecord:
    """Return a trial as it is stored."""
    ended = trial.user_attrs.get(ENDED) or KILLED
    return {
        "number": trial.number,
        "values": trial.params,
        "score": trial.value if ended["state"] in ("finished", "diverged") else None,
        **ended,
    }


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


def short(value: object) -> str:
    """Return a value as a line shows it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
