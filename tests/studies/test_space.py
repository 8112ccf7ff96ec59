"""What `--search` means, and what it refuses."""

import re
from dataclasses import fields

import pytest

from benchmarks.studies.space import NOT_SEARCHED, TYPES, default_space, read_space, searched
from common.errors import InputError
from common.recipes import Recipe, make_recipe

MODERN = make_recipe("modern")


def test_a_field_has_a_range_a_list_or_its_default_values() -> None:
    space = read_space(
        ["learning_rate=0.001:0.1", "batch-size=4,8", "momentum=0.5:0.9", "flip", "schedule"],
        MODERN,
    )
    assert {name: searched(values) for name, values in space.items()} == {
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "batch_size": {"choices": [4, 8]},
        "momentum": {"low": 0.5, "high": 0.9, "log": False},
        "flip": {"choices": [False, True]},
        "schedule": {"choices": ["constant", "polynomial"]},
    }


@pytest.mark.parametrize("recipe", ["chapter-torch", "chapter-mxnet", "modern", "generated"])
def test_the_default_space_lies_around_the_recipe(recipe) -> None:
    values = make_recipe(recipe)
    for name, distribution in default_space(values).items():
        described, own = searched(distribution), getattr(values, name)
        if "choices" in described:
            assert own in described["choices"]
        else:
            assert described["low"] <= own <= described["high"]


def test_every_field_can_be_searched_or_says_why_not() -> None:
    names = {field.name for field in fields(Recipe)}
    assert names == TYPES.keys()
    assert NOT_SEARCHED.keys() < names


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["learning_rat=1:2"], "did you mean learning_rate?"),
        (["crop=64:128"], "crop: cannot be searched, for it decides which images"),
        (["momentum", "momentum=0:0.9"], "momentum: is named twice"),
        (["momentum=0.9:0.1"], "expected LOW:HIGH"),
        (["momentum=0.1"], "two or more values"),
        (["momentum=0.1,0.1"], "two or more values, each once"),
        (["momentum=0:1"], "momentum 1.0 is too large"),
        (["learning_rate=0:0.1"], "LOW more than 0"),
        (["learning_rate=a:b"], "'a' is not a number"),
        (["batch_size=1.5,2"], "'1.5' is not a whole number"),
        (["flip=yes,no"], "'yes' is neither true nor false"),
        (["schedule=constant,cosine"], "'cosine' is unknown"),
        (["epochs"], "write epochs=A,B,C"),
        (["loss_reduction=sum:mean"], "expected LOW:HIGH"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(texts, words) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        read_space(texts, MODERN)
