"""Errors, bounds and the words of a verdict, as every proof of equal work uses them."""

import math

import numpy as np
import pytest

from benchmarks.cases import CASES
from common.reference.distances import length_error, preference, relative_error, step_errors
from common.reference.tolerances import BOUNDS, CHAPTER, row_limits, trace_limits
from common.reference.verdicts import (
    Finding,
    breaches,
    proof_findings,
    reason,
    row_findings,
    step_findings,
    worst,
)

ONE = np.ones(4, np.float32)


@pytest.mark.parametrize(
    "actual, expected, floor, error",
    [
        (ONE * 1.5, ONE, 0, 0.5),
        (3.0, -2.0, 0, 2.5),
        (ONE * 0, ONE * 0, 0, 0),
        (ONE, ONE * 0, 0, math.inf),
        (ONE, ONE * 0, 8, 0.25),
        (ONE[:1], ONE, 0, math.inf),
        (ONE * np.nan, ONE, 0, math.inf),
        (ONE * np.inf, ONE, 0, math.inf),
    ],
)
def test_an_error_is_relative_and_infinite_where_nothing_can_be_compared(
    actual: object, expected: object, floor: float, error: float
) -> None:
    assert relative_error(actual, expected, floor) == pytest.approx(error)


def test_losses_are_compared_by_step_where_both_have_one() -> None:
    assert step_errors([2.0, None, 0.5], [1.0, 1.0, 0.0, 9.0]) == [1.0, math.inf, 0.5]


def test_only_the_length_along_the_expected_move_counts() -> None:
    along, across = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    errors = [length_error(move, along) for move in (along + across, 0 * along, 3 * along)]
    assert errors == [0, 1, 2]


def test_a_class_is_as_wrong_as_the_logits_are_against_it() -> None:
    logits = np.array([[[0.0, 2.0], [4.0, 4.0]]])
    assert preference(np.array([[1, 0]]), logits) == preference(np.array([[1, 1]]), logits) == 0
    assert preference(np.array([[0, 0]]), logits) == pytest.approx(2 / logits.std())
    assert preference(np.array([[1]]), logits) == preference(np.array([[2, 0]]), logits) == math.inf


def test_a_step_is_allowed_ten_times_the_largest_drift_up_to_it() -> None:
    assert trace_limits("trace", "float32", [0, 2e-6, 1e-6]) == pytest.approx([1e-5, 2e-5, 2e-5])


def test_the_reason_names_three_breaches_and_counts_the_others() -> None:
    found = [Finding("loss", f"update {n}", 2e-5, 1e-5) for n in range(5)]
    assert reason([*found, Finding("logits", "", 0.0, 0.0)]) == (
        "not equal work: loss, update 0 is off by 2e-05, allowed 1e-05; loss, update 1 is off by "
        "2e-05, allowed 1e-05; loss, update 2 is off by 2e-05, allowed 1e-05; and 2 more"
    )
    assert reason(row_findings({"y": None}, {"y": 1.0})) == "not equal work: y cannot be compared"
    assert reason(row_findings({"y": 1.0}, {"y": 1.0})) is None
    assert reason(row_findings({"unknown": 1e-9}, {})) == (
        "not equal work: unknown is off by 1e-09, allowed 0"
    )


def test_what_is_worst_takes_up_most_of_its_bound() -> None:
    errors = {"logits": {"evaluation": 9e-6}, "layer, training": {"a": 1e-4, "b": None}}
    findings = proof_findings(errors, "float32")
    assert [finding.name for finding in findings] == ["a", "b", "evaluation"]
    assert worst(findings).name == "b" and [one.name for one in breaches(findings)] == ["b"]
    steps = step_findings("loss", [1e-3, 1.0, 5e-3], [1e-2, None, 1e-2])
    assert worst(steps) == Finding("loss", "step 2", 5e-3, 1e-2)


def test_every_bound_has_all_precisions_and_a_reason() -> None:
    for bounds in BOUNDS.values():
        assert list(bounds) == ["float64", "float32", "tf32", "bfloat16"]
        assert all(bound.reason for bound in bounds.values())


def test_the_chapters_own_definitions_are_allowed_in_its_track_alone() -> None:
    bounds = CASES["train"].bounds
    ours = row_limits(bounds, "float32", "default", "jax")
    assert row_limits(bounds, "float32", "chapter", "torch") == ours
    chapters = row_limits(bounds, "float32", "chapter", "jax")
    assert {name for name in ours if ours[name] != chapters[name]} == set(CHAPTER["jax"])
