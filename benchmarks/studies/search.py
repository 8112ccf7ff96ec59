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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records.proof_documents import HostRecord
from benchmarks.records.tuning_documents import Ended, State, TrialRecord
from benchmarks.studies.space import first_values, recipe_with, say_what_is_not_tried
from benchmarks.studies.trials import (
    ENDED,
    OPTUNA,
    STORAGE,
    Search,
    records,
    trials_stored,
    try_again,
)
from benchmarks.workers.scripts import Outcome, train_backend
from common.errors import LOWER_RATE, InputError
from common.recipes import Recipe
from common.run.log import LOG, read_metrics
from common.run.metrics import in_reading
from common.run.training import TrainingData

if TYPE_CHECKING:
    from optuna import Study

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "none")
BEFORE_PRUNING = 5
"""Trials with a score before one is ended early."""
BEFORE_MODEL = 5
"""Trials that have ended before TPE proposes from their scores; until then it draws at random.

Optuna's ten would be all that a search of 20 minutes on a CPU has.
"""
MOST_FAILURES = 3
"""Trials in a row that fail before the search does."""


@dataclass(frozen=True)
class Budget:
    """How long a search goes on: trials, minutes, or whichever ends first.

    Attributes:
        trials: None for no limit.
        minutes: No trial begins after so many of training, those before an interruption included
            but for a trial that it killed; None for no limit.
    """

    trials: int | None
    minutes: float | None

    def is_left(self, trials: Sequence[TrialRecord], running: int = 0) -> bool:
        """Return whether another trial may begin beside those that run."""
        ended = sum(trial["state"] != "killed" for trial in trials) + running
        spent = sum(trial["seconds"] or 0.0 for trial in trials)
        return (self.trials is None or ended < self.trials) and (
            self.minutes is None or spent < 60 * self.minutes
        )


def open_study(search: Search, sampler: str, pruner: str, several: bool = False) -> Study:
    """Return the Optuna study that a search's folder holds, a new one if it holds none.

    The sampler's random numbers begin anew with each call, from the seed and the number of trials.
    A trial that a killed process left behind is the next one to be tried.

    Args:
        several: Several trials may run at once. TPE then takes those that run for bad ones, so that
            it does not propose the same values to all hosts (the "constant liar").

    Raises:
        InputError: If the stored trials are damaged.
    """
    import optuna
    from sqlalchemy import URL

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = search.folder / STORAGE
    with trials_stored(path, RuntimeError, ValueError, KeyError):
        study = optuna.create_study(
            storage=str(URL.create("sqlite", database=str(path.absolute()))),
            study_name="tune",
            direction="maximize",
            load_if_exists=True,
        )
        trials = study.get_trials(deepcopy=False)
        for trial in trials:
            # One that was killed has left its run, with its checkpoints.
            shutil.rmtree(run_folder(search, trial.number), ignore_errors=True)
            if trial.state == optuna.trial.TrialState.RUNNING:
                try_again(study, trial.number)
    seed = search.config.seed + len(trials)
    if sampler == "tpe":
        study.sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=BEFORE_MODEL,
            multivariate=True,
            constant_liar=several,
        )
    else:
        study.sampler = optuna.samplers.RandomSampler(seed=seed)
    if pruner == "median":
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=BEFORE_PRUNING)
    else:
        study.pruner = optuna.pruners.NopPruner()
    if not trials:
        recipe = search.config.recipe
        study.enqueue_trial(first_values(search.space, recipe))
        say_what_is_not_tried(search.space, recipe)
    return study


def run_folder(search: Search, number: int) -> Path:
    """Return the folder of a trial's run, which is there while it trains."""
    return search.folder / "trials" / str(number)


def go_on(search: Search, study: Study, budget: Budget) -> list[TrialRecord]:
    """Train trial after trial until the budget is spent; return all trials.

    Raises:
        InputError: If several trials in a row fail: the next ones would, too.
    """
    with trials_stored(search.folder / STORAGE):
        trials = records(study)
    while budget.is_left(trials):
        with trials_stored(search.folder / STORAGE):
            run_trial(search, study)
            trials = records(study)
        check_failures(search, trials)
    return trials


def check_failures(search: Search, trials: Sequence[TrialRecord]) -> None:
    """Raise InputError if the last trials failed, several in a row."""
    last = [trial for trial in trials if trial["state"] != "killed"][-MOST_FAILURES:]
    if len(last) == MOST_FAILURES and all(trial["state"] == "failed" for trial in last):
        raise InputError(
            f"{search.folder}: {MOST_FAILURES} trials in a row failed, the last one with: "
            f"{last[-1]['reason']}"
        )


class Attempt:
    """A trial that is trained.

    Attributes:
        config: Of its training.
        folder: Of its run.
        heading: Its number and its values, in words.
        scores: Mean IoU after each epoch, in the recipe's reading of void pixels.
        host: Where it is trained, if that is a host of a cluster.
    """

    def __init__(self, search: Search, study: Study) -> None:
        """Begin the next trial of a study."""
        self.search, self.study = search, study
        self.trial = trial = study.ask(search.space)
        recipe = recipe_with(search.config.recipe, trial.params)
        self.config = replace(search.config, recipe=recipe)
        self.folder = run_folder(search, trial.number)
        shown = ", ".join(f"{name} {short(value)}" for name, value in trial.params.items())
        self.heading = f"trial {trial.number}: {shown}"
        self.scores: list[float | None] = []
        self.host: HostRecord | None = None
        self._begun = time.monotonic()

    @cached_property
    def epochs(self) -> int:
        """How many epochs it trains: fewer than the recipe's where ``--max-steps`` ends it."""
        if self.config.max_steps is None:
            return self.config.recipe.epochs
        return len([*TrainingData(self.search.data, self.config).epochs()])

    @property
    def last(self) -> float | None:
        """The score of the last epoch that has ended."""
        return self.scores[-1] if self.scores else None

    def report(self, scores: Sequence[float | None]) -> bool:
        """Tell Optuna the scores of the epochs that have ended; return whether to end the trial.

        That is where its best epoch is worse than the earlier trials were at this one.
        """
        for score in scores[len(self.scores) :]:
            self.scores.append(score)
            if score is not None:
                self.trial.report(score, len(self.scores))
                is_last = len(self.scores) == self.epochs  # Nothing would be saved.
                if not is_last and self.trial.should_prune():
                    return True
        return False

    def end(self, outcome: Outcome) -> None:
        """Store how it ended, unless it was pruned."""
        reason = (outcome.reason or "").replace(f"{self.search.folder.absolute()}/", "") or None
        state: State = "finished"
        if outcome.status != "ok":
            state = "diverged" if LOWER_RATE in (reason or "") else "failed"
        elif self.last is None:
            state, reason = "failed", "all pixels of the tuning images are void: there is no score"
        self._tell(state, reason)

    def prune(self) -> None:
        """Store that it was ended early."""
        self._tell("pruned", f"below the median after epoch {len(self.scores)}")

    def lose(self) -> None:
        """Give it up: its host is lost. The next trial has its values."""
        try_again(self.study, self.trial.number)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self, state: State, reason: str | None) -> None:
        from optuna.trial import TrialState

        seconds = time.monotonic() - self._begun
        ended: Ended = {
            "state": state,
            "epochs": self.scores,
            "seconds": seconds,
            "reason": reason,
        }
        if self.host is not None:
            ended["host"] = self.host
        self.trial.set_user_attr(ENDED, ended)
        score = {"finished": self.last, "diverged": 0.0}.get(state)
        self.study.tell(self.trial, score, TrialState[OPTUNA[state]])
        shutil.rmtree(self.folder, ignore_errors=True)
        words = f"{state}: {reason}" if reason else f"mean IoU {self.last:.4f}"
        print(f"trial {self.trial.number}: {words}", file=sys.stderr)


def run_trial(search: Search, study: Study) -> None:
    """Train with the next values; the study gets the score after each epoch."""
    from optuna import TrialPruned

    attempt = Attempt(search, study)

    def watch() -> None:
        if attempt.report(epoch_scores(attempt.folder, attempt.config.recipe)):
            raise TrialPruned

    try:
        outcome = train_backend(
            search.backend,
            attempt.config,
            search.data,
            attempt.folder,
            attempt.heading,
            search.weights,
            silence=search.silence,
            verbose=search.verbose,
            watch=watch,
        )
        watch()
    except TrialPruned:
        attempt.prune()
    else:
        attempt.end(outcome)


def epoch_scores(folder: Path, recipe: Recipe) -> list[float | None]:
    """Return the mean IoU after each epoch that a run has ended so far."""
    if not (folder / LOG).is_file():
        return []
    lines = [line for line in read_metrics(folder / LOG) if line["kind"] == "epoch"]
    return [in_reading(line["scores"], recipe.void)["mean_iou"] for line in lines]


def short(value: object) -> str:
    """Return a value as a line shows it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
