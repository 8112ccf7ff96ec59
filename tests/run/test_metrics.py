"""Scores against literal values worked out by hand."""

import json

import numpy as np
import pytest

from common.machine.files import read_json
from common.run.metrics import confusion_matrix, empty_confusion, evaluation_record, scores
from common.run.runs import describe_scores

LABELS = np.array([[0, 0, 0, 0, 1, 1, 2, 255, 255, 255]], np.uint8)
PREDICTIONS = np.array([[0, 0, 0, 1, 1, 0, 2, 0, 1, 5]], np.uint8)


def test_counts_void_in_a_row_of_its_own() -> None:
    confusion = confusion_matrix(PREDICTIONS, LABELS, 21)
    expected = empty_confusion(21)
    expected[0, 0], expected[0, 1] = 3, 1
    expected[1, 0], expected[1, 1] = 1, 1
    expected[2, 2] = 1
    expected[21, 0] = expected[21, 1] = expected[21, 5] = 1
    np.testing.assert_array_equal(confusion, expected)


def test_scores_with_void_ignored() -> None:
    result = scores(confusion_matrix(PREDICTIONS, LABELS, 21), "ignore")
    assert result["pixel_accuracy"] == pytest.approx(5 / 7)
    assert result["mean_class_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert result["class_iou"][:4] == pytest.approx([3 / 5, 1 / 3, 1.0, None])
    assert result["mean_iou"] == pytest.approx((3 / 5 + 1 / 3 + 1) / 3)
    assert result["frequency_weighted_iou"] == pytest.approx((4 * 3 / 5 + 2 / 3 + 1) / 7)
    assert result["classes_present"] == 3
    assert result["background_pixel_accuracy"] == pytest.approx(4 / 7)
    assert result["background_mean_iou"] == pytest.approx(4 / 7 / 3)


def test_scores_with_void_as_background() -> None:
    result = scores(confusion_matrix(PREDICTIONS, LABELS, 21), "background")
    assert result["pixel_accuracy"] == pytest.approx(6 / 10)
    assert result["class_iou"][0] == pytest.approx(4 / 8)
    assert result["background_pixel_accuracy"] == pytest.approx(7 / 10)
    # A class that is only predicted, never true, takes its pixels from others and has no own score.
    assert result["class_iou"][5] is None


def test_background_scores_are_those_of_the_constant_predictor(
    generator: np.random.Generator,
) -> None:
    labels = generator.integers(0, 21, (3, 40, 50), dtype=np.uint8)
    labels[generator.random(labels.shape) < 0.2] = 255
    for void in ("background", "ignore"):
        constant = scores(confusion_matrix(np.zeros_like(labels), labels, 21), void)
        other = scores(confusion_matrix(np.full_like(labels, 3), labels, 21), void)
        assert constant["pixel_accuracy"] == pytest.approx(other["background_pixel_accuracy"])
        assert constant["mean_iou"] == pytest.approx(other["background_mean_iou"])


def test_a_score_over_nothing_is_none() -> None:
    void = np.full((2, 8), 255, np.uint8)
    for confusion in (confusion_matrix(np.zeros_like(void), void, 21), empty_confusion(21)):
        nothing = scores(confusion, "ignore")
        assert nothing["class_iou"] == [None] * 21
        assert nothing["classes_present"] == 0
        others = {key: nothing[key] for key in nothing if key.endswith(("accuracy", "iou"))}
        assert all(value is None for key, value in others.items() if key != "class_iou")
    counted = scores(confusion_matrix(np.zeros_like(void), void, 21), "background")
    assert (counted["pixel_accuracy"], counted["classes_present"]) == (1.0, 1)


def test_an_evaluation_of_void_alone_is_a_line_and_strict_json() -> None:
    void = np.full((2, 8), 255, np.uint8)
    record = evaluation_record(confusion_matrix(np.zeros_like(void), void, 21), [])
    assert read_json(json.dumps(record, allow_nan=False))["scores"]["ignore"]["mean_iou"] is None
    assert describe_scores(record, "ignore").startswith("no score")
    assert describe_scores(record, "background").startswith("pixel accuracy 1.0000")
