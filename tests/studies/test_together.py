"""Searches and studies on two hosts that a test plays: which tasks they get, and what is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cluster.tasks import End, Task
from benchmarks.studies import together, trainings
from benchmarks.studies.search import Budget, open_study
from benchmarks.studies.together import search_together, train_together
from benchmarks.studies.trainings import Plan
from common.config import Config
from common.errors import LOWER_RATE, InputError
from common.recipes import make_recipe
from tests.studies.test_search import EPOCHS, new_search

Line = dict[str, Any]
HARDWARE = {"processor": "x", "cpus": 2, "memory_bytes": 1, "system": "s", "python": "3"}
Work = Callable[[Line], Iterator[Line | End]]


class Played:
    """Two hosts that take turns: each tells a line of its task, and at last how that ended."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.started: list[Line] = []
        self.all = ["first", "second"]

    def run(self, hosts: Any, next_task: Any, ended: Any) -> None:
        free = [SimpleNamespace(name=name) for name in self.all]
        busy: list[tuple[Any, Task, Iterator[Line | End]]] = []
        while True:
            while free and (task := next_task(free[0])) is not None:
                self.started.append(task.request)
                busy.append((free.pop(0), task, self.work(task.request)))
            if not busy:
                return
            host, task, lines = busy.pop(0)
            answer = next(lines)
            if not isinstance(answer, End):
                end = End(-9, "", "first") if task.told(answer) else None
                if end is None:
                    busy.append((host, task, lines))
                    continue
                answer = end
            free += [host] if answer.status is not None else []
            ended(task, answer)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], Played]:
    def play(work: Work) -> Played:
        hosts = Played(work)
        monkeypatch.setattr(together, "run_tasks", hosts.run)
        return hosts

    return play


def trial(request: Line) -> Iterator[Line | End]:
    """Train: the nearer the momentum is to 0.8, the better."""
    recipe = Config.from_json(request["config"]).recipe
    yield {"hardware": HARDWARE}
    if recipe.learning_rate > 0.5:
        yield {"outcome": ["failed", f"the loss is nan: {LOWER_RATE}", None]}
    else:
        score = 1 - abs(recipe.momentum - 0.8)
        for epoch in range(EPOCHS):
            yield {"scores": [score] * (epoch + 1), "device": "H200"}
        yield {"outcome": ["ok", None, 0.1]}
    yield End(0, "", "first")


def test_trials_on_two_hosts_are_scored_pruned_and_counted(played, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95", "learning_rate=0.001:0.9")
    hosts = played(trial)
    study = open_study(search, "tpe", "median", several=True)
    trials = search_together(search, study, Budget(16, None), hosts)
    assert len(trials) == len(hosts.started) == 16
    states = {trial["state"] for trial in trials}
    assert states == {"finished", "pruned", "diverged"}
    assert all(len(each["epochs"]) < EPOCHS for each in trials if each["state"] == "pruned")
    assert {each["host"]["name"] for each in trials} == {"first", "second"}
    assert {each["host"].get("device") for each in trials if each["epochs"]} == {"H200"}
    assert [each["heading"].partition(":")[0] for each in hosts.started[:2]] == [
        "trial 0",
        "trial 1",
    ]
    assert hosts.started[0]["config"]["recipe"]["momentum"] == search.config.recipe.momentum


def test_a_lost_host_s_values_are_tried_again_on_the_other(played, tmp_path) -> None:
    def losing(request: Line) -> Iterator[Line | End]:
        if request["heading"].startswith("trial 1:"):
            yield {"scores": [0.5]}
            yield End(None, "", "first")
        yield from trial(request)

    search = new_search(tmp_path, "momentum=0:0.95")
    study = open_study(search, "tpe", "none", several=True)
    trials = search_together(search, study, Budget(4, None), played(losing))
    assert [each["state"] for each in trials].count("killed") == 1 and len(trials) == 5
    assert trials[1]["state"] == "killed" and trials[1]["values"] in [
        each["values"] for each in trials[2:]
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (End(-9, "no room", "first"), "was ended by SIGKILL"),
        (End(1, "no room", "first"), "no room"),
    ],
)
def test_trials_that_fail_on_every_host_end_the_search(end, reason, played, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    study = open_study(search, "tpe", "none", several=True)
    hosts = played(lambda request: iter([end]))
    with pytest.raises(InputError, match=f"3 trials in a row failed.*{reason}"):
        search_together(search, study, Budget(9, None), hosts)


def test_what_a_host_cannot_read_is_told_in_its_words(played, tmp_path) -> None:
    search = new_search(tmp_path, "momentum=0:0.95")
    study = open_study(search, "tpe", "none", several=True)
    hosts = played(lambda request: iter([End(2, "weights.pth: cannot be read", "first")]))
    with pytest.raises(InputError, match=r"^weights.pth: cannot be read \(on host first\)"):
        search_together(search, study, Budget(9, None), hosts)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(trainings, "TrainingData", lambda *_: None)
    monkeypatch.setattr(trainings, "inputs_of", lambda *_: {})
    configs = {name: Config(make_recipe("modern")) for name in ("a", "b")}
    return Plan(configs, ["torch", "jax"], 3, tmp_path, tmp_path / "runs")


def training(request: Line) -> Iterator[Line | End]:
    yield {"hardware": HARDWARE}
    yield {"has": "trace"}
    yield {"has": "proof"}
    stored = {"run": {"seed": request["config"]["seed"]}, "seconds": 1.0}
    yield {"status": "ok", "reason": None, "stored": stored}
    yield End(0, "", "first")


def test_no_two_hosts_make_the_same_trace_or_proof_and_all_is_trained(played, plan) -> None:
    making: set[tuple[object, ...]] = set()
    made: list[tuple[object, ...]] = []

    def watched(request: Line) -> Iterator[Line | End]:
        seed = ("trace", request["variant"], request["config"]["seed"])
        proof = ("proof", request["variant"], request["backend"])
        for line in training(request):
            if "hardware" in line:
                needs = {seed} if seed not in made else set()
                needs |= set() if request["proven"] else {proof}
                assert not needs & making
                making.update(needs)
            elif "has" in line:
                making.discard(need := seed if line["has"] == "trace" else proof)
                made.append(need)
            yield line

    hosts = played(watched)
    rows = train_together(plan, hosts)
    assert len(hosts.started) == 12
    for row in (row for variant in rows.values() for row in variant):
        assert [run["seed"] for run in row["runs"]] == [0, 1, 2]
    proofs = [each for each in hosts.started if not each["proven"]]
    assert len({(each["variant"], each["backend"]) for each in proofs}) == len(proofs) == 4


def test_a_row_that_fails_is_trained_no_more_and_a_lost_training_again(played, plan) -> None:
    lost: list[str] = []

    def failing(request: Line) -> Iterator[Line | End]:
        if request["backend"] == "jax" and request["variant"] == "a":
            yield {"status": "differs", "reason": "another work", "stored": None}
            yield End(0, "", "first")
        if request["heading"].startswith("[1/12]") and not lost:
            lost.append(request["heading"])
            yield {"has": "trace"}
            yield End(None, "", "first")
        yield from training(request)

    rows = train_together(plan, played(failing))
    jax = rows["a"][1]
    assert (jax["status"], jax["reason"], jax["runs"]) == ("differs", "another work", [])
    others = [row for row in (*rows["a"], *rows["b"]) if row is not jax]
    assert lost and all(len(row["runs"]) == 3 for row in others)
