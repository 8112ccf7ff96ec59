"""The study with which `fcn tune` ends: of which recipes and images it is, and how it goes on.

The trainings are stand-ins; all else is what the two commands do.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import study
from benchmarks.studies import search
from benchmarks.studies.trainings import Plan
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS
from common.data import synthetic
from common.data.dataset import open_dataset
from common.data.synthetic import make_dataset
from common.run.metrics import empty_confusion, evaluation_record
from tests.conftest import PRESENT
from tests.support.report_sample import study_run

LINK = 'href="confirmed/report.html"'
BACKEND = PRESENT[0]


def small_dataset(root: Path) -> Path:
    if not root.exists():
        make_dataset(root, train=25, val=2, size=(64, 64), seed=0)
    return root


def train_trial(backend: str, config: Any, data: Path, folder: Path, *_: Any, **__: Any) -> Outcome:
    """Each trial is better than the one before."""
    folder.mkdir(parents=True)
    confusion = empty_confusion(21)
    confusion[0, 0], confusion[0, 1] = 100 * (1 + int(folder.name)), 1000
    line = {"kind": "epoch", "epoch": 0, "train_loss": 1.0, **evaluation_record(confusion, [])}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    return Outcome("ok", None)


def train_all(plan: Plan) -> dict[str, list[Any]]:
    """The later a variant, the better; a seed changes little."""
    rows = {}
    for number, (name, config) in enumerate(plan.configs.items()):
        seeds = range(config.seed, config.seed + plan.seeds)
        runs = [study_run(seed, 0.3 + 0.1 * number + 0.001 * number * seed) for seed in seeds]
        row = {"backend": BACKEND, "title": BACKENDS[BACKEND], "status": "ok", "reason": None}
        rows[name] = [row | {"runs": runs}]
    return rows


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Let the stand-ins train; the options of every study that is begun or gone on with."""
    calls: list[Sequence[str]] = []
    main = study.main
    monkeypatch.setattr(search, "train_backend", train_trial)
    monkeypatch.setattr(study, "train_all", train_all)
    monkeypatch.setattr(study, "gallery", lambda *_: [])
    monkeypatch.setattr(study, "main", lambda argv: calls.append(argv) or main(argv))
    monkeypatch.setattr(synthetic, "default_dataset", small_dataset)
    return calls


@pytest.fixture
def begin(called: list[Sequence[str]], tmp_path: Path) -> Callable[..., int]:
    """Search with one trial, and confirm what it found."""
    words = ["tune", "--backend", BACKEND, "--backends", BACKEND, "--out", str(tmp_path / "out")]
    words += ["--crop", "64", "64", "--batch-size", "2", "--epochs", "1", "--confirm", "2"]
    # It leaves out the recipe's own momentum, so that any trial is another recipe.
    words += ["--search", "momentum=0.1:0.5", "--trials", "1"]
    return lambda *more: fcn([*words, *more])


def stored(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def interrupt(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def test_a_confirmation_that_was_interrupted_before_its_plan_is_of_the_later_recipe(
    begin, called, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "out"
    assert begin() == 0
    with monkeypatch.context() as patch:
        patch.setattr(study, "check_variants", interrupt)
        assert fcn(["tune", "--resume", str(out), "--trials", "2"]) == 130
    assert stored(out / "tune.json")["best"] == 1
    assert stored(out / "confirmed/plan.json")["recipes"]["best"] != (out / "best.toml").read_text()

    assert fcn(["tune", "--resume", str(out)]) == 0
    first, best = stored(out / "confirmed/study.json")["variants"]
    assert best["config"]["recipe"] == stored(out / "tune.json")["recipe"]
    assert first["config"]["recipe"]["name"] == "first"
    assert not any("--resume" in argv for argv in called)


def test_a_confirmation_that_has_its_plan_goes_on(begin, called, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(study, "train_all", interrupt)
        assert begin() == 130
    resume = ["tune", "--resume", str(out), "--timeout", "7"]
    assert fcn(resume) == 0
    assert called[-1][:2] == ["--resume", str(out / "confirmed")]
    assert called[-1][called[-1].index("--timeout") + 1] == "7.0"
    assert fcn([*resume, "--confirm", "3"]) == 0
    assert "--resume" not in called[-1]
    assert [each["seeds"] for each in stored(out / "confirmed/study.json")["variants"]] == [3, 3]


def test_a_confirmation_on_generated_images_says_so(begin, tmp_path) -> None:
    out = tmp_path / "out"
    assert begin() == 0
    dataset = stored(out / "confirmed/study.json")["dataset"]
    assert dataset["generated"] is True
    assert dataset["digest"] == open_dataset(out / "data", "train", None).digest, "the same images"
    page = (out / "confirmed/report.html").read_text(encoding="utf-8")
    assert "The images are generated" in page and "--data" not in page


def test_a_confirmation_on_a_user_s_images_is_on_those(begin, tmp_path) -> None:
    data, out = small_dataset(tmp_path / "images"), tmp_path / "out"
    assert begin("--data", str(data)) == 0
    dataset = stored(out / "confirmed/study.json")["dataset"]
    assert (dataset["root"], dataset["generated"]) == ("images", False)
    assert "--data DIR" in (out / "confirmed/report.html").read_text(encoding="utf-8")
    assert not (out / "confirmed/data").exists()


def test_the_page_that_a_search_leaves_links_to_its_confirmation(
    begin, tmp_path, monkeypatch
) -> None:
    out = tmp_path / "out"
    page = out / "report.html"
    assert begin("--confirm", "0") == 0
    assert LINK not in page.read_text(encoding="utf-8")
    assert fcn(["tune", "--resume", str(out), "--confirm", "2"]) == 0
    assert LINK in page.read_text(encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(study, "main", interrupt)
        assert fcn(["tune", "--resume", str(out), "--trials", "2"]) == 130
    assert LINK not in page.read_text(encoding="utf-8"), "it is of an earlier best recipe"
    assert fcn(["tune", "--resume", str(out)]) == 0
    assert LINK in page.read_text(encoding="utf-8")
