"""`fcn bench selftest`: what it plants is planted, and what it says follows from what was seen."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from benchmarks.records.results import Results, new_document
from benchmarks.records.statistics import LEVEL, least_p
from benchmarks.timing import plants, selftest

REFUSED = {
    "unsynchronised": "not synchronised: 0.1 s of the work of 1 step were left",
    "epsilon": "not equal work: loss is off by 0.04, allowed 2e-06",
}


def rows_of(again: float, slower: float, noise: float = 0.01) -> dict[str, dict[str, Any]]:
    """Return rows as the self-test measures them, on a machine that drifts."""
    generator = np.random.default_rng(1)
    drift = np.linspace(1, 1.2, 24)
    rows: dict[str, dict[str, Any]] = {}
    for name, factor in (("plain", 1.0), ("again", again), ("slower", slower)):
        seconds = factor * drift * np.exp(generator.normal(0, noise, 24))
        samples = [
            {"round": n // 2, "turn": n % 2, "seconds": float(value), "dropped": None}
            for n, value in enumerate(seconds)
        ]
        rows[name] = {"status": "ok", "reason": None, "samples": samples}
    for name, reason in REFUSED.items():
        rows[name] = {"status": "invalid", "reason": reason, "samples": []}
    return rows


def judged(rows: dict[str, dict[str, Any]]) -> list[bool]:
    return [ok for _, _, ok in selftest.findings(rows)]


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


def test_rounds_too_few_to_find_the_slowdown_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = {rounds: 2 * least_p(2 * rounds) for rounds in (3, 4)}
    assert pairs[4] < LEVEL <= pairs[3]
    assert fcn(["bench", "selftest", "--rounds", "3"]) == 2
    assert "--rounds 3: must be 4 at least" in capsys.readouterr().err


def test_a_plant_that_passes_or_fails_otherwise_is_no_success() -> None:
    rows = rows_of(1.0, 1.05)
    rows["unsynchronised"] |= {"status": "ok", "reason": None}
    rows["epsilon"] |= {"status": "failed", "reason": "torch ended (1): no message"}
    assert judged(rows) == [True, True, False, False]
    rows = rows_of(1.0, 1.05)
    rows["plain"] |= {"status": "failed", "reason": "torch ended (1): no message"}
    assert judged(rows) == [False, False, False, False]


def test_the_slowdown_is_a_twentieth_and_the_queue_is_not_waited_for() -> None:
    def train_step(state: int, images: None, labels: None, rate: float) -> tuple[int, float]:
        time.sleep(0.1)
        return state + 1, 0.5

    package = ModuleType("torch_impl")
    package.train_step, package.synchronize = train_step, lambda loss: None
    package.parameters_of = lambda state: state
    started = time.perf_counter()
    assert plants.slower(package).train_step(1, None, None, 0.1) == (2, 0.5)
    assert time.perf_counter() - started >= 0.105

    queued = plants.unsynchronised(package)
    started = time.perf_counter()
    state, loss = queued.train_step(1, None, None, 0.1)
    state, loss = queued.train_step(state, None, None, 0.1)
    queued.synchronize(loss)
    assert time.perf_counter() - started < 0.1
    assert (queued.parameters_of(state), float(loss)) == (3, 0.5)
    assert package.train_step is train_step  # The package itself is as it was.


@pytest.mark.slow
def test_what_is_planted_in_a_real_backend_is_refused(
    backend_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "VARIANTS", tuple(REFUSED))
    options = Namespace(rounds=3, seconds=0.1, device="cpu", threads=None)
    results = Results(tmp_path, new_document(selftest.settings_of(options, backend_name)))
    rows = selftest.measure(results)
    for name, reason in REFUSED.items():
        assert rows[name]["status"] == "invalid"
        assert rows[name]["reason"].startswith(reason[:15])
