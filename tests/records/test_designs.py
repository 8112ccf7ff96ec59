"""A calibration tells a design that is right from one that is not, on a simulated clock."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.records.calibration import shares
from benchmarks.records.calibration.check import problems, unreadable
from benchmarks.records.calibration.designs import (
    DESIGNS,
    Comparisons,
    by_processes,
    by_turns,
    drawn_means,
)
from benchmarks.records.calibration.documents import PLAIN_ROWS
from benchmarks.records.calibration.shares import Outcome, outcomes, spread, usable, wilson
from benchmarks.records.statistics import LEVEL, interval
from tests.support.bench_sample import sample_calibration

PROCESSES, TURNS = 0.005, 0.01


@pytest.fixture(scope="module")
def calibration() -> Any:
    """A calibration in which processes differ by half of what turns do."""
    return sample_calibration(240, PROCESSES, TURNS)


def logs_of(document: Any) -> NDArray:
    """Return the log seconds of every group, row and turn."""
    return np.log([[row["seconds"] for row in group["rows"]] for group in document["groups"]])


def outcome(document: Any, name: str, size: int, *slowdowns: float) -> Outcome:
    """Return the outcome of one design."""
    (design,) = (design for design in DESIGNS if design.name == name)
    logs, planted = logs_of(document), [0.01, 0.02, 0.05, 0.1]
    places = {0.0: None, **{s: PLAIN_ROWS + planted.index(s) for s in slowdowns}}
    pairs = {s: shares.shares(logs, design, size, s, place) for s, place in places.items()}
    differ, covered = ({s: pair[part] for s, pair in pairs.items()} for part in (0, 1))
    return Outcome(design, size, document["settings"]["rounds"], 1.0, differ, covered)


def test_turns_of_one_process_bring_false_alarms_and_several_processes_do_not(
    calibration: Any,
) -> None:
    naive, pooled = outcome(calibration, "turns", 1), outcome(calibration, "processes", 2, 0.1)
    assert naive.false_alarms.low > 2 * LEVEL and naive.covered[0.0].high < 0.9
    assert naive.standing == "missed"
    assert pooled.standing == "held"
    assert pooled.false_alarms.low < LEVEL < pooled.false_alarms.high
    assert pooled.differ[0.1].value > 0.7 and pooled.covered[0.1].value > 0.94


def test_where_processes_do_not_differ_their_turns_are_enough() -> None:
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
    a = np.random.default_rng(0).normal(0, 0.001, (1, 3, 10))
    b = a[..., ::-1] + np.array([0.02, 0.002, 0.011])[:, None]
    compared = Comparisons(a, b)
    naive, pooled = by_turns(compared), by_processes(compared)
    assert naive.differ[0] and not pooled.differ[0]
    assert pooled.low[0] < 0 < naive.low[0] < naive.high[0] < pooled.high[0]


def test_wilsons_interval_is_scipys() -> None:
    interval = stats.binomtest(3, 60).proportion_ci(method="wilson")
    assert wilson(3 / 60, 60)[1:3] == pytest.approx((interval.low, interval.high))
    assert wilson(0.0, 10)[:2] == (0.0, 0.0) and wilson(1.0, 10)[2] == 1.0


@pytest.mark.parametrize(
    ("value", "count", "standing"),
    [(0.05, 20000, "held"), (0.05, 200, "open"), (0.12, 200, "missed"), (0.0, 2000, "missed")],
)
def test_a_share_stands_by_its_interval(value: float, count: int, standing: str) -> None:
    assert wilson(value, count).standing(LEVEL) == standing


@pytest.mark.parametrize(("name", "size"), [("processes", size) for size in (2, 3, 5)])
def test_the_interval_of_a_share_is_no_narrower_than_it_may_be(name: str, size: int) -> None:
    (design,) = (design for design in DESIGNS if design.name == name)
    generator, drawn = np.random.default_rng(0), []
    for _ in range(40):
        processes = generator.normal(0, PROCESSES, (30, 8, 1))
        logs = processes + generator.normal(0, TURNS, (30, 8, 10))
        drawn.append(shares.shares(logs, design._replace(draws=2000), size, 0.0, None)[0])
    assert sum(share.low <= LEVEL <= share.high for share in drawn) >= 36
    deviation = np.std([share.value for share in drawn])
    assert np.mean([share.high - share.low for share in drawn]) > 2 * 1.7 * deviation


def test_all_pairs_of_rows_are_compared_where_a_row_has_one_process() -> None:
    plain = shares.choice_beside(2, 1, None, draws=9)
    assert (len(plain.a), plain.independent) == (2 * 6, 4)
    assert np.array_equal(plain.first, plain.second) and (plain.a < plain.b).all()
    slowed = shares.choice_beside(2, 1, 5, draws=9)
    assert (len(slowed.a), slowed.independent) == (2 * 4, 2)
    assert set(slowed.b.ravel()) == {5} and set(slowed.a.ravel()) == {0, 1, 2, 3}


def test_drawn_comparisons_take_each_group_once_and_the_same_rows_of_all() -> None:
    choice = shares.choice_beside(6, 5, None, draws=400)
    assert all(len(set(groups)) == 5 for groups in choice.first.tolist())
    assert (choice.a < choice.b).all() and len(set(choice.a[:, 0])) == 3
    assert (choice.a == choice.a[:, :1]).all() and (choice.b == choice.b[:, :1]).all()
    slowed = shares.choice_beside(6, 5, 7, draws=400)
    assert (slowed.b == 7).all() and set(slowed.a.ravel()) == {0, 1, 2, 3}


def test_groups_apart_are_half_of_the_calibration_apart() -> None:
    choice = shares.choice_apart(9, 2, None, draws=9)
    assert choice.first[::4].tolist() == [[0, 1], [2, 3]]
    assert choice.second[::4].tolist() == [[4, 5], [6, 7]]
    assert (len(choice.a), choice.independent) == (8, 2)
    assert choice.a.tolist() == choice.b.tolist() == [[row, row] for row in (0, 1, 2, 3)] * 2


def test_ranks_that_are_drawn_once_give_the_medians_of_drawn_turns() -> None:
    logs = np.random.default_rng(0).normal(0, TURNS, (1, 1, 10))
    resampled = np.exp(drawn_means(logs, seed=3))
    expected = interval(np.exp(logs.ravel()).tolist())
    assert np.percentile(resampled, [2.5, 97.5]) == pytest.approx(
        [expected["low"], expected["high"]], abs=1e-3
    )
    assert len(np.unique(resampled)) > 20


def test_a_group_that_was_disturbed_is_in_no_comparison() -> None:
    document = sample_calibration(2, 0.0, TURNS)
    first, second = document["groups"]
    second["rows"][5]["reason"] = "other processes took 12 % of the CPUs"
    assert usable(document) == [first]
    assert {(result.size, result.false_alarms.comparisons) for result in outcomes(document)} == {
        (1, 2)
    }
    first["rows"][0]["reason"] = "torch ended (1)"
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
    "settings/rounds: 0, expected 1 at least": lambda d: d["settings"].update(rounds=0),
    "settings/backends: has 2 values, expected 1": lambda d: d["settings"]["backends"].append(
        "jax"
    ),
    "slowdowns: [0.05, 0.05": lambda d: d.update(slowdowns=[0.05, 0.05, 0.02, 0.1]),
    "slowdowns: [0.0, 0.05": lambda d: d.update(slowdowns=[0.0, 0.05, 0.02, 0.1]),
    "budget: has neither": lambda d: d.update(budget={"minutes": None, "comparisons": None}),
    "groups/0/rows: one has a step of 1e-12 s": lambda d: row(d)["seconds"].__setitem__(0, 1e-12),
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
