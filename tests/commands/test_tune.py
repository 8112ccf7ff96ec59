"""`fcn tune`: what it refuses, before anything is trained."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from common.data.synthetic import make_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tune") / "data"
    make_dataset(root, train=25, val=2, size=(64, 64), seed=0)
    return root


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trials", "0"], "--trials 0: expected a number above 0"),
        (["--minutes", "-1"], "--minutes -1: expected a number above 0"),
        (["--confirm", "-1"], "--confirm -1: expected a number of seeds, or 0"),
        (["--backend", "pytorch"], "did you mean torch?"),
        (["--search", "learning_rat"], "did you mean learning_rate?"),
        (["--search", "crop=64x64,96x96"], "--search crop: cannot be searched"),
        (["--crop", "96", "96"], "--crop 96x96 is larger than every image"),
        (["--weights", "absent.pth"], "absent.pth"),
        (["--resume", "absent"], "absent/plan.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_writes_no_search(options, words, data, tmp_path, capsys) -> None:
    out = tmp_path / "search"
    own = [] if "--resume" in options else ["--data", str(data), "--out", str(out)]
    assert fcn(["tune", *own, *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.splitlines()[-1].startswith("error: ")
    assert not (out / "trials.db").exists()


def test_too_few_images_for_tuning_are_refused(tmp_path, capsys) -> None:
    make_dataset(tmp_path / "few", train=10, val=1, size=(64, 64), seed=0)
    options = ["--data", str(tmp_path / "few"), "--crop", "64", "64", "--batch-size", "2"]
    assert fcn(["tune", *options, "--out", str(tmp_path / "search")]) == 2
    assert "at least 5 are needed, so name 25 images or more" in capsys.readouterr().err


def test_a_resumed_search_keeps_its_options(data, tmp_path, capsys) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"config": {}}))
    assert fcn(["tune", "--resume", str(tmp_path), "--epochs", "3"]) == 2
    assert "goes on with its own options: leave out --epochs" in capsys.readouterr().err
    assert fcn(["tune", "--resume", str(tmp_path)]) == 2
    assert "plan.json" in capsys.readouterr().err
