"""Statistics on a simulated clock, the gate, and what a comparison of results refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.equal_work.gate import QUANTITIES, verdict
from benchmarks.pages.bench import groups as page_groups
from benchmarks.pages.bench import verdict as verdict_of
from benchmarks.pages.bench_text import table
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.results import Results, new_document
from benchmarks.records.statistics import (
    LEVEL,
    holm,
    interval,
    least_p,
    least_p_unpaired,
    paired,
    unpaired,
)
from benchmarks.timing import members as bench_members
from benchmarks.timing import turns as bench_worker
from benchmarks.timing.conductor import groups
from benchmarks.timing.limits import step_costs
from common.config import Config
from common.recipes import make_recipe
from tests.support.bench_sample import SETTINGS, sample_bench


def clock(generator: np.random.Generator, slowdown: float) -> np.ndarray:
    """Return the seconds of ten turns: a drifting machine and 1 % of noise."""
    drift = np.linspace(1, 1.2, 10)
    return slowdown * drift * np.exp(generator.normal(0, 0.01, 10))


def shares_found(slowdown: float, trials: int = 400) -> float:
    """Return in what share of trials a difference is found as one of the six pairs of four."""
    generator = np.random.default_rng(0)
    found = [paired(clock(generator, 1), clock(generator, slowdown)) for _ in range(trials)]
    return float(np.mean([result["p_value"] * 6 < LEVEL for result in found if result]))


def test_a_against_a_finds_a_difference_no_more_often_than_the_level() -> None:
    generator = np.random.default_rng(0)
    found = [paired(clock(generator, 1), clock(generator, 1)) for _ in range(400)]
    share = np.mean([result["p_value"] < LEVEL for result in found if result])
    assert 0.02 < share < 0.08  # Its standard error is 0.011; never finding any would be no test.
    assert shares_found(1.0) < 0.02


def test_the_level_holds_where_disturbances_last_several_turns() -> None:
    """Four workers take their turns as in a benchmark, on a machine that is slow for a while."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        seconds, disturbance = np.empty((4, 5, 2)), 0.0
        for number in range(5):
            order = generator.permutation(4)
            for turn, members in enumerate((order, order[::-1])):
                for member in members:
                    disturbance = 0.8 * disturbance + 0.6 * generator.normal()
                    log = 0.05 * disturbance + 0.01 * generator.normal()
                    seconds[member, number, turn] = np.exp(log)
        found.append(paired(seconds[0].ravel(), seconds[1].ravel()))
    assert 0.01 < np.mean([result["p_value"] < LEVEL for result in found if result]) < 0.09


def test_a_slowdown_of_five_per_cent_is_found_and_measured() -> None:
    assert shares_found(1.05) > 0.98
    generator = np.random.default_rng(0)
    found = paired(clock(generator, 1), clock(generator, 1.05))
    assert found is not None and found["low"] > 1.02 and found["high"] < 1.08
    changed = unpaired(clock(generator, 1), clock(generator, 1.5))
    assert changed["p_value"] < 0.01 and changed["low"] < 1.5 < changed["high"]


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    found = [interval(generator.normal(1, 0.1, 20).tolist()) for _ in range(300)]
    assert 0.91 < np.mean([i["low"] <= 1 <= i["high"] for i in found]) < 0.98


def test_the_interval_of_five_rounds_covers_the_median_though_their_turns_share_noise() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(400):
        shared, own = generator.normal(0, 0.01, (5, 1)), generator.normal(0, 0.01, (5, 2))
        found.append(interval((1 + shared + own).ravel().tolist()))
    assert 0.85 < np.mean([i["low"] <= 1 <= i["high"] for i in found]) < 0.95


@pytest.mark.parametrize("pairs", [6, 20])
def test_p_values_and_intervals_are_scipys(pairs: int, generator: np.random.Generator) -> None:
    from scipy import stats

    a, b = np.exp(generator.normal(0, 0.1, (2, pairs)))
    ours, logs = paired(a, b), np.log(b / a)
    theirs = stats.permutation_test((logs,), np.mean, permutation_type="samples")
    assert ours is not None and ours["p_value"] == pytest.approx(theirs.pvalue, abs=0.02)
    found = stats.bootstrap((logs,), np.median, method="percentile").confidence_interval
    assert np.log([ours["low"], ours["high"]]) == pytest.approx(found, abs=0.02)
    theirs = stats.permutation_test(
        (np.log(a), np.log(b)), lambda x, y: np.mean(x) - np.mean(y), vectorized=False
    )
    assert unpaired(a, b)["p_value"] == pytest.approx(theirs.pvalue, abs=0.02)


class Clock:
    """Time that passes only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    process_time = perf_counter

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Device:
    """A device that works a queue off beside the host: a step a second, copies half a second.

    ``behind`` of each step's work is queued behind what ``finish`` waits for. A ``lazy`` one does
    nothing before it is asked for the outcome.
    """

    steps_together = 1

    def __init__(self, time: Clock, *, waits: bool, behind: float = 0, lazy: bool = False) -> None:
        self.time, self.waits, self.behind, self.lazy = time, waits, behind, lazy
        self.free = self.pending = 0.0
        self.copied = True

    def run(self, steps: int) -> None:
        self.time.now += 0.001 * steps
        self.copied = False
        if self.lazy:
            self.pending += steps
        else:
            self.free = max(self.free, self.time.now) + steps

    def finish(self) -> None:
        if self.waits:
            self.time.now = max(self.time.now, self.free - self.behind)

    def read(self) -> None:
        self.time.now = max(self.time.now, self.free) + self.pending + 0.5 * (not self.copied)
        self.pending, self.copied = 0.0, True


@pytest.mark.parametrize(
    "device, late",
    [
        ({"waits": True}, 0.0),
        ({"waits": False}, 1.0),
        ({"waits": True, "behind": 0.3}, 0.3),
        ({"waits": True, "lazy": True}, 1.0),
    ],
)
def test_what_is_left_when_a_turn_has_ended_is_found(
    device: dict[str, float], late: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Clock()
    monkeypatch.setattr(bench_worker, "time", time)
    monkeypatch.setattr(bench_worker.Turn, "case", Device(time, **device), raising=False)
    found = bench_worker.calibrate(bench_worker, seconds=3, least=2)
    assert found["late_seconds"] == pytest.approx(late, abs=0.01)


def test_holm_corrects_by_rank() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize("pairs", [3, 5, 13, 14])
def test_the_least_p_value_is_that_of_samples_without_overlap(pairs: int) -> None:
    found = paired([1.0] * pairs, [2.0 + 0.01 * n for n in range(pairs)])
    assert found is not None and found["p_value"] == pytest.approx(least_p(pairs), abs=3e-4)


@pytest.mark.parametrize("a, b", [(3, 3), (3, 4), (20, 20)])
def test_the_least_p_value_of_two_runs_is_that_of_samples_without_overlap(a: int, b: int) -> None:
    found = unpaired([1 + 0.01 * n for n in range(a)], [3 + 0.01 * n for n in range(b)])
    assert found["p_value"] == pytest.approx(least_p_unpaired(a, b), abs=0.02)


def test_a_test_that_could_find_nothing_says_so_and_not_that_nothing_is_shown() -> None:
    document = sample_bench()
    assert "too few pairs" not in table(document) + verdict_of(document)
    for row in document["rows"]:
        row["samples"] = [s for s in row["samples"] if s["turn"] == 0][:5]  # As of `first_step`.
    compare_rows(document)
    # Of `predict` six pairs of backends on one track and three on the other: 9 * 2 / 2**5.
    entries = document["comparisons"]
    assert {e["least_p"] for e in entries if e["kind"] == "backends"} >= {9 / 16}
    assert not any(entry["differ"] for entry in entries)
    assert "no difference shown" not in table(document)
    assert table(document).count("too few pairs to tell") == len(entries)
    assert f"0 of {len(entries)} paired tests find a difference, {len(entries)} have too few" in (
        verdict_of(document)
    )
    said = [pair.finding for group in page_groups([document]) for pair in group.pairs]
    assert set(said) == {"too few pairs to tell"}


def test_the_gate_refuses_an_error_over_its_bound_and_one_that_is_no_number() -> None:
    assert verdict({"loss": 1e-7}, QUANTITIES["train"], "float32", "default", "torch")["passed"]
    refused = verdict({"loss": 4e-2}, QUANTITIES["train"], "float32", "default", "torch")
    assert not refused["passed"] and "loss is off by 0.04" in refused["reason"]
    assert not verdict({"loss": float("inf")}, QUANTITIES["train"], "float32", "default", "torch")[
        "passed"
    ]
    assert not verdict({"unheard of": 1e-9}, QUANTITIES["train"], "float32", "default", "torch")[
        "passed"
    ]


def test_only_a_framework_that_defines_variances_otherwise_may_have_others() -> None:
    found = {
        (backend, track): verdict(
            {"statistics": 4e-2}, QUANTITIES["train"], "float32", track, backend
        )["passed"]
        for backend in ("torch", "mxnet", "jax", "tf")
        for track in ("default", "chapter")
    }
    passed = {place for place, passed in found.items() if passed}
    assert passed == {(backend, "chapter") for backend in ("mxnet", "jax", "tf")}


def test_a_training_step_takes_34_gflop_an_example_at_the_chapters_crop() -> None:
    config = Config(make_recipe("chapter-torch", batch_size=1))
    assert step_costs("train", config)["flops"] == pytest.approx(34e9, rel=0.05)


def test_training_and_prediction_come_first_and_what_compiles_once_more_at_the_end() -> None:
    cases = ["first_step", "epoch", "load", "loss", "predict", "train"]
    given = {**SETTINGS, "cases": cases, "batch_sizes": [8, 1]}
    document = new_document({**given, "precisions": ["bfloat16", "float32"]})
    order = []
    for rows in groups(Results(Path(), document)):
        places = {(row["backend"], row["track"]) for row in rows}
        assert len(places) == len(rows) and (len(rows) == 8 or rows[0]["variant"] == "cached")
        order.append(tuple(rows[0][name] for name in ("case", "batch_size", "precision")))
    bf16, f32 = "bfloat16", "float32"
    expected = []
    for batch in (8, 1):
        expected += [(case, batch, bf16) for case in ("predict", "train", "load", "load", "loss")]
        expected += [(case, batch, f32) for case in ("predict", "train", "loss")]
    expected += [("epoch", batch, precision) for batch in (8, 1) for precision in (bf16, f32)]
    assert order[: len(expected)] == expected
    assert {case for case, _, _ in order[len(expected) :]} == {"first_step"} and len(order) == 28


def test_the_reference_keeps_its_memory_as_the_workers_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environments = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        environments.append(options["env"])
        return subprocess.CompletedProcess(command, 0, "outputs.npz\n", "")

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    config = Config(make_recipe("chapter-torch"))
    found = bench_members.reference_of("train", config, tmp_path / "inputs.npz", tmp_path)
    assert found == Path("outputs.npz")
    assert "mmap_threshold" in environments[0]["GLIBC_TUNABLES"]


def test_answers_in_a_type_that_numpy_has_not_are_one_workers_failure(tmp_path: Path) -> None:
    np.savez(tmp_path / "outputs.npz", logits=np.zeros(4, "V2"))
    np.savez(tmp_path / "expected.npz", logits=np.zeros(4, np.float32))
    row = {"backend": "jax", "track": "default", "precision": "bfloat16"}
    with pytest.raises(bench_members.WorkerFailed, match="^jax left logits in a type that NumPy"):
        bench_members.check(tmp_path / "outputs.npz", *[tmp_path / "expected.npz"] * 2, row)
