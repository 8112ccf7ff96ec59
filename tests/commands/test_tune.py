"""`fcn tune`: what it refuses, before anything is trained."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import trainings, tune
from common.data import synthetic
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.machine.locks import only_writer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tune") / "data"
    make_dataset(root, train=25, val=2, size=(64, 64), seed=0)
    return root


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trials", "0"], "--trials 0: expected a finite number above 0"),
        (["--minutes", "-1"], "--minutes -1: expected a finite number above 0"),
        (["--minutes", "inf"], "--minutes inf: expected a finite number above 0"),
        (["--minutes", "nan"], "--minutes nan: expected a finite number above 0"),
        (["--confirm", "-1"], "--confirm -1: expected a number of seeds, or 0"),
        (["--backend", "pytorch"], "did you mean torch?"),
        (["--backends", "pytorch"], "did you mean torch?"),
        (["--search", "learning_rat"], "did you mean learning_rate?"),
        (["--search", "crop=64x64,96x96"], "--search crop: cannot be searched"),
        (
            ["--recipe", "chapter-mxnet", "--batch-size", "1", "--search", "loss_reduction"],
            "--search loss_reduction: changes nothing: of one image the sum is the mean",
        ),
        (
            ["--without", "channels-last", "--backends", "jax"],
            "--without 'channels-last': no trick of jax",
        ),
        (["--crop", "96", "96"], "is smaller than the crop of 96x96"),
        (["--weights", "absent.pth"], "absent.pth"),
        (
            ["--resume", "absent"],
            "absent: there is no such folder: name the folder that `fcn tune`",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_no_search(options, words, data, tmp_path, capsys) -> None:
    out = tmp_path / "search"
    own = [] if "--resume" in options else ["--data", str(data), "--out", str(out)]
    assert fcn(["tune", *own, *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
    assert not out.exists()


def test_too_few_images_for_tuning_are_refused(tmp_path, capsys) -> None:
    make_dataset(tmp_path / "few", train=10, val=1, size=(64, 64), seed=0)
    options = ["--data", str(tmp_path / "few"), "--crop", "64", "64", "--batch-size", "2"]
    assert fcn(["tune", *options, "--out", str(tmp_path / "search")]) == 2
    assert "at least 5 are needed, which 25 images give" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize("is_generated", [False, True])
def test_a_batch_larger_than_what_is_left_for_training_leaves_nothing_behind(
    is_generated, data, tmp_path, monkeypatch, capsys
) -> None:
    out = tmp_path / "search"
    options = ["tune", *([] if is_generated else ["--data", str(data)]), "--out", str(out)]
    options += ["--crop", "64", "64", "--batch-size"]
    place = "the generated images" if is_generated else data

    def small_dataset(root: Path) -> Path:
        make_dataset(root, train=25, val=2, size=(64, 64), seed=0)
        return root

    monkeypatch.setattr(synthetic, "default_dataset", small_dataset)
    monkeypatch.setattr(tune, "tune", lambda *_: None)
    monkeypatch.setattr(tune, "finish", lambda *_: 0)
    for _ in range(2):
        assert fcn([*options, "21"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"--batch-size 21 is larger than the 20 images of train in {place}: " in said
        assert said.endswith("20% of the training images as val and trains on the others")
        assert not out.exists()
    assert fcn([*options, "20"]) == 0


def test_a_search_interrupted_in_its_checks_leaves_nothing_behind(
    data, tmp_path, monkeypatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "search"
    options = ["--data", str(data), "--crop", "64", "64", "--batch-size", "2"]
    monkeypatch.setattr(tune, "inputs_of", interrupted)
    assert fcn(["tune", *options, "--out", str(out)]) == 130
    assert not out.exists()


def refuse(*_: object) -> None:
    raise InputError("numpy is 1 on a and 2 on b")


@pytest.fixture
def search(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Path:
    """A search that was interrupted before its first trial."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "search"
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.commands.tune.tune", interrupt)
        options = ["--data", str(data), "--crop", "64", "64", "--batch-size", "2", "--minutes", "9"]
        assert fcn(["tune", *options, "--confirm", "0", "--out", str(folder)]) == 130
    assert f"go on with: fcn tune --resume {folder}" in capsys.readouterr().err
    return folder


def test_a_resumed_search_has_its_budget_unless_another_is_said(search, monkeypatch) -> None:
    budgets = []
    monkeypatch.setattr(
        "benchmarks.commands.tune.tune",
        lambda _, args, hosts: budgets.append((args.trials, args.minutes, args.confirm)),
    )
    monkeypatch.setattr(tune, "finish", lambda *_: 0)
    for more in ([], ["--trials", "5"], ["--confirm", "2"]):
        assert fcn(["tune", "--resume", str(search), *more]) == 0
    assert budgets == [(None, 9.0, 0), (5, None, 0), (5, None, 2)]


def test_a_search_on_changed_data_is_refused(search, data, capsys) -> None:
    path = data / "ImageSets/Segmentation/train.txt"
    before = path.read_text()
    try:
        path.write_text(before.replace(before.split()[0] + "\n", "") + before.split()[0] + "\n")
        assert fcn(["tune", "--resume", str(search)]) == 2
    finally:
        path.write_text(before)
    assert "its data or its weights have changed" in capsys.readouterr().err


def test_a_resumed_search_keeps_its_options(search, capsys) -> None:
    assert fcn(["tune", "--resume", str(search), "--epochs", "3"]) == 2
    assert "goes on with its own options: leave out --epochs" in capsys.readouterr().err
    plan = json.loads((search / "plan.json").read_text())
    for damage in ({"config": {}}, {"search": 5}, {"sampler": "grid"}, {"backends": ["x"]}):
        (search / "plan.json").write_text(json.dumps(plan | damage))
        assert fcn(["tune", "--resume", str(search)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what a search has left, but for the data that --resume makes again."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "tuning" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_force_begins_a_search_anew_once_all_is_checked(search, data, monkeypatch, capsys) -> None:
    left = ("trials.db", "trials.db-journal", "tune.json", "report.html", "best.toml")
    for name in (*left, "trials/3/metrics.jsonl", "confirmed/plan.json", "data/made.txt"):
        (search / name).parent.mkdir(parents=True, exist_ok=True)
        (search / name).write_text("{}", encoding="utf-8")
    before = files_of(search)
    monkeypatch.setattr(trainings, "check_ray", lambda what: None)
    monkeypatch.setattr(trainings, "hosts_joined", refuse)
    start = ["tune", "--data", str(data), "--crop", "64", "64", "--out", str(search)]
    for options, words in (
        (["--batch-size", "2"], "is not empty; choose another, or --force to overwrite"),
        (["--batch-size", "21", "--force"], "--batch-size 21 is larger than the 20 images"),
        (["--batch-size", "2", "--force", "--address", "local"], "numpy is 1 on a and 2 on b"),
    ):
        assert fcn([*start, *options]) == 2
        assert words in capsys.readouterr().err
        assert files_of(search) == before
    start += ["--batch-size", "2", "--force"]
    with only_writer(search):
        assert fcn(start) == 2
        assert f"{search}: is being written by process" in capsys.readouterr().err
    assert files_of(search) == before
    monkeypatch.setattr(tune, "tune", lambda *_: None)
    monkeypatch.setattr(tune, "finish", lambda *_: 0)
    assert fcn(start) == 0
    assert files_of(search).keys() == {"plan.json", "data/made.txt"}
    assert json.loads((search / "plan.json").read_text())["minutes"] is None


def test_a_search_trains_as_verbosely_as_it_is_told(data, tmp_path, monkeypatch) -> None:
    searches = []
    monkeypatch.setattr(tune, "tune", lambda search, args, hosts: searches.append(search))
    monkeypatch.setattr(tune, "finish", lambda *_: 0)
    options = ["tune", "--data", str(data), "--crop", "64", "64", "--batch-size", "2"]
    assert fcn([*options, "--out", str(tmp_path / "quiet")]) == 0
    assert fcn([*options, "--out", str(tmp_path / "loud"), "--verbose"]) == 0
    assert [search.verbose for search in searches] == [False, True]
