"""Recipes that were damaged: a recipe within its limits, or a line that names the file."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from common.classes import Classes
from common.errors import InputError
from common.recipe_files import read_recipe, to_toml
from common.recipes import RECIPES, Recipe
from tests.damaged.damage import damaged_bytes, run

OWN = replace(RECIPES["modern"], classes=Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
FILES = [
    to_toml(OWN).encode(),
    b'preset = "generated"\nlearning_rate = 0.5\ncrop = [64, 96]\ntest_scales = [0.5, 1]\n',
]


NUMBERS = [field.name for field in fields(Recipe) if "float" in str(field.type)]


@pytest.mark.parametrize("value", ["1e39", "1e300"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_float32_cannot_hold_is_refused(
    name: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    old = next(line for line in to_toml(OWN).splitlines() if line.startswith(f"{name} = "))
    listed = ", ".join([value] * (1 + old.count(","))) if "[" in old else value
    new = f"{name} = [{listed}]" if "[" in old else f"{name} = {listed}"
    path.write_text(to_toml(OWN).replace(old, new), encoding="utf-8")
    status, line = run(["recipe", "show", str(path)], capsys)
    assert status == 2 and f"{name} 1e+{value[2:]} is too large" in line
    with pytest.raises(InputError):  # As a program may say it.
        replace(OWN, **{name: (math.inf,) * (1 + old.count(",")) if "[" in old else math.inf})


def test_every_number_of_the_optimizer_is_among_them() -> None:
    assert {"learning_rate", "momentum", "weight_decay"} < set(NUMBERS)


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=pytest.mark.release)])
def test_a_damaged_recipe_is_one_or_is_refused(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, outcomes = tmp_path / "recipe.toml", {True: 0, False: 0}
    for number, whole in enumerate(FILES):
        for data in damaged_bytes(whole, count, number):
            path.write_bytes(data)
            status, answer = run(["recipe", "show", str(path)], capsys)
            outcomes[status == 0] += 1
            if status:
                assert status == 2 and f": {path}: " in answer
                continue
            recipe = read_recipe(path)
            values = [getattr(recipe, field.name) for field in fields(recipe)]
            assert all(math.isfinite(value) for value in values if isinstance(value, float))
            path.write_text(to_toml(recipe), encoding="utf-8")
            assert read_recipe(path) == recipe
    assert min(outcomes.values()) > count / 20
