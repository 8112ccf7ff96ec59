"""A study of whole recipes, presets and files alike."""

import re
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from benchmarks.studies.typed import read_variations, varied_recipes
from benchmarks.studies.variants import variants_of
from common.errors import InputError
from common.recipes import make_recipe

MODERN = make_recipe("modern")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "modern"\nmomentum = 0.5\n')
    return path


def test_a_recipe_stands_for_all_its_fields(mine) -> None:
    texts = ["batch_size=4,8", f"recipe=chapter-torch,{mine}"]
    variants = variants_of(MODERN, read_variations(texts, MODERN))
    recipes = {variant.name: variant.recipe for variant in variants}
    assert list(recipes) == [
        "batch_size=4,recipe=chapter-torch",
        "batch_size=4,recipe=mine",
        "batch_size=8,recipe=chapter-torch",
        "batch_size=8,recipe=mine",
    ]
    assert recipes["batch_size=8,recipe=mine"].momentum == 0.5
    assert recipes["batch_size=4,recipe=chapter-torch"] == make_recipe(
        "chapter-torch", batch_size=4
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe=modern", "one recipe is nothing to compare"),
        ("recipe=modern,modern", "modern stands there twice"),
        ("recipe=modern,moderne", "did you mean modern?"),
        ("recipe=modern,absent.toml", "absent.toml: there is no such recipe"),
    ],
)
def test_what_is_no_recipe_is_refused(text, words) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        varied_recipes([text])


def test_other_classes_are_another_task(mine, tmp_path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(mine.read_text() + '[[class]]\nname = "a"\ncolor = [0, 0, 0]\n')
    with pytest.raises(InputError, match="scores over other classes do not compare"):
        varied_recipes([f"recipe={mine},{other}"])


def test_options_of_a_recipe_do_not_go_with_whole_ones(mine, tmp_path, capsys) -> None:
    options = ["--vary", f"recipe=generated,{mine}", "--epochs", "2", "--out", str(tmp_path / "s")]
    assert fcn(["study", *options]) == 2
    assert "--vary recipe: names whole recipes" in capsys.readouterr().err
