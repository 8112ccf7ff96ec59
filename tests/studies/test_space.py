"""What `--search` means, and what it refuses."""

import re
from dataclasses import fields

import optuna
import pytest

from benchmarks.studies.space import (
    NOT_SEARCHED,
    check_space,
    default_space,
    first_values,
    fitting_space,
    read_space,
    recipe_with,
    searched,
)
from common.config import Config
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.parameters.files import describe_network, save_parameters
from common.parameters.initial import initial_parameters
from common.recipes import RECIPES, Recipe, make_recipe

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


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_default_space_holds_the_recipe_s_own_values(recipe) -> None:
    values = make_recipe(recipe)
    space = default_space(values)
    first = first_values(space, values)
    assert first.keys() == space.keys()
    assert recipe_with(values, first) == values


def test_the_default_bounds_are_written_in_few_digits() -> None:
    rates = searched(default_space(make_recipe("generated", learning_rate=0.03))["learning_rate"])
    assert (rates["low"], rates["high"]) == (0.001, 0.9)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": 0.3, "momentum": 0.995},
        {"weight_decay": 1e-9, "momentum": 0.0, "random_scale": (0.75, 1.25)},
        {"batch_size": 1, "random_scale": (0.5, 2.0)},
        {"learning_rate": 3e38},
    ],
)
def test_the_default_space_holds_values_that_nobody_else_has(changes) -> None:
    recipe = make_recipe("modern", **changes)
    space = default_space(recipe)
    first = first_values(space, recipe)
    assert first.keys() == space.keys() and recipe_with(recipe, first) == recipe
    assert read_space(list(space), recipe) == space, "each of its values is allowed"
    assert len(set(searched(space["random_scale"])["choices"])) == 2 + (0.75 in recipe.random_scale)


def test_a_logarithmic_scale_has_no_zero() -> None:
    recipe = make_recipe("modern", weight_decay=0.0)
    space = default_space(recipe)
    assert searched(space["weight_decay"]) == searched(default_space(MODERN)["weight_decay"])
    assert space.keys() - first_values(space, recipe).keys() == {"weight_decay"}


def test_values_that_data_or_weights_do_not_allow_are_left_out(tmp_path) -> None:
    make_dataset(tmp_path / "data", train=10, val=2, size=(64, 64), seed=0)
    recipe = make_recipe("modern", crop=(64, 64), batch_size=8, head="fcn16s")
    config = Config(recipe)
    weights = tmp_path / "fcn16s.safetensors"
    save_parameters(weights, initial_parameters(recipe, 0), describe_network(recipe))
    found = fitting_space(default_space(recipe), config, tmp_path / "data", weights)
    assert searched(found["batch_size"]) == {"choices": [4, 8]}
    assert searched(found["head"]) == {"choices": ["fcn16s", "fcn8s"]}
    space = read_space(["batch_size=8,16"], recipe)
    with pytest.raises(InputError, match="--search batch_size: 16: "):
        check_space(space, config, tmp_path / "data", None)


def test_a_field_that_changes_nothing_is_refused_unless_another_searched_one_wakes_it() -> None:
    recipe = make_recipe("modern", weight_decay=0.0, batch_size=1)
    with pytest.raises(InputError, match="decay_scope: changes nothing: without weight_decay"):
        read_space(["decay_scope", "loss_reduction", "batch_size=1,2"], recipe)
    searched_too = ["decay_scope", "weight_decay=0.001,0", "loss_reduction", "batch_size=1,2"]
    assert len(read_space(searched_too, recipe)) == 4


def test_what_can_be_searched_is_listed_in_the_recipes_order() -> None:
    with pytest.raises(InputError) as raised:
        read_space(["colour"], MODERN)
    listed = str(raised.value).partition("choose from ")[2].split(", ")
    order = [field.name for field in fields(Recipe)]
    assert listed == sorted(listed, key=order.index) and "crop" not in listed


def test_a_batch_of_crops_changes_what_is_scored() -> None:
    chapter = make_recipe("chapter-torch")
    assert "batch_size" not in default_space(chapter)
    with pytest.raises(InputError, match="batch_size: cannot be searched with --evaluation crops"):
        read_space(["batch_size=16,32"], chapter)


def test_a_range_of_batch_sizes_has_what_several_devices_can_share() -> None:
    (values,) = read_space(["batch_size=4:16"], MODERN, replicas=2).values()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    tried = {study.ask({"batch_size": values}).params["batch_size"] for _ in range(60)}
    assert tried == {4, 6, 8, 10, 12, 14, 16}
    for size in tried:
        Config(make_recipe("modern", batch_size=size), devices=2)
    for ends in ("3:16", "4:15"):
        with pytest.raises(InputError, match=rf"batch_size={ends}: .* multiples of 2$"):
            read_space([f"batch_size={ends}"], MODERN, replicas=2)
    read_space(["warmup_steps=3:16", "momentum=0.1:0.5"], MODERN, replicas=2)


def test_several_numbers_of_a_field_are_one_value() -> None:
    space = read_space(["random_scale=0.5x2,0.75x1.5"], MODERN)
    assert searched(space["random_scale"]) == {"choices": ["0.5x2", "0.75x1.5"]}
    assert recipe_with(MODERN, {"random_scale": "0.5x2"}).random_scale == (0.5, 2.0)
    assert first_values(space, MODERN) == {}  # The recipe's own scale is not among them.


def test_every_field_can_be_searched_or_says_why_not() -> None:
    names = {field.name for field in fields(Recipe)}
    assert NOT_SEARCHED.keys() < names
    for name in names:
        with pytest.raises(InputError, match=name):
            read_space([f"{name}=?"], MODERN)


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
        (["learning_rate=a:b"], "learning_rate=a:b: expected a finite number"),
        (["batch_size=1.5,2"], "expected a whole number"),
        (["flip=yes,no"], "expected true or false"),
        (["schedule=constant,cosine"], "'cosine' is unknown"),
        (["epochs"], "write epochs=A,B,C"),
        (["loss_reduction=sum:mean"], "expected LOW:HIGH"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(texts, words) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        read_space(texts, MODERN)
