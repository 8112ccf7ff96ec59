"""`fcn data`: what it prints, and which recipe a training takes of a data set that it made."""

import json
import shlex
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cli import main as fcn
from benchmarks.commands import compare, parity
from benchmarks.commands.data import main
from common.classes import VOC
from common.config import Config
from common.data.dataset import RECIPE
from common.data.masks import read_label, write_label
from common.data.synthetic import fitting_recipe
from common.errors import InputError
from common.machine.files import write_text
from common.machine.locks import LOCK, only_writer
from common.options import config_from, predict_parser, training_parser
from common.recipe_files import to_toml
from common.recipes import make_recipe
from common.run.prediction import images_of
from common.run.training import TrainingData, choose_recipe
from tests.conftest import PRESENT

PARSERS = {"train": lambda: training_parser("train"), "compare": compare.command_parser}


@pytest.fixture
def root(generated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generated, tmp_path / "VOC"))


def test_the_last_line_of_a_made_data_set_is_a_training_that_can_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my data"
    size = ["--size", "70", "97", "--train", "5", "--val", "2"]
    assert main(["make", str(folder), *size]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert "5 training and 2 validation images of 70x97" in first
    assert "the recipe generated (crop 64x96, batch size 5)" in first
    words = shlex.split(last)
    assert words[:5] == ["next:", "fcn", "train", "--backend", "torch"]
    args = training_parser("fcn train").parse_args(words[5:])
    choose_recipe(args)
    data = TrainingData(args.data, config_from(args))
    assert next(data.training(0)).images.shape == (5, 64, 96, 3)


@pytest.mark.parametrize("command", PARSERS)
@pytest.mark.parametrize(
    "options, expected",
    [
        ([], ("generated", (64, 96), 12)),
        (["--crop", "32", "64"], ("generated", (32, 64), 12)),
        (["--batch-size", "3"], ("generated", (64, 96), 3)),
        (["--recipe", "chapter-torch"], ("chapter-torch", (320, 480), 32)),
    ],
)
def test_the_recipe_is_that_of_the_data_set_unless_one_is_named(
    root: Path,
    command: str,
    options: list[str],
    expected: tuple[str, tuple[int, int], int],
) -> None:
    write_text(root / RECIPE, to_toml(fitting_recipe(12, (80, 112))))
    args = PARSERS[command]().parse_args(["--data", str(root), *options])
    said = choose_recipe(args)
    recipe = config_from(args).recipe
    assert (recipe.name, recipe.crop, recipe.batch_size) == expected
    words = "was made for the recipe generated (crop 64x96, batch size 12): taken, as no --recipe"
    assert (said is None) == ("--recipe" in options)
    assert said is None or words in said


@pytest.mark.parametrize("command", ["train", "compare", "study", "tune"])
def test_a_refusal_is_one_line_where_the_recipe_is_the_data_sets(
    root: Path, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_text(root / RECIPE, to_toml(fitting_recipe(12, (80, 112))))
    options = ["--data", str(root), "--out", str(tmp_path / "out"), "--batch-size", "1000"]
    options += ["--backend", PRESENT[0]] if command in ("train", "tune") else []
    assert fcn([command, *options]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", PARSERS)
def test_a_data_set_of_others_is_trained_by_the_chapters_recipe(root: Path, command: str) -> None:
    args = PARSERS[command]().parse_args(["--data", str(root)])
    assert choose_recipe(args) is None
    assert config_from(args).recipe == make_recipe("chapter-torch")


def test_a_sound_data_set_is_said_to_be_one(
    generated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(generated)]) == 0
    printed = capsys.readouterr()
    first, pixels, last = printed.err.splitlines()
    assert printed.out == ""
    assert first == f"{generated}: 12 training and 6 validation images, 0 problems"
    assert pixels.startswith("pixels: background ")
    assert last.startswith("next: fcn train --backend torch --data")
    assert main(["check", str(generated), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_problems_of_files_and_of_all_label_maps_end_with_status_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (root / "SegmentationClass").iterdir():
        write_label(path, np.where(read_label(path), 255, 0).astype(np.uint8))
    assert main(["check", str(root)]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{root}: the label maps hold nothing but 0 (background) and 255")
    assert "1 problem" in printed.err and "next: fcn train" not in printed.err
    assert printed.err.splitlines()[-1].startswith("next: docs/DATA.md says")
    assert main(["check", str(root), "--json"]) == 1
    [problem] = json.loads(capsys.readouterr().out)
    assert problem["file"] == str(root)


def test_what_a_terminal_would_obey_is_printed_as_text(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "\x1b]0;mine\x07\x1b[31m\u202egpj"
    (root / "JPEGImages" / f"{name}.jpg").write_bytes(b"no image")
    shutil.copy(
        next((root / "SegmentationClass").iterdir()), root / f"SegmentationClass/{name}.png"
    )
    (root / "ImageSets/Segmentation/val.txt").write_text(f"{name}\nabsent\n", encoding="utf-8")
    assert main(["check", str(root)]) == 1
    printed = "".join(capsys.readouterr())
    assert r"\x1b]0;mine\x07\x1b[31m\u202egpj.jpg: not in the format" in printed
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_max_pixels_is_an_option_wherever_images_are_read(root: Path, tmp_path: Path) -> None:
    assert main(["check", str(root), "--max-pixels", "8959"]) == 1
    limit = ["--max-pixels", "8959"]
    args = training_parser("train").parse_args(["--data", str(root), "--crop", "64", "64", *limit])
    with pytest.raises(InputError, match="has 80x112 pixels, more than 8,959"):
        TrainingData(args.data, config_from(args))
    path = next((root / "JPEGImages").iterdir())
    words = [str(path), "--weights", "w", "--out", str(tmp_path / "o"), *limit]
    with pytest.raises(InputError, match=r"--max-pixels 8960"):
        list(images_of(predict_parser("predict").parse_args(words)))
    assert list(images_of(Namespace(images=[path], max_pixels=8960)))
    with pytest.raises(InputError, match=r"--max-pixels 8960"):
        parity.main(["--data", str(root), "--out", str(tmp_path / "parity"), *limit])


def test_a_training_warns_of_what_is_odd_and_stops_at_what_cannot_be_read(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(make_recipe("modern", batch_size=4, crop=(64, 96)))
    TrainingData(root, config).warn()
    assert capsys.readouterr().err == ""
    lists = root / "ImageSets/Segmentation"
    shutil.copy(lists / "train.txt", lists / "val.txt")
    data = TrainingData(root, config)
    data.warn()
    line = f"warning: {root}: 12 of 12 validation images are training images too"
    assert capsys.readouterr().err.startswith(line)
    monkeypatch.setenv("RANK", "1")  # Of several processes one says it.
    data.warn()
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("RANK")
    for path in (root / "SegmentationClass").iterdir():
        Image.fromarray(VOC.to_rgb(read_label(path))[..., ::-1].copy()).save(path)
    with pytest.raises(InputError, match=r"\.png: colour .* once red and blue are swapped"):
        data.warn()


@pytest.mark.parametrize("action", ["make", "fetch"])
def test_a_data_set_has_one_writer(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_writer(tmp_path):
        assert fcn(["data", action, str(tmp_path)]) == 2
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}: is being written by process" in line


def test_a_bad_option_makes_no_folder(tmp_path: Path) -> None:
    assert fcn(["data", "make", str(tmp_path / "d"), "--train", "0"]) == 2
    assert not (tmp_path / "d").exists()
