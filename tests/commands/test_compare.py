"""`fcn compare` from end to end: what it trains, what it leaves, and its status where one fails."""

import json
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import compare
from benchmarks.equal_work.drift import WITH_FLOAT64
from benchmarks.workers import scripts
from benchmarks.workers.progress import Progress
from common import backends
from common.config import Config
from common.data.synthetic import make_dataset
from common.machine.locks import only_writer
from common.recipes import make_recipe
from common.run import training
from tests.conftest import PRESENT


@pytest.mark.slow
def test_a_missing_and_a_crashing_backend_are_rows_and_another_goes_on(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = next(name for name in WITH_FLOAT64 if name in PRESENT)
    missing, crashing, *_ = (name for name in backends.BACKENDS if name != trained)
    monkeypatch.setitem(backends.IMPORT_NAMES, missing, "absent_framework")
    monkeypatch.setitem(backends.IMPORT_NAMES, crashing, "numpy")
    right = scripts.script_command

    def command(
        backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
    ) -> list[str]:
        if backend == crashing:
            return [sys.executable, "-c", "import os; os.abort()"]
        return right(backend, script, arguments, python)

    monkeypatch.setattr(scripts, "script_command", command)
    prove = compare.prove_evaluation

    def prove_all_but_the_crashing(backend: str, *rest: Any) -> scripts.Outcome:
        return scripts.Outcome("ok", None) if backend == crashing else prove(backend, *rest)

    monkeypatch.setattr(compare, "prove_evaluation", prove_all_but_the_crashing)
    out = tmp_path / "out"
    # Four steps cross an epoch of three.
    small = ["--crop", "64", "64", "--batch-size", "4", "--max-steps", "4", "--recipe", "modern"]
    small += ["--learning-rate", "1e-4", "--evaluation", "crops"]
    order = ",".join((missing, crashing, trained))
    where = ["--data", str(generated), "--out", str(out)]
    status = fcn(["compare", *where, "--backends", order, *small, "--json"])
    assert status == 1
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    first, second, third = result["rows"]
    assert (first["backend"], first["status"]) == (missing, "missing")
    assert "is not installed here" in first["reason"]
    assert (second["backend"], second["status"]) == (crashing, "failed")
    assert "was ended by SIGABRT" in second["reason"]
    assert (third["backend"], third["status"]) == (trained, "ok")
    assert third["agreement"] <= 1 and len(third["steps"]) == 4
    trace = result["agreement"]
    assert trace["reference"] == backends.BACKENDS[trained]
    assert len(trace["losses"]) == len(trace["drift"]) == 4
    # What float32 drifts from the float64 of the same steps, and the bound that follows.
    assert 0 < trace["drift"][0] < 1e-6 and trace["drift"][0] < max(trace["drift"]) < 1e-2
    assert trace["bounds"][0] == pytest.approx(max(5e-6, 10 * trace["drift"][0]))
    pixels = result["pixels"]
    assert pixels["background"] == 4 * 64 * 64 > pixels["ignore"] > 0
    for reading, scores in third["epochs"][0]["scores"].items():
        assert scores["pixels"] == pixels[reading]
    assert f"{pixels['background']:,} validation pixels" in (out / "report.html").read_text("utf-8")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert first["reason"].partition(";")[0] in page and "was ended by SIGABRT" in page
    for example in result["gallery"]:
        assert list(example["predictions"]) == [trained]
        assert all((out / path).is_file() for path in example["predictions"].values())


def test_what_cannot_be_proven_is_not_trained(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in WITH_FLOAT64:
        monkeypatch.setitem(backends.IMPORT_NAMES, name, "absent_framework")
    out = tmp_path / "out"
    small = ["--crop", "64", "64", "--batch-size", "4", "--max-steps", "2"]
    assert fcn(["compare", "--data", str(generated), "--out", str(out), *small]) == 2
    assert "error: no backend here computes the first losses in float64" in capsys.readouterr().err
    assert not (out / "compare.json").exists()


@pytest.mark.release
def test_a_comparison_of_nothing_but_defaults_learns_in_all_four(tmp_path: Path) -> None:
    """Above always predicting background: 0.10 in pixel accuracy, three times its mean IoU."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.cli", "compare", "--out", str(out)]
    subprocess.run([*command, "--backends", ",".join(PRESENT)], check=True, capture_output=True)
    result = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in result["rows"]] == ["ok"] * len(result["rows"])
    for row in result["rows"]:
        scores = row["scores"][result["config"]["recipe"]["void"]]
        assert 0.5 <= scores["background_pixel_accuracy"] <= 0.8
        assert scores["classes_present"] >= 8
        assert scores["pixel_accuracy"] >= scores["background_pixel_accuracy"] + 0.10
        assert scores["mean_iou"] >= 3 * scores["background_mean_iou"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the stand-in train for every backend; the commands that are run."""
    started: list[str] = []

    def command(
        backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
    ) -> list[str]:
        started.append(backend)
        return [python, "-m", "tests.support.small_training", *arguments]

    def trace(config: Config, data: Path, *_: object) -> dict[str, Any]:
        started.append("trace")
        return {
            "reference": "none",
            "losses": [2300.0] * 3,
            "drift": [0.1] * 3,
            "bounds": [0.5] * 3,
        }

    monkeypatch.setattr(scripts, "script_command", command)
    monkeypatch.setattr(scripts, "check_backend", lambda name: None)
    monkeypatch.setattr(compare, "reference_trace", trace)
    monkeypatch.setattr(compare, "starting_parameters", lambda *_: None)
    monkeypatch.setattr(compare, "prove_evaluation", lambda *_: scripts.Outcome("ok", None))
    monkeypatch.setattr(compare, "evaluation_file", lambda *_: Path())
    monkeypatch.setattr(training, "EXAMPLES", 1)
    monkeypatch.chdir(Path(__file__).parents[2])
    return started


SMALL_TRAINING = ["--evaluation", "crops", "--crop", "64", "64", "--batch-size", "4"]
SMALL_TRAINING += ["--recipe", "modern", "--epochs", "1"]


def test_an_interrupted_comparison_keeps_what_is_trained(
    small: list[str],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    train, stop = compare.train_backend, {"mxnet"}

    def interrupted(backend: str, *arguments: Any, **options: Any) -> Any:
        if backend in stop:
            raise KeyboardInterrupt
        return train(backend, *arguments, **options)

    monkeypatch.setattr(compare, "train_backend", interrupted)
    chosen = ["--data", str(generated), "--backends", "torch,mxnet", *SMALL_TRAINING]
    assert fcn(["compare", *chosen, "--out", str(out)]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"interrupted; go on with: fcn compare --resume {out}"
    assert small == ["trace", "torch"]
    stop.clear()
    small.clear()
    for options, words in (
        (["--seed", "5"], "an option differs"),
        (["--backends", "torch"], "an option differs"),
        (["--out", str(out)], "leave --out and --force"),
        (["--timeout", "0"], "--timeout 0: expected a finite number of seconds"),
    ):
        assert fcn(["compare", "--resume", str(out), *options]) == 2
        assert words in capsys.readouterr().err
    assert fcn(["compare", "--resume", str(out), "--epochs", "1"]) == 0
    assert small == ["mxnet"]
    rows = json.loads((out / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["backend"], row["status"]) for row in rows] == [("torch", "ok"), ("mxnet", "ok")]
    # What was changed is trained again, and a changed trace is refused.
    summary = out / "runs/torch/summary.json"
    summary.write_text(summary.read_text("utf-8").replace('"steps": 3', '"steps": 4'), "utf-8")
    small.clear()
    assert fcn(["compare", "--resume", str(out)]) == 0
    assert small == ["torch"]
    trace = out / "runs/trace.json"
    trace.write_text(trace.read_text("utf-8").replace("0.5", "9.5", 1), "utf-8")
    capsys.readouterr()
    assert fcn(["compare", "--resume", str(out)]) == 2
    assert (
        "trace.json: was changed after it was written: delete it, and this part is"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("changed", ["data", "weights", "commit"])
def test_a_comparison_is_not_gone_on_with_from_another_beginning(
    changed: str,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    data, weights, out = tmp_path / "data", tmp_path / "start.safetensors", tmp_path / "out"
    make_dataset(data, train=4, val=4, size=(64, 64), seed=0)
    weights.write_bytes(b"first")
    options = ["--data", str(data), "--weights", str(weights), "--backends", "torch"]
    with monkeypatch.context() as once:
        once.setattr(compare, "train_backend", interrupt)
        assert fcn(["compare", *options, *SMALL_TRAINING, "--out", str(out)]) == 130
    if changed == "weights":
        weights.write_bytes(b"second")
    if changed == "data":
        listed = data / "ImageSets/Segmentation/val.txt"
        listed.write_text("val_000001\nval_000000\nval_000002\nval_000003\n", encoding="utf-8")
    if changed == "commit":
        monkeypatch.setattr("benchmarks.records.diff.git_commit", lambda: "another")
    plan = (out / "plan.json").read_bytes()
    small.clear()
    capsys.readouterr()
    assert fcn(["compare", "--resume", str(out)]) == 2
    words = "was begun at commit" if changed == "commit" else "its data or its weights have changed"
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert (out / "plan.json").read_bytes() == plan and small == []


def test_a_terminated_comparison_names_the_way_on(
    small: list[str],
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"

    def terminated(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(compare, "train_backend", terminated)
    options = ["--data", str(generated), "--backends", "torch", *SMALL_TRAINING]
    monkeypatch.setattr(sys, "argv", ["fcn", "compare", *options, "--out", str(out)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert fcn() == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"interrupted; go on with: fcn compare --resume {out}"


def test_a_wait_for_an_evaluation_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(*_: object) -> scripts.Outcome:
        time.sleep(0.2)
        return scripts.Outcome("failed", "it was no good")

    monkeypatch.setattr("common.machine.progress.LINE_SECONDS", (0.05, 60.0))
    monkeypatch.setattr(compare, "prove_evaluation", slow)
    config, args = Config(make_recipe("modern")), Namespace()
    progress = Progress(tmp_path / "runs", {})
    outcome = compare.train(progress, "jax", config, tmp_path, args, tmp_path, "[1] JAX")
    assert outcome.status == "failed"
    assert "[1] JAX: evaluation: 0:00 so far\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("compare", "a comparison (it has no plan.json)"),
        ("study", "a study (it has no plan.json)"),
        ("tune", "a search (it has no plan.json)"),
        ("bench", "a benchmark (it has no bench.json)"),
    ],
)
def test_a_resume_of_nothing_says_what_is_missing(
    command: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = f"name the folder that `fcn {command}` wrote\n"
    lacks = {"absent": "there is no such folder", "": f"is not the folder of {words}"}
    for name, lack in lacks.items():
        folder = tmp_path / name
        assert fcn([command, "--resume", str(folder)]) == 2
        assert capsys.readouterr().err == f"error: --resume {folder}: {lack}: {what}"


@pytest.mark.parametrize(
    ("others", "own", "kind", "plan"),
    [
        (["compare", "study"], "tune", "search", {"sampler": "tpe", "backends": ["torch"]}),
        (["compare", "tune"], "study", "study", {"vary": [], "backends": ["torch"]}),
        (["study", "tune"], "compare", "comparison", {"backends": ["torch"]}),
    ],
)
def test_a_resume_of_what_another_command_began_names_that_command(
    others: list[str],
    own: str,
    kind: str,
    plan: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    said = f"error: --resume {tmp_path}: is the folder of a {kind}: use `fcn {own} --resume`\n"
    for command in others:
        assert fcn([command, "--resume", str(tmp_path)]) == 2
        assert capsys.readouterr().err == said
    assert fcn([own, "--resume", str(tmp_path)]) == 2
    assert f"plan.json: not the plan of a {kind} (" in capsys.readouterr().err


def test_a_stopped_backend_does_not_hang_a_comparison(
    small: list[str], generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stopped(*_: object) -> list[str]:
        return ["sh", "-c", "echo started >&2; kill -STOP $$"]

    monkeypatch.setattr(scripts, "script_command", stopped)
    options = ["--data", str(generated), "--backends", "torch", *SMALL_TRAINING]
    assert fcn(["compare", *options, "--out", str(out), "--timeout", "1"]) == 1
    (row,) = json.loads((out / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert (row["status"], row["reason"]) == ("failed", "neither printed nor computed for 1 s")


def test_a_comparison_has_one_writer(
    small: list[str], generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--data", str(generated), "--backends", "torch", *SMALL_TRAINING]
    with only_writer(out):
        assert fcn(["compare", *options, "--out", str(out), "--force"]) == 2
    assert f"{out}: is being written by process" in capsys.readouterr().err
    assert small == [] and not out.exists()


def test_a_refused_data_set_leaves_nothing(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, absent = tmp_path / "out", tmp_path / "absent"
    assert fcn(["compare", "--data", str(absent), "--out", str(out)]) == 2
    assert f"{absent}: there is no such data folder" in capsys.readouterr().err
    assert small == [] and not out.exists()


def test_a_workers_batch_without_a_variance_leaves_nothing(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "out", ["--workers", "2", "--batch-size", "2", "--crop", "32", "32"]
    assert fcn(["compare", *options, "--out", str(out)]) == 2
    assert "batch norm needs at least two values" in capsys.readouterr().err
    assert small == [] and not out.exists()
