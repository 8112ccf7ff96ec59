"""The statistics of a benchmark, on a simulated clock."""

import numpy as np
import pytest

from benchmarks.records.statistics import (
    LEVEL,
    holm,
    interval,
    least_p,
    least_p_unpaired,
    paired,
    unpaired,
)


def clock(generator: np.random.Generator, slowdown: float) -> np.ndarray:
    """Return the seconds of ten turns: a drifting machine and 1 % of noise."""
    drift = np.linspace(1, 1.2, 10)
    return slowdown * drift * np.exp(generator.normal(0, 0.01, 10))


def shares_found(slowdown: float, trials: int = 400) -> float:
    """Return in what share of trials a difference is found as one of the six pairs of four."""
    generator = np.random.default_rng(0)
    tests = [paired(clock(generator, 1), clock(generator, slowdown)) for _ in range(trials)]
    return float(np.mean([test["p_value"] * 6 < LEVEL for test in tests if test]))


def test_a_against_a_finds_a_difference_no_more_often_than_the_level() -> None:
    generator = np.random.default_rng(0)
    tests = [paired(clock(generator, 1), clock(generator, 1)) for _ in range(400)]
    share = np.mean([test["p_value"] < LEVEL for test in tests if test])
    assert 0.02 < share < 0.08  # Its standard error is 0.011; never finding any would be no test.
    assert shares_found(1.0) < 0.02


def test_the_level_holds_where_disturbances_last_several_turns() -> None:
    """Four workers take their turns as in a benchmark, on a machine that is slow for a while."""
    generator = np.random.default_rng(0)
    tests = []
    for _ in range(300):
        seconds, disturbance = np.empty((4, 5, 2)), 0.0
        for number in range(5):
            order = generator.permutation(4)
            for turn, members in enumerate((order, order[::-1])):
                for member in members:
                    disturbance = 0.8 * disturbance + 0.6 * generator.normal()
                    log = 0.05 * disturbance + 0.01 * generator.normal()
                    seconds[member, number, turn] = np.exp(log)
        tests.append(paired(seconds[0].ravel(), seconds[1].ravel()))
    assert 0.01 < np.mean([test["p_value"] < LEVEL for test in tests if test]) < 0.09


def test_a_slowdown_of_five_per_cent_is_found_and_measured() -> None:
    assert shares_found(1.05) > 0.98
    generator = np.random.default_rng(0)
    test = paired(clock(generator, 1), clock(generator, 1.05))
    assert test is not None and test["low"] > 1.02 and test["high"] < 1.08
    changed = unpaired(clock(generator, 1), clock(generator, 1.5))
    assert changed["p_value"] < 0.01 and changed["low"] < 1.5 < changed["high"]


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [interval(generator.normal(1, 0.1, 20).tolist()) for _ in range(300)]
    assert 0.91 < np.mean([i["low"] <= 1 <= i["high"] for i in intervals]) < 0.98


def test_the_interval_of_five_rounds_covers_the_median_though_their_turns_share_noise() -> None:
    generator = np.random.default_rng(0)
    intervals = []
    for _ in range(400):
        shared, own = generator.normal(0, 0.01, (5, 1)), generator.normal(0, 0.01, (5, 2))
        intervals.append(interval((1 + shared + own).ravel().tolist()))
    assert 0.85 < np.mean([i["low"] <= 1 <= i["high"] for i in intervals]) < 0.95


@pytest.mark.parametrize("pairs", [6, 20])
def test_p_values_and_intervals_are_scipys(pairs: int, generator: np.random.Generator) -> None:
    from scipy import stats

    a, b = np.exp(generator.normal(0, 0.1, (2, pairs)))
    ours, logs = paired(a, b), np.log(b / a)
    theirs = stats.permutation_test((logs,), np.mean, permutation_type="samples", rng=0)
    assert ours is not None and ours["p_value"] == pytest.approx(theirs.pvalue, abs=0.02)
    expected = stats.bootstrap((logs,), np.median, method="percentile", rng=0).confidence_interval
    assert np.log([ours["low"], ours["high"]]) == pytest.approx(expected, abs=0.02)
    theirs = stats.permutation_test(
        (np.log(a), np.log(b)), lambda x, y: np.mean(x) - np.mean(y), vectorized=False, rng=0
    )
    assert unpaired(a, b)["p_value"] == pytest.approx(theirs.pvalue, abs=0.02)


def test_holm_corrects_by_rank() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize("pairs", [3, 5, 13, 14])
def test_the_least_p_value_is_that_of_samples_without_overlap(pairs: int) -> None:
    test = paired([1.0] * pairs, [2.0 + 0.01 * n for n in range(pairs)])
    assert test is not None and test["p_value"] == pytest.approx(least_p(pairs), abs=3e-4)


@pytest.mark.parametrize("a, b", [(3, 3), (3, 4), (20, 20)])
def test_the_least_p_value_of_two_runs_is_that_of_samples_without_overlap(a: int, b: int) -> None:
    test = unpaired([1 + 0.01 * n for n in range(a)], [3 + 0.01 * n for n in range(b)])
    assert test["p_value"] == pytest.approx(least_p_unpaired(a, b), abs=0.02)
