"""The command on a page, typed again, states what its document states."""

import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands import compare, study, tune
from benchmarks.commands.trainings import config_from
from benchmarks.pages.studies.command import compare_command, study_command, tune_command
from benchmarks.pages.studies.page import render_page
from benchmarks.studies.search import PRUNERS, SAMPLERS
from benchmarks.studies.space import read_space
from benchmarks.studies.trials import searched
from benchmarks.studies.typed import read_variations, varied_recipes
from common.classes import Classes
from common.config import Config
from common.options import Parser
from common.recipe_files import to_toml
from common.recipes import RECIPES
from tests.support.report_sample import sample_compare, sample_study, sample_tune

FAR = Config(
    replace(RECIPES["modern"], head="fcn16s", crop=(96, 128), test_scales=(0.5, 1.0), epochs=2),
    seed=7,
    max_steps=9,
    precision="float64",
    without=("compile", "channels-last"),
    deterministic=True,
    threads=3,
)
"""With as many options as a command line may have."""


def typed(parser: Parser, command: str) -> Namespace:
    """Return what a command's parser makes of a command."""
    words = shlex.split(command)
    name = parser.prog.split()
    assert words[: len(name)] == name
    args: Namespace = parser.parse_args(words[len(name) :])
    return args


@pytest.mark.parametrize("config", [*map(Config, RECIPES.values()), FAR], ids=[*RECIPES, "far"])
def test_a_study_is_stated_again(config: Config, tmp_path: Path) -> None:
    document = sample_study(tmp_path)
    document["config"] = config.to_json()
    document["dataset"]["generated"] = False
    document["weights"] = {"name": "mine.pth", "sha256": "0" * 64}
    args = typed(study.command_parser(), study_command(document))
    assert config_from(args)[0] == config
    assert read_variations(args.vary, config.recipe).keys() == document["varied"].keys()
    assert list(read_variations(args.vary, config.recipe)["upsample_init"]) == [
        "bilinear",
        "xavier",
    ]
    assert (args.seeds, args.backends) == (3, ("torch", "jax"))
    assert (args.data, args.weights) == (Path("DIR"), Path("FILE"))


def test_generated_images_and_drawn_parameters_are_no_options(tmp_path: Path) -> None:
    document = sample_study(tmp_path)
    document["dataset"]["generated"], document["weights"] = True, None
    args = typed(study.command_parser(), study_command(document))
    assert args.data is args.weights is None


def test_whole_recipes_are_named_as_presets_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = replace(RECIPES["modern"], name="mine", epochs=3)
    Path("mine.toml").write_text(to_toml(mine), encoding="utf-8")
    document = sample_study(tmp_path)
    document["varied"] = {"recipe": ["mine", "modern"]}
    args = typed(study.command_parser(), study_command(document))
    assert varied_recipes(args.vary) == {"mine": mine, "modern": RECIPES["modern"]}
    assert args.recipe is None  # `fcn study` refuses both.


def test_a_recipe_of_a_file_is_named_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = replace(RECIPES["modern"], name="my own", epochs=3)
    Path("my own.toml").write_text(to_toml(mine), encoding="utf-8")
    document = sample_study(tmp_path)
    document["config"] = Config(mine).to_json()
    assert config_from(typed(study.command_parser(), study_command(document)))[0].recipe == mine


def test_own_classes_are_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Classes(("nothing", "cell"), ((0, 0, 0), (9, 9, 9)))
    Path("CLASSES").write_text(own.to_toml(), encoding="utf-8")
    document = sample_study(tmp_path)
    document["config"] = Config(replace(RECIPES["modern"], classes=own)).to_json()
    args = typed(study.command_parser(), study_command(document))
    assert config_from(args)[0].recipe.classes == own


def test_a_comparison_is_stated_again(tmp_path: Path) -> None:
    document: Any = sample_compare(tmp_path)
    config = replace(FAR, workers=2)
    document["config"] = config.to_json()
    args = typed(compare.command_parser(), compare_command(document))
    assert config_from(args)[0] == config
    assert list(args.backends) == [row["backend"] for row in document["rows"]]


def test_a_search_is_stated_again(tmp_path: Path) -> None:
    document = sample_tune(tmp_path)
    texts = ["learning_rate=0.0012345678901:0.3", "random_scale=0.5x2,1x1", "batch_size=4,8"]
    texts += ["flip=false,true"]
    space = {name: searched(each) for name, each in read_space(texts, FAR.recipe).items()}
    document["trials"].append(document["trials"][0] | {"number": 9, "state": "killed"})
    document |= {"config": FAR.to_json(), "space": space, "sampler": SAMPLERS[-1]}
    document["weights"] = {"name": "mine.pth", "sha256": "0" * 64}
    args = typed(tune.command_parser(), tune_command(document))
    again = {name: searched(each) for name, each in read_space(args.search, FAR.recipe).items()}
    assert again == space
    assert (args.backend, args.trials) == ("torch", 4)
    assert (args.sampler, args.pruner) == (SAMPLERS[-1], document["pruner"])
    assert document["pruner"] in PRUNERS
    assert config_from(args)[0] == FAR
    assert (args.data, args.weights) == (None, Path("FILE"))
    del document["weights"]  # An early file.
    assert typed(tune.command_parser(), tune_command(document)).weights is None


def test_a_page_has_its_command(tmp_path: Path) -> None:
    document = sample_study(tmp_path)
    page = render_page(document, tmp_path)
    assert "fcn study --vary upsample_init=bilinear,xavier --seeds 3" in page
