"""`fcn bench selftest`: what it plants is planted, and what it says follows from what was seen."""

import time
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pytest

from benchmarks.records.results import Results
from benchmarks.timing import members, plants, selftest
from benchmarks.timing.group import processes
from benchmarks.timing.plan import config_of
from benchmarks.timing.proof import opening
from benchmarks.timing.settings import Settings
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.recipes import make_recipe
from tests.conftest import PRESENT
from tests.support.bench_sample import planned

REFUSED = {
    "unsynchronised": "not synchronised: 0.1 s of the work of 1 step were left",
    "epsilon": "not equal work: loss is off by 0.04, allowed 2e-06",
}


def settings_of(backend: str, *cases: str) -> Settings:
    return Settings(
        backends=(backend,),
        cases=cases or (selftest.SELFTEST_CASE,),
        batch_sizes=(2,),
        crop=(64, 96),
        device="cpu",
    )


def rows_of(again: float, slower: float, noise: float = 0.01) -> dict[str, Any]:
    """Return rows as the self-test measures them, on a machine that drifts."""
    generator = np.random.default_rng(1)
    drift = np.linspace(1, 1.2, 5)[:, None]
    rows: dict[str, Any] = {}
    for name, factor in (("plain", 1.0), ("again", again), ("slower", slower)):
        seconds = factor * drift * np.exp(generator.normal(0, noise, (5, 6)))
        samples = [
            {
                **{"process": number, "round": n // 2, "turn": n % 2, "seconds": float(value)},
                **{"dropped": None, "other_cpu_share": 0.0},
            }
            for number, turns in enumerate(seconds)
            for n, value in enumerate(turns)
        ]
        rows[name] = {"status": "ok", "reason": None, "samples": samples}
    for name, reason in REFUSED.items():
        rows[name] = {"status": "invalid", "reason": reason, "samples": []}
    return rows


def judged(rows: dict[str, Any]) -> list[bool | None]:
    return [outcome.passed for outcome in selftest.outcomes(rows)]


def test_a_harness_that_works_passes() -> None:
    assert judged(rows_of(1.0, 1.05)) == [True, True, True, True]


@pytest.mark.parametrize(
    "again, slower, noise, expected",
    [
        (1.05, 1.05, 0.01, [False, True]),  # It differs from itself.
        (1.0, 1.0, 0.01, [True, False]),  # The slowdown is not there.
        (1.0, 1.2, 0.01, [True, False]),  # It is another.
        (1.0, 1.05, 0.3, [True, False]),  # The machine is too restless to show it.
    ],
)
def test_what_is_not_as_expected_is_said(
    again: float, slower: float, noise: float, expected: list[bool]
) -> None:
    assert judged(rows_of(again, slower, noise))[:2] == expected


@pytest.mark.parametrize("disturbed", ["plain", "slower"])
def test_times_on_a_disturbed_machine_are_not_judged(disturbed: str) -> None:
    rows = rows_of(1.0, 1.05)
    for sample in rows[disturbed]["samples"]:
        sample["other_cpu_share"] = 0.12
    slower = selftest.outcomes(rows)[1]
    assert slower.observed == "other processes took 12 % of the CPUs (at most 10 %)"
    assert judged(rows) == [None if disturbed == "plain" else True, None, True, True]


def test_a_plant_that_passes_or_fails_otherwise_is_no_success() -> None:
    rows = rows_of(1.0, 1.05)
    rows["unsynchronised"] |= {"status": "ok", "reason": None}
    rows["epsilon"] |= {"status": "failed", "reason": "torch ended (1): no message"}
    assert judged(rows) == [True, True, False, False]
    rows = rows_of(1.0, 1.05)
    rows["plain"] |= {"status": "failed", "reason": "torch ended (1): no message"}
    assert judged(rows) == [False, False, False, False]


def test_the_queue_is_not_waited_for() -> None:
    def train_step(state: int, images: None, labels: None, rate: float) -> tuple[int, float]:
        time.sleep(0.1)
        return state + 1, 0.5

    package = ModuleType("torch_impl")
    package.train_step, package.synchronize = train_step, lambda loss: None
    package.parameters_of = lambda state: state
    queued = plants.unsynchronised(package)
    started = time.perf_counter()
    state, loss = queued.train_step(1, None, None, 0.1)
    state, loss = queued.train_step(state, None, None, 0.1)
    queued.synchronize(loss)
    assert time.perf_counter() - started < 0.1
    assert (queued.parameters_of(state), float(loss)) == (3, 0.5)
    assert package.train_step is train_step  # The package itself is as it was.


class Recorded:
    """Stands in for a worker: notes what it is asked, and fails when it shall set a case up."""

    def __init__(self, asked: list[tuple[str, str | None]]) -> None:
        self.asked = asked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, task: str, timeout: float, plant: str | None = None, **_: Any) -> None:
        if not task.endswith("ready"):
            self.asked.append((task, plant))
            raise WorkerFailed("this is no worker")

    def close(self) -> None:
        pass


def test_each_variant_has_its_own_plant_and_the_plain_ones_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    question = opening.Question(Config(make_recipe("chapter-torch")), tmp_path, tmp_path)
    monkeypatch.setattr(processes, "start_worker", lambda *_, **__: Recorded(asked))
    monkeypatch.setattr(processes, "make_question", lambda *_: question)
    rows = selftest.measure(tmp_path, settings_of("torch"))
    assert [*rows] == ["plain", "again", "slower", "unsynchronised", "epsilon"]
    assert len({row["key"] for row in rows.values()}) == len(rows)
    planted = ["slower", "unsynchronised", "epsilon"]
    assert asked == [("timing.turns.set_up", None)] * 2 + [
        ("timing.plants.set_up", name) for name in planted
    ]


def check_refused(backend_name: str, case: str, plant: str, folder: Path) -> None:
    settings = settings_of(backend_name, case).to_json()
    document = planned(**settings)
    (row,) = document["rows"]
    results, config = Results(folder, document), config_of(settings, row)
    with Worker(backend_name, backend_environment(None, "cpu"), folder / "log") as worker:
        member = members.Member(results, row, worker, plant=plant)
        if opening.prove(member, opening.make_question(row, config, folder)):
            members.calibrate(member, seconds=0.1, least=2)
    assert row["status"] == "invalid"
    assert row["reason"].startswith(REFUSED[plant][:15])


@pytest.mark.parametrize(
    "backend_name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == PRESENT[0] else pytest.mark.release)
        for name in PRESENT
    ],
    indirect=True,
)
def test_steps_that_are_not_waited_for_are_refused(backend_name: str, tmp_path: Path) -> None:
    """What is planted, and what finds it, is the harness' own and the same for every backend."""
    check_refused(backend_name, "train", "unsynchronised", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend_name", PRESENT[:1], indirect=True)
def test_another_epsilon_is_refused(backend_name: str, tmp_path: Path) -> None:
    """In one backend: in the others tests/equal_work/test_planted.py plants it."""
    check_refused(backend_name, "predict", "epsilon", tmp_path)
