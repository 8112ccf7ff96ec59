"""A comparison's scores have a value for each class of its class list."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.results import read_document
from benchmarks.records.training_documents import Compared
from common.errors import InputError
from tests.support.report_sample import sample_compare, write_compare


def shorter_scores(compare: dict[str, Any]) -> None:
    compare["rows"][0]["scores"]["ignore"]["class_iou"].pop()


def shorter_scores_of_an_epoch(compare: dict[str, Any]) -> None:
    compare["rows"][1]["epochs"][-1]["scores"]["background"]["class_iou"].append(None)


def of_three_classes(compare: dict[str, Any]) -> None:
    own = {"names": ["a", "b", "c"], "colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2]]}
    compare["config"]["recipe"]["classes"] = own


def without_a_colour(compare: dict[str, Any]) -> None:
    compare["config"]["recipe"]["classes"]["colors"].pop()


def with_one_name_twice(compare: dict[str, Any]) -> None:
    compare["config"]["recipe"]["classes"]["names"][5] = "background"


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (shorter_scores, "rows/0: a class_iou has 20 values, expected 21; "),
        (shorter_scores_of_an_epoch, "rows/1: a class_iou has 22 values, expected 21; "),
        (of_three_classes, "rows/0: a class_iou has 21 values, expected 3; "),
        (without_a_colour, "config/recipe/classes: has 21 names and 20 colours: "),
        (with_one_name_twice, "config/recipe/classes: classes 0 and 5 have the same name, "),
    ],
)
def test_scores_that_do_not_fit_the_class_list_are_refused(
    forge: Callable[[dict[str, Any]], None],
    words: str,
    tmp_path: Path,
) -> None:
    compare = sample_compare(tmp_path)
    read_document(tmp_path, Compared)
    forge(compare)
    write_compare(tmp_path, compare)
    with pytest.raises(InputError) as error:
        read_document(tmp_path, Compared)
    assert str(error.value).startswith(f"{tmp_path}/compare.json: {words}")
