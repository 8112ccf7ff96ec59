"""The tests of a study: paired by seed, corrected for their number, and checked in a stored one."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.records.check import problems_of_study
from benchmarks.records.equivalence import effect, effects, equivalence, interval_of_mean
from tests.support.report_sample import sample_study, variant

NAMES = ["a", "b"]


def test_an_effect_is_scipys_paired_t_test_and_its_interval() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.random(6), generator.random(6)
    result = stats.ttest_rel(b, a)
    interval = result.confidence_interval(0.95)
    test = effect(NAMES, "torch", (b - a).tolist(), "mean_iou")
    assert test["p"] == pytest.approx(result.pvalue, rel=1e-9)
    assert (test["low"], test["high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert test["mean"] == pytest.approx(float((b - a).mean()))
    low, high = interval_of_mean(a.tolist())
    assert (low, high) == pytest.approx(stats.ttest_1samp(a, 0).confidence_interval(0.95))


@pytest.mark.parametrize("value", [0.0, 0.02])
def test_differences_without_a_spread_show_nothing_but_equality(value: float) -> None:
    test = effect(NAMES, None, [value] * 3, "mean_iou")
    assert (test["p"], test["low"], test["high"], test["differ"]) == (1.0, value, value, False)
    for difference in (value / 2, value, 2 * value):  # Within and beyond the margin.
        equal = equivalence(NAMES, "mean_iou", [difference] * 3)
        assert (equal["p"], equal["equivalent"]) == ((0.0, True) if value == 0 else (1.0, False))


def scores(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_p_values_are_corrected_by_holm_over_the_tests_of_a_score() -> None:
    shifts = {"torch": (0.031, 0.028, 0.034), "jax": (0.01, 0.02, 0.009), "tf": (0.0, 0.01, -0.01)}
    base = (0.3, 0.32, 0.29)
    a = variant("a", "1", {name: scores(*base) for name in shifts})
    b = variant(
        "b",
        "2",
        {name: scores(*np.add(base, shift).tolist()) for name, shift in shifts.items()},
    )
    tests = [test for test in effects([a, b], "ignore") if test["score"] == "mean_iou"]
    assert [test["backend"] for test in tests] == ["torch", "jax", "tf", None]
    p = sorted(stats.ttest_1samp(shift, 0).pvalue for shift in shifts.values())
    expected = np.maximum.accumulate(np.array(p) * (3, 2, 1)).clip(max=1)
    assert sorted(t["p_corrected"] for t in tests[:3]) == pytest.approx(expected.tolist())
    assert [test["differ"] for test in tests[:3]] == [True, False, False]
    means = np.mean([*shifts.values()], axis=0)
    assert tests[3]["differences"] == pytest.approx(means.tolist())
    assert tests[3]["p_corrected"] == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_only_variants_that_differ_in_one_field_are_tested_and_only_whole_rows() -> None:
    grid = [
        {**variant(name, "", {"torch": scores(0.1, 0.2)}), "changes": {"x": name[0], "y": name[1]}}
        for name in ("11", "12", "21", "22")
    ]
    tested = {tuple(test["variants"]) for test in effects(grid, "ignore")}
    assert tested == {("11", "12"), ("11", "21"), ("12", "22"), ("21", "22")}
    grid[1]["rows"][0]["status"] = "failed"
    tested = {tuple(test["variants"]) for test in effects(grid, "ignore")}
    assert tested == {("11", "21"), ("21", "22")}
    one = [variant(name, name, {"torch": scores(0.1)}) for name in "ab"]
    assert effects(one, "ignore") == []


def better_run(study: dict[str, Any]) -> None:
    study["variants"][0]["rows"][0]["runs"][0]["scores"]["ignore"]["mean_iou"] += 0.01


def other_effect(study: dict[str, Any]) -> None:
    study["effects"][0]["differ"] = not study["effects"][0]["differ"]


def without_proof(study: dict[str, Any]) -> None:
    study["variants"][1]["rows"][0]["runs"][0]["agreement"] = 1.5


def without_a_seed(study: dict[str, Any]) -> None:
    del study["variants"][1]["rows"][1]["runs"][0]


def not_the_grid(study: dict[str, Any]) -> None:
    study["varied"]["upsample_init"].append("bilinear-frozen")


@pytest.mark.parametrize(
    ("forges", "words"),
    [
        (better_run, "bilinear of torch, seed 0: its scores are not those of its last epoch"),
        (other_effect, "its runs do not give its effects/0/differ"),
        (without_proof, "xavier of torch, seed 0: has scores without proof of equal work"),
        (without_a_seed, "xavier of jax: has 2 of 3 seeds"),
        (not_the_grid, "its variants are not the grid of what it varied"),
    ],
)
def test_a_study_that_contradicts_itself_is_told(
    forges: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    study = sample_study(tmp_path)
    assert list(problems_of_study(study)) == []
    forged = copy.deepcopy(study)
    forges(forged)
    assert words in list(problems_of_study(forged))
