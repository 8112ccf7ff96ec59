"""The statistics of a benchmark, on a simulated clock."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.records.calibration.designs import Comparisons, by_processes, by_processes_apart
from benchmarks.records.statistics import (
    LEVEL,
    ONE_PROCESS,
    ComparedRatio,
    Place,
    apart,
    holm,
    interval,
    interval_of_row,
    judge,
    paired,
    side_by_side,
    student_bound,
    student_p,
)

Clock = Callable[[float], Mapping[Place, float]]


def seconds_of(logs: NDArray) -> dict[Place, float]:
    """Return log seconds [processes, turns], two turns a round, as a row's samples."""
    processes, turns = logs.shape
    places = [(number, turn // 2, turn % 2) for number in range(processes) for turn in range(turns)]
    return dict(zip(places, np.exp(logs).ravel().tolist(), strict=True))


@pytest.fixture
def clock(generator: np.random.Generator) -> Clock:
    """A clock of five processes that differ by 1 %, as their turns do, on a drifting machine."""

    def measure(slowdown: float, processes: int = 5) -> Mapping[Place, float]:
        drift = np.linspace(0, 0.2, processes * 6).reshape(processes, 6)
        own = generator.normal(0, 0.01, (processes, 1)) + generator.normal(0, 0.01, (processes, 6))
        return seconds_of(np.log(slowdown) + drift + own)

    return measure


def compared(clock: Clock, slowdown: float, trials: int = 400) -> list[ComparedRatio]:
    """Return tests of two rows, one of which is slower."""
    tests = [side_by_side(clock(1.0), clock(slowdown)) for _ in range(trials)]
    return [test for test in tests if test]


def p_of(test: ComparedRatio) -> float:
    """Return the p-value of a test that has one."""
    assert test["p_value"] is not None
    return test["p_value"]


def test_a_against_a_finds_a_difference_as_often_as_the_level_says(clock: Clock) -> None:
    tests = compared(clock, 1.0)
    share = np.mean([p_of(test) < LEVEL for test in tests])
    assert 0.02 < share < 0.08  # Its standard error is 0.011; never finding any would be no test.
    assert share == np.mean([not test["low"] <= 1 <= test["high"] for test in tests])


def test_a_slowdown_of_five_per_cent_is_found_and_measured(clock: Clock) -> None:
    tests = compared(clock, 1.05)
    assert np.mean([p_of(test) < LEVEL for test in tests]) > 0.95
    assert 0.92 < np.mean([test["low"] <= 1.05 <= test["high"] for test in tests]) < 0.98
    changed = apart(clock(1.0), clock(1.5))
    assert p_of(changed) < 0.01 and changed["low"] < 1.5 < changed["high"]


def test_what_all_turns_of_a_process_share_is_no_difference() -> None:
    """By its turns one process of b is 3 % slower, and the next as much faster."""
    turns = np.linspace(-0.001, 0.001, 6)
    a = seconds_of(np.tile(turns, (4, 1)))
    b = seconds_of(turns + np.array([[0.03], [-0.03], [0.03], [-0.02]]))
    test = side_by_side(a, b)
    assert test is not None and test["pairs"] == 4
    assert p_of(test) > 0.5 and test["low"] < 0.98 < 1.02 < test["high"]


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 8, 9, 40])
def test_students_distribution_is_scipys(degrees: int) -> None:
    assert student_bound(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)
    for t in (0.0, 0.3, -1.0, 2.5, 40.0):
        expected = 2 * stats.t.sf(abs(t), degrees)
        assert student_p(t, degrees) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_tests_and_intervals_are_scipys(generator: np.random.Generator) -> None:
    logs = generator.normal(0, 0.1, (2, 4, 6))
    a, b = map(seconds_of, logs)
    ours, medians = side_by_side(a, b), np.median(logs[1] - logs[0], axis=1)
    theirs = stats.ttest_1samp(medians, 0)
    assert ours is not None and p_of(ours) == pytest.approx(theirs.pvalue)
    bounds = theirs.confidence_interval()
    assert np.log([ours["low"], ours["high"]]) == pytest.approx([bounds.low, bounds.high])
    ours, medians = apart(a, b), np.median(logs, axis=2)
    theirs = stats.ttest_ind(medians[1], medians[0])
    assert p_of(ours) == pytest.approx(theirs.pvalue)
    bounds = theirs.confidence_interval()
    assert np.log([ours["low"], ours["high"]]) == pytest.approx([bounds.low, bounds.high])


def test_a_calibration_tries_the_tests_of_a_benchmark(generator: np.random.Generator) -> None:
    logs = generator.normal(0, 0.1, (2, 3, 5, 6))
    for decide, test in ((by_processes, side_by_side), (by_processes_apart, apart)):
        tried = decide(Comparisons(*logs))
        for number, (a, b) in enumerate(zip(*logs, strict=True)):
            ours = test(seconds_of(a), seconds_of(b))
            assert ours is not None
            bounds = np.exp([tried.low[number], tried.high[number]])
            assert bounds == pytest.approx([ours["low"], ours["high"]])
            assert tried.differ[number] == (p_of(ours) < LEVEL)


def test_rows_that_differ_alike_in_every_process_differ_for_sure() -> None:
    a, b = (seconds_of(np.full((3, 2), value)) for value in (0.0, 0.5))
    sure, none = side_by_side(a, b), side_by_side(a, a)
    assert sure is not None and none is not None
    assert (p_of(sure), p_of(none)) == (0.0, 1.0)
    assert sure["low"] == sure["high"] == pytest.approx(np.exp(0.5))


def test_one_process_has_a_ratio_and_no_verdict(clock: Clock) -> None:
    one, other = clock(1.0, 1), clock(2.0, 1)
    for test in (side_by_side(one, other), apart(one, other)):
        assert test is not None and test["p_value"] is None
        assert 1.7 < test["low"] <= test["ratio"] <= test["high"] < 2.3
    assert side_by_side(one, {place: other[place] for place in list(other)[:2]}) is None
    judged = judge([None, 0.04, None, 0.03])
    assert [entry["p_corrected"] for entry in judged] == [None, 0.06, None, 0.06]
    assert [entry.get("not_judged") for entry in judged] == [ONE_PROCESS, None, ONE_PROCESS, None]
    assert not any(entry["differ"] for entry in judged)


def test_a_process_of_one_row_alone_is_in_no_pair(clock: Clock) -> None:
    a, b = clock(1.0), clock(1.0)
    three = {place: value for place, value in b.items() if place[0] < 3}
    test = side_by_side(a, three)
    assert test is not None and test["pairs"] == 3
    uneven = apart(a, three)
    logs = [
        np.array([np.median(each) for each in np.split(np.log([*r.values()]), n)])
        for r, n in ((a, 5), (three, 3))
    ]
    assert p_of(uneven) == pytest.approx(stats.ttest_ind(*logs).pvalue)


def test_the_interval_of_a_row_holds_the_time_of_further_processes(clock: Clock) -> None:
    rows = [interval_of_row(seconds_of(logs)) for logs in simulated(300, processes=5)]
    assert 0.92 < np.mean([row["low"] <= 1 <= row["high"] for row in rows]) < 0.98
    one = [interval_of_row(seconds_of(logs)) for logs in simulated(300, processes=1)]
    assert np.mean([row["low"] <= 1 <= row["high"] for row in one]) < 0.7


def simulated(rows: int, processes: int) -> NDArray:
    """Return the logs of rows whose true time is 1 s: processes differ by 2 %, turns by 1 %."""
    generator = np.random.default_rng(0)
    shared = generator.normal(0, 0.02, (rows, processes, 1))
    return shared + generator.normal(0, 0.01, (rows, processes, 6))


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [interval(generator.normal(1, 0.1, 20).tolist()) for _ in range(300)]
    assert 0.91 < np.mean([i["low"] <= 1 <= i["high"] for i in intervals]) < 0.98


def test_the_bootstrap_is_scipys(generator: np.random.Generator) -> None:
    a, b = np.exp(generator.normal(0, 0.1, (2, 20)))
    ours, logs = paired(dict(enumerate(a)), dict(enumerate(b))), np.log(b / a)
    expected = stats.bootstrap((logs,), np.median, method="percentile", rng=0).confidence_interval
    assert ours is not None
    assert np.log([ours["low"], ours["high"]]) == pytest.approx(expected, abs=0.02)


def test_holm_corrects_by_rank() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []
