"""A calibration tells a design that is right from one that is not, on a simulated clock."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.records.calibration import shares
from benchmarks.records.calibration.check import problems, unreadable
from benchmarks.records.calibration.designs import DESIGNS, T_BOUNDS, by_processes, by_turns
from benchmarks.records.calibration.shares import Outcome, outcomes, spread, usable, wilson
from benchmarks.records.statistics import LEVEL
from tests.support.bench_sample import sample_calibration

PROCESSES, TURNS = 0.005, 0.01


@pytest.fixture(scope="module")
def calibration() -> Any:
    """A calibration in which processes differ by half of what turns do."""
    return sample_calibration(240, PROCESSES, TURNS)


def outcome(document: Any, name: str, size: int, *slowdowns: float) -> Outcome:
    """Return the outcome of one design."""
    (design,) = (design for design in DESIGNS if design.name == name)
    pairs = {s: shares.shares(usable(document), design, size, s) for s in (0.0, *slowdowns)}
    differ, covered = ({s: pair[place] for s, pair in pairs.items()} for place in (0, 1))
    return Outcome(design, size, 1.0, differ, covered)


def test_turns_of_one_process_bring_false_alarms_and_several_processes_do_not(
    calibration: Any,
) -> None:
    naive, pooled = outcome(calibration, "turns", 1), outcome(calibration, "processes", 3, 0.05)
    assert naive.false_alarms.low > 2 * LEVEL and naive.covered[0.0].high < 0.9
    assert naive.standing == "missed"
    assert pooled.false_alarms.low < LEVEL < pooled.false_alarms.high
    assert pooled.covered[0.0].low < 0.95 < pooled.covered[0.0].high
    assert pooled.differ[0.05].value > 0.9 and pooled.covered[0.05].high > 0.95


def test_where_processes_do_not_differ_the_test_of_a_benchmark_is_at_its_level() -> None:
    naive = outcome(sample_calibration(240, 0.0, TURNS), "turns", 1, 0.01, 0.05)
    assert naive.false_alarms.low < LEVEL < naive.false_alarms.high
    assert naive.differ[0.05].value > 0.95 > naive.differ[0.01].value > naive.false_alarms.value


def test_a_machine_that_drifts_makes_comparisons_apart_in_time_wrong() -> None:
    drifting = sample_calibration(120, PROCESSES, TURNS, drift=0.005)
    beside, apart = (outcome(drifting, name, 3) for name in ("processes", "processes, apart"))
    assert beside.false_alarms.low < LEVEL < apart.false_alarms.low
    assert apart.false_alarms.comparisons == 20  # Of 60 groups of each time.


def test_the_spread_of_processes_and_of_turns_is_what_was_simulated(calibration: Any) -> None:
    variation = spread(calibration)
    assert variation is not None
    assert variation.turns == pytest.approx(TURNS, rel=0.05)
    assert variation.processes == pytest.approx(PROCESSES, rel=0.15)
    # Turns that follow a walk of their own in each group are not as noisy as they are long.
    assert variation.apart > variation.processes
    assert spread(sample_calibration(1, 0.0, TURNS)) is None


def test_a_test_of_turns_that_knows_nothing_of_processes_is_surer_than_it_may_be() -> None:
    generator = np.random.default_rng(0)
    pairs = [
        tuple(np.exp(generator.normal(0, 0.001, 10) + own) for own in (0.0, shift))
        for shift in (0.02, 0.002, 0.011)
    ]
    naive, pooled = by_turns(pairs), by_processes(pairs)
    assert naive.differ and not pooled.differ
    assert pooled.low < 1 < naive.low < naive.high < pooled.high


def test_students_bounds_are_those_of_scipy_and_wilsons_interval_is_statsmodels() -> None:
    assert [stats.t.ppf(0.975, df) for df in T_BOUNDS] == pytest.approx(list(T_BOUNDS.values()))
    interval = stats.binomtest(3, 60).proportion_ci(method="wilson")
    assert wilson(3 / 60, 60)[1:3] == pytest.approx((interval.low, interval.high))
    assert wilson(0.0, 10)[:2] == (0.0, 0.0) and wilson(1.0, 10)[2] == 1.0


@pytest.mark.parametrize(
    ("value", "count", "standing"),
    [(0.05, 20000, "held"), (0.05, 200, "open"), (0.12, 200, "missed"), (0.0, 2000, "missed")],
)
def test_a_share_stands_by_its_interval(value: float, count: int, standing: str) -> None:
    assert wilson(value, count).standing(LEVEL) == standing


def test_comparisons_side_by_side_share_no_process() -> None:
    rows = sample_calibration(1, 0.0, TURNS)["groups"][0]
    pairs = list(shares.places(rows, 0.0, apart=False))
    assert sorted(sum(pairs, ())) == [0, 1, 2, 3]
    slowed = [pair for s in (0.01, 0.02, 0.05, 0.1) for pair in shares.places(rows, s, False)]
    assert slowed == [(0, 4), (1, 5), (2, 6), (3, 7)]


def test_groups_apart_are_half_of_the_calibration_apart() -> None:
    groups: Any = list(range(9))
    assert shares.blocks_of(groups, 2, apart=True) == [([0, 1], [4, 5]), ([2, 3], [6, 7])]
    assert shares.blocks_of(groups[:4], 3, apart=False) == [([0, 1, 2], [0, 1, 2])]
    assert shares.blocks_of(groups[:1], 1, apart=True) == []


def test_a_group_that_was_disturbed_is_in_no_comparison() -> None:
    document = sample_calibration(8, 0.0, TURNS)
    whole = outcomes(document)
    document["groups"][3]["rows"][5]["reason"] = "other processes took 12 % of the CPUs"
    first = outcomes(document)[0]
    assert (whole[0].false_alarms.comparisons, first.false_alarms.comparisons) == (16, 14)
    for group in document["groups"]:
        group["rows"][0]["reason"] = "torch ended (1)"
    assert outcomes(document) == []


CONTRADICTIONS = {
    "is judged although others took 30% of the CPUs": lambda d: row(d).update(other_cpu_share=0.3),
    "began before group 1 had ended": lambda d: d["groups"][0].update(minutes=5.0),
    "its groups have no process": lambda d: d.update(process=None),
}
UNREADABLE = {
    "groups/0/rows: one has 9 turns, expected 10": lambda d: row(d)["seconds"].pop(),
    "groups/0/rows: are not 4 plain ones": lambda d: row(d).update(slowdown=0.5),
    "groups/0/started: 'noon' is not a time": lambda d: d["groups"][0].update(started="noon"),
    "settings/rounds: 2, expected 3 at least": lambda d: d["settings"].update(rounds=2),
}


def row(document: Any) -> Any:
    return document["groups"][0]["rows"][0]


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_a_contradiction_is_said(words: str) -> None:
    document = sample_calibration(2, 0.0, TURNS)
    assert list(problems(document)) == [] == list(unreadable(document))
    CONTRADICTIONS[words](document)
    assert [line for line in problems(document) if words in line]


@pytest.mark.parametrize("words", UNREADABLE)
def test_what_cannot_be_computed_is_refused(words: str) -> None:
    document = sample_calibration(2, 0.0, TURNS)
    UNREADABLE[words](document)
    assert next(unreadable(document)).startswith(words)
