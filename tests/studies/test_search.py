"""A search with a stand-in for the training: what it tries, ends, keeps and goes on with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmarks.studies import search as searching
from benchmarks.studies.search import Attempt, Budget, go_on, open_study
from benchmarks.studies.space import first_values, read_space
from benchmarks.studies.trials import Search, best_trial, document_of, importance, records
from benchmarks.workers.scripts import Outcome
from common.config import Config
from common.data.synthetic import make_dataset
from common.errors import LOWER_RATE, InputError
from common.recipes import make_recipe
from common.run.metrics import empty_confusion, evaluation_record

EPOCHS = 3


class Trainings:
    """Stands in for ``train_backend``: the nearer the momentum is to ``best``, the better."""

    def __init__(self) -> None:
        self.best = 0.8
        self.recipes: list[Any] = []
        self.kill_at: int | None = None
        self.outcome = Outcome("ok", None)
        self.verbose: set[bool] = set()

    def __call__(self, backend, config, data, folder, heading, weights, *, silence, verbose, watch):
        self.verbose.add(verbose)
        (folder / "checkpoints").mkdir(parents=True)
        if len(self.recipes) == self.kill_at:
            raise KeyboardInterrupt
        self.recipes.append(config.recipe)
        if self.outcome.status != "ok":
            return self.outcome
        if config.recipe.learning_rate > 0.5:
            return Outcome("failed", f"the loss is nan at step 3 (epoch 1): {LOWER_RATE}")
        correct = round(1000 * (1 - abs(config.recipe.momentum - self.best)))
        for epoch in range(EPOCHS):
            confusion = empty_confusion(21)
            right = correct * (epoch + 1) // EPOCHS
            confusion[0, 0], confusion[0, 1] = right, 1000 - right
            line = {"kind": "epoch", "epoch": epoch, "train_loss": 1.0}
            line |= evaluation_record(confusion, [])
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            watch()
        return self.outcome


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    stand_in = Trainings()
    monkeypatch.setattr(searching, "train_backend", stand_in)
    return stand_in


def new_search(folder: Path, *space: str) -> Search:
    recipe = make_recipe("modern", epochs=EPOCHS)
    config = Config(recipe, seed=3)
    return Search("torch", config, read_space(space, recipe), folder, folder, verbose=True)


def search_on_images(folder: Path, **changes: Any) -> Search:
    """A search of whose trainings an epoch is of four steps; ``changes`` are of the recipe."""
    search, data = new_search(folder, "momentum=0:0.95"), folder / "data"
    make_dataset(data, train=8, val=2, size=(64, 64), seed=0)
    recipe = search.config.recipe.changed(crop=(64, 64), batch_size=2, **changes)
    return replace(search, data=data, config=replace(search.config, recipe=recipe))


def test_the_first_trial_has_the_recipe_s_values_and_later_ones_do_better(
    trainings, tmp_path
) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    study = open_study(search, "tpe", "none")
    trials = go_on(search, study, Budget(20, None))
    assert len(trials) == 20 and trials[0]["values"] == {"momentum": 0.9}
    assert trials[0]["score"] == pytest.approx(0.9) == trials[0]["epochs"][-1]
    assert max(trial["score"] for trial in trials) > 0.95
    assert trainings.verbose == {True}
    assert not list((tmp_path / "trials").iterdir())  # Gibibytes of checkpoints otherwise.


def test_scores_decide_what_is_proposed_once_five_trials_have_ended(trainings, tmp_path) -> None:
    def proposed(folder: str, best: float) -> list[Any]:
        trainings.best = best
        (tmp_path / folder).mkdir()
        search = new_search(tmp_path / folder, "momentum=0:0.95", "weight_decay=1e-6:1e-2")
        trials = go_on(search, open_study(search, "tpe", "none"), Budget(7, None))
        return [trial["values"] for trial in trials]

    high, low = proposed("high", 0.8), proposed("low", 0.2)
    assert proposed("again", 0.8) == high, "the seed decides"
    assert high[:5] == low[:5] and high[5] != low[5] and high[6] != low[6]


@pytest.mark.parametrize(
    ("space", "listed"),
    [
        (["momentum=0:0.5", "learning_rate"], "momentum 0.9"),
        (["random_scale=0.5x2,0.75x1.5", "momentum=0.1,0.2"], "random_scale 1.0x1.0, momentum 0.9"),
        (["momentum=0:0.95"], None),
    ],
)
def test_a_recipe_that_is_not_searched_is_said_before_the_search(
    space, listed, trainings, tmp_path, capsys
) -> None:
    search = new_search(tmp_path, *space)
    study = open_study(search, "tpe", "none")
    said = capsys.readouterr().err
    assert said == (
        "the recipe that the search begins with is not tried itself, for the values that are "
        f"searched leave out its {listed}: the first trial draws others there\n"
        if listed
        else ""
    )
    (first,) = go_on(search, study, Budget(1, None))
    held = first_values(search.space, search.config.recipe)
    assert first["values"].keys() == search.space.keys()
    assert first["values"].items() >= held.items()
    capsys.readouterr()
    open_study(search, "tpe", "none")
    assert capsys.readouterr().err == "", "it has begun"


def test_a_trial_below_the_median_ends_early(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    trials = go_on(search, open_study(search, "random", "median"), Budget(10, None))
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned and all(trial["score"] is None and trial["epochs"] for trial in pruned)
    assert all(len(trial["epochs"]) < EPOCHS for trial in pruned)
    assert {trial["state"] for trial in trials[:5]} == {"finished"}


@pytest.mark.parametrize(("epochs", "max_steps"), [(3, None), (5, 9), (3, 900)])
def test_no_trial_is_ended_early_after_its_last_epoch(
    epochs, max_steps, tmp_path, monkeypatch
) -> None:
    search = search_on_images(tmp_path, epochs=epochs)
    search = replace(search, config=replace(search.config, max_steps=max_steps))
    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: True)
    attempt = Attempt(search, open_study(search, "tpe", "median"))
    assert [attempt.report([0.5] * count) for count in (1, 2, 3)] == [True, True, False]


def test_a_loss_that_is_no_number_is_a_score_of_zero_and_no_failure(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "learning_rate=0.6:0.9")
    trials = go_on(search, open_study(search, "tpe", "median"), Budget(3, None))
    assert [(trial["state"], trial["score"]) for trial in trials] == [("diverged", 0.0)] * 3
    assert best_trial(trials) is None


def test_a_search_whose_trials_fail_ends_with_the_reason(trainings, tmp_path) -> None:
    trainings.outcome = Outcome("failed", "there is no room")
    search = new_search(tmp_path, "momentum=0:0.95")
    with pytest.raises(InputError, match="3 trials in a row failed.*there is no room"):
        go_on(search, open_study(search, "tpe", "median"), Budget(9, None))
    assert len(trainings.recipes) == 3


def test_an_interrupted_trial_is_tried_again_with_the_same_values(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    trainings.kill_at = 2
    with pytest.raises(KeyboardInterrupt):
        go_on(search, open_study(search, "tpe", "median"), Budget(4, None))
    trainings.kill_at = None
    assert list((tmp_path / "trials").iterdir()) == [tmp_path / "trials/2"]
    study = open_study(search, "tpe", "median")
    assert not list((tmp_path / "trials").iterdir()), "the run of a killed trial would stay"
    trials = go_on(search, study, Budget(4, None))
    assert [trial["state"] for trial in trials].count("killed") == 1
    assert trials[2]["state"] == "killed" and trials[2]["values"] == trials[3]["values"]
    assert len([trial for trial in trials if trial["state"] != "killed"]) == 4


def test_a_trial_that_was_killed_while_its_end_was_written_is_tried_again(
    trainings, tmp_path, monkeypatch
) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    with monkeypatch.context() as patch:
        study = open_study(search, "tpe", "median")
        patch.setattr(study, "tell", interrupt)
        with pytest.raises(KeyboardInterrupt):
            go_on(search, study, Budget(2, None))
    (killed,) = records(study)
    assert (killed["state"], killed["score"], killed["epochs"]) == ("killed", None, [])
    trials = go_on(search, open_study(search, "tpe", "median"), Budget(1, None))
    assert [trial["state"] for trial in trials] == ["killed", "finished"]
    assert trials[0]["values"] == trials[1]["values"]
    assert best_trial(trials) == trials[1]


@pytest.mark.parametrize("kills", [1, 2])
def test_the_values_of_a_killed_trial_survive_a_kill_while_it_is_given_up(
    kills, trainings, tmp_path, monkeypatch
) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    trainings.kill_at = 0
    with pytest.raises(KeyboardInterrupt):
        go_on(search, open_study(search, "random", "none"), Budget(2, None))
    trainings.kill_at = None
    for _ in range(kills):
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "tell", interrupt)
            with pytest.raises(KeyboardInterrupt):
                open_study(search, "random", "none")
    trials = go_on(search, open_study(search, "random", "none"), Budget(2, None))
    assert [trial["state"] for trial in trials] == ["killed", "finished", "finished"]
    assert [trial["values"] == {"momentum": 0.9} for trial in trials] == [True, True, False]


def test_each_of_several_lost_trials_with_the_same_values_is_tried_again(tmp_path) -> None:
    search = new_search(tmp_path, "head=fcn16s,fcn32s")
    study = open_study(search, "random", "none", several=True)
    for _ in range(2):
        study.enqueue_trial({"head": "fcn16s"})
    lost = [Attempt(search, study) for _ in range(3)]
    for attempt in lost:
        attempt.lose()
    again = [Attempt(search, study).trial.params["head"] for _ in range(3)]
    assert again == [attempt.trial.params["head"] for attempt in lost]
    assert again == ["fcn32s", "fcn16s", "fcn16s"]


def test_minutes_count_the_trainings_of_before_an_interruption() -> None:
    trial = {"state": "finished", "seconds": 45.0}
    assert Budget(None, 1.0).is_left([trial])  # type: ignore[list-item]
    assert not Budget(None, 1.0).is_left([trial, trial])  # type: ignore[list-item]


def test_the_field_that_decides_is_the_most_important_one(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95", "weight_decay=1e-6:1e-2")
    study = open_study(search, "random", "none")
    assert importance(study) == {}
    go_on(search, study, Budget(14, None))
    shares = importance(study)
    assert list(shares) == ["momentum", "weight_decay"] and shares["momentum"] > 0.8


def test_damaged_trials_are_one_line(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    (tmp_path / "trials.db").write_text("no database\n" * 100)
    with pytest.raises(InputError, match=r"trials.db: the trials of a search cannot be read"):
        open_study(search, "tpe", "median")


def test_a_cut_storage_is_one_line(trainings, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    go_on(search, open_study(search, "tpe", "median"), Budget(1, None))
    path = tmp_path / "trials.db"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"trials.db: the trials of a search cannot be read"):
        open_study(search, "tpe", "median")


def test_a_storage_that_breaks_during_a_search_is_one_line(trainings, tmp_path) -> None:
    search = search_on_images(tmp_path)
    study = open_study(search, "tpe", "median")
    go_on(search, study, Budget(1, None))
    options = {"sampler": "tpe", "pruner": "median"}
    assert len(document_of(search, study, options, generated=True)["trials"]) == 1
    (tmp_path / "trials.db").write_text("no database\n" * 100)
    for read in (
        lambda: go_on(search, study, Budget(1, None)),
        lambda: document_of(search, study, options, generated=True),
    ):
        with pytest.raises(InputError, match=r"trials.db: the trials of a search cannot be read"):
            read()
