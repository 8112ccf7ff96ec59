"""Recipes as files: written and read again, and each mistake in one a line that names it."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from common.classes import Classes
from common.config import Config
from common.errors import InputError
from common.options import config_arguments, config_from, training_parser
from common.recipe_files import named_recipe, read_recipe, to_toml
from common.recipes import PRESETS, RECIPES, SENTENCES, Recipe
from tests.support.commands import refused

OWN = Classes(("background", 'a "crack"'), ((0, 0, 0), (250, 0, 0)))
CHANGED = replace(
    RECIPES["modern"],
    name='my "own"',
    learning_rate=1e-05,
    momentum=0.25,
    crop=(64, 96),
    flip=False,
    classes=OWN,
)


def written(text: str, folder: Path, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", [*RECIPES.values(), CHANGED], ids=lambda recipe: recipe.name)
def test_a_written_recipe_is_read_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    assert read_recipe(written(to_toml(recipe), tmp_path)) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_what_show_prints_makes_the_preset_by_the_name_of_the_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["recipe", "show", name]) == 0
    path = written(capsys.readouterr().out, tmp_path)
    assert read_recipe(path) == replace(RECIPES[name], name="mine")


@pytest.mark.parametrize("name", RECIPES)
def test_a_preset_is_what_its_file_says(name: str) -> None:
    assert read_recipe(PRESETS / f"{name}.toml") == RECIPES[name]


def test_a_file_may_state_what_differs_from_a_preset(tmp_path: Path) -> None:
    path = written('preset = "modern"\nlearning_rate = 1\ncrop = [64, 96]\n', tmp_path)
    expected = replace(RECIPES["modern"], name="mine", learning_rate=1, crop=(64, 96))
    assert named_recipe(str(path)) == expected
    assert read_recipe(written('name = "b"\n' + path.read_text(), tmp_path)).name == "b"


def test_classes_stand_in_the_file_or_in_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    written(OWN.to_toml(), tmp_path / "lists", "own.toml")
    for text in ('classes = "lists/own.toml"\n', f"\n{OWN.to_toml()}"):
        assert read_recipe(written(f'preset = "modern"\n{text}', tmp_path)).classes == OWN


def test_options_change_a_recipe_of_a_file(tmp_path: Path) -> None:
    path = written(to_toml(CHANGED), tmp_path)
    args = training_parser("t").parse_args(["--recipe", str(path), "--learning-rate", "0.5"])
    assert config_from(args).recipe == replace(CHANGED, learning_rate=0.5)
    config = Config(CHANGED, seed=3, max_steps=2)
    assert config_from(training_parser("t").parse_args(config_arguments(config, path))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[[", "not a recipe in TOML ("),
        ("epochs = 1\nepochs = 2", "not a recipe in TOML (Cannot overwrite a value"),
        ("learning_rte = 1", "field 'learning_rte' is unknown: did you mean learning_rate? "),
        ("learning-rate = 1", "field 'learning-rate' is unknown: did you mean learning_rate? "),
        ("lr = 1", "field 'lr' is unknown: did you mean learning_rate? "),
        ('preset = "modrn"', "preset 'modrn' is unknown: did you mean modern? "),
        ("preset = 1", "preset is 1: expected text in quotes"),
        ("epochs = 3", "lacks backbone, loss_reduction, learning_rate, "),
        ('preset = "modern"\nlearning_rate = "0.1"', 'learning_rate is "0.1": expected a finite '),
        ('preset = "modern"\nlearning_rate = true', "learning_rate is true: expected a finite "),
        ('preset = "modern"\nweight_decay = inf', "weight_decay is inf: expected a finite "),
        ('preset = "modern"\nmomentum = nan', "momentum is nan: expected a finite number"),
        ('preset = "modern"\nmomentum = 1.0', "momentum 1.0 is too large: it must be below 1"),
        ('preset = "modern"\nepochs = 1.0', "epochs is 1.0: expected a whole number"),
        ('preset = "modern"\nflip = 1', "flip is 1: expected true or false"),
        ('preset = "modern"\ncrop = [64]', "crop is [64]: expected a list of 2 whole numbers"),
        ('preset = "modern"\ncrop = [64, 65]', "crop 64x65: both sides must be positive mult"),
        ('preset = "modern"\nvoid = "no"', "void 'no' is unknown: choose from background, ignore"),
        ('preset = "modern"\nlearning_rate = 0', "learning_rate 0: expected a finite number gr"),
        ('preset = "modern"\nbatch_size = 0', "batch_size 0 is too small: at least 1"),
        ('preset = "modern"\nname = "a\\u001Bb"', "name 'a\\x1bb': expected printable characters"),
        ('preset = "modern"\nclasses = ["a"]', 'classes is ["a"]: expected text in quotes'),
        ('preset = "modern"\nclasses = "a"\n[[class]]', "has classes and [[class]] tables: "),
        ('preset = "modern"\n[[class]]\nname = "a"', "class 0: color is missing"),
        ('preset = "modern"\n[crop]\nheight = 64', "crop is {'height': 64}: expected a list"),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_that_names_it(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(text, tmp_path)
    with pytest.raises(InputError) as error:
        read_recipe(path)
    assert str(error.value).startswith(f"{path}: {message}")
    line = refused(capsys, "compare", "--recipe", path, "--out", tmp_path / "out")
    assert f"--recipe: {path}: " in line and not (tmp_path / "out").exists()


def test_an_absent_file_and_an_unknown_preset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml: there is no such recipe$"):
        named_recipe(str(tmp_path / "nothing.toml"))
    with pytest.raises(
        InputError, match="^'' is unknown: choose from chapter-torch, .* a TOML file$"
    ):
        named_recipe("")
    with pytest.raises(InputError, match="^'modrn' is unknown: did you mean modern"):
        named_recipe("modrn")


def test_presets_are_listed_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert fcn(["recipe", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES) == list(SENTENCES)
    assert fcn(["recipe", "diff", "chapter-torch", "chapter-mxnet"]) == 0
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["chapter-torch", "chapter-mxnet"]
    assert ["init", '"torch"', '"xavier"'] in rows and len(rows) == 4
    assert fcn(["recipe", "diff", "modern", "modern"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_document_has_every_field() -> None:
    text = (Path(__file__).parents[2] / "docs/RECIPES.md").read_text(encoding="utf-8")
    assert [f.name for f in fields(Recipe) if f"| `{f.name}` |" not in text] == []
