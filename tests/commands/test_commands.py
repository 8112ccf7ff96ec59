"""The commands as a user runs them: what they leave, and one line for what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.cli import COMMANDS
from benchmarks.cli import main as fcn
from benchmarks.workers.environment import backend_environment
from common.data.images import read_image, read_label
from common.errors import TrainingDiverged
from common.run.checkpoints import load_checkpoint
from common.run.runs import read_metrics
from common.tricks import TRICKS
from tests.conftest import PRESENT

SMALL = ["--crop", "64", "64", "--batch-size", "4", "--no-progress"]


def script(
    name: str, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_train_resume_and_predict(backend_name: str, generated: Path, tmp_path: Path) -> None:
    train, out = f"{backend_name}_impl.train", tmp_path / "run"
    options = ["--data", generated, "--recipe", "modern", "--epochs", "2", *SMALL]
    half = script(train, *options, "--out", out, "--max-steps", "4", "--json")
    assert half.returncode == 0, half.stderr
    assert json.loads(half.stdout)["steps"] == 4
    # As `fcn train` starts it. The others start themselves anew with this environment.
    rest = script(train, *options, "--resume", out, environment=backend_environment(None))
    assert rest.returncode == 0, rest.stderr
    lines = read_metrics(out / "metrics.jsonl")
    steps = [line["step"] for line in lines if line["kind"] == "step"]
    assert steps == list(range(6))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [0, 1]
    for name in ("config.json", "manifest.json", "curves.png", "examples.png", "summary.json"):
        assert (out / name).stat().st_size > 0, name

    image = next((generated / "JPEGImages").glob("*.jpg"))
    found = script(
        f"{backend_name}_impl.predict",
        *(image, "--weights", out / "model.safetensors", "--out", tmp_path / "maps"),
        *("--tile", "64", "64", "--no-progress"),
    )
    assert found.returncode == 0, found.stderr
    labels = read_label(tmp_path / "maps" / f"{image.stem}.png")
    assert labels.shape == read_image(image).shape[:2]
    assert (tmp_path / "maps" / f"{image.stem}-overlay.png").is_file()


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail with status 2 and one line; return the line."""
    assert fcn([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.mark.parametrize("command", ["train", "predict", "compare", "parity"])
def test_who_chooses_mxnet_reads_that_it_is_retired(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        fcn([command, "--help"])
    assert "mxnet: retired upstream" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [[name] for name in COMMANDS]
    + [["data", "make"], ["weights", "export"]]
    + [["bench", name] for name in ("check", "diff", "selftest")],
)
def test_help_states_every_default_there_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fcn([*words, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and f"usage: fcn {' '.join(words)}" in text
    assert not re.search(r"default: (None|False|\[)", text)


def test_a_terminated_command_takes_its_training_with_it(generated: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--data", generated, "--out", out, "--epochs", 10000, *SMALL]
    command = [sys.executable, "-m", "benchmarks.cli", "train", "--backend", PRESENT[0]]
    with subprocess.Popen([*command, *map(str, options)], stderr=subprocess.DEVNULL) as process:
        while not (out / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (training,) = children.read_text(encoding="utf-8").split()
        process.terminate()
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)
    with pytest.raises(ProcessLookupError):  # Nothing is left to be killed.
        os.kill(int(training), signal.SIGKILL)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--recipe", "nothing"], "recipe 'nothing'"),
        (["--precision", "float8"], "precision 'float8'"),
        (["--device", "toaster"], "device 'toaster'"),
        (["--crop", "65", "64"], "multiples of 32"),
        (["--threads", "4096"], "threads 4096"),
        (["--cache-mib", "-1"], "--cache-mib -1 is too small: at least 0"),
        (["--cache-mib", "1.5"], "--cache-mib"),
        (["--without", "magic"], "choose from compile, channels-last, loss-rows, onednn-relu"),
        (["--backends", "torch,jax", "--without", "static-alloc"], "no trick of torch, jax"),
        (["--backends", "torch,caffe"], "caffe"),
        (["--epochs", "many"], "--epochs"),
        (["--weights", "absent.safetensors"], "absent.safetensors"),
        (["--data", "absent-folder"], "absent-folder"),
    ],
)
def test_bad_options_of_compare(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert words in refused(capsys, "compare", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "predict"])
def test_a_trick_of_another_backend_is_refused_before_anything_starts(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = next(name for name in TRICKS if name != PRESENT[0])
    given = {"train": [], "predict": ["a.png", "--weights", "w", "--out", "o"]}[command]
    trick = next(iter(TRICKS[other]))
    said = refused(capsys, command, "--backend", PRESENT[0], *given, "--without", trick)
    assert f"without {trick!r}: no trick of {PRESENT[0]}; choose from" in said


def test_a_folder_with_something_in_it_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    assert "--force" in refused(capsys, "compare", "--out", tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "precious"


def test_bad_training_input_is_one_line(generated: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    shutil.copytree(generated, broken)
    name = (broken / "ImageSets/Segmentation/train.txt").read_text(encoding="utf-8").split()[0]
    (broken / "JPEGImages" / f"{name}.jpg").unlink()
    for options, words in (
        (["--data", broken], f"{name}.jpg"),
        (["--data", generated, "--batch-size", "1000"], "batch size 1000"),
        (["--data", generated, "--batch-size", "8"], "of val"),
        (["--data", generated, "--crop", "640", "640"], "larger than every image"),
        (["--data", generated, "--backbone", "vgg"], "'vgg'"),
        (["--data", generated, "--checkpoint-every", "0"], "--checkpoint-every 0"),
    ):
        out = tmp_path / "out"
        command = f"{PRESENT[0]}_impl.train", "--out", out, *SMALL, *options
        result = script(*command, environment=backend_environment(None))
        assert result.returncode == 2, result.stderr
        assert result.stderr.count("\n") == 1 and words in result.stderr
        assert not out.exists()


def test_weights_of_another_backbone_are_named(generated: Path, tmp_path: Path) -> None:
    from common.parameters.files import save_parameters
    from common.parameters.initial import initial_parameters
    from common.recipes import make_recipe

    recipe = make_recipe("chapter-mxnet")
    weights = tmp_path / "v2.safetensors"
    save_parameters(weights, initial_parameters(recipe, 0), {})
    result = script(
        f"{PRESENT[0]}_impl.train",
        *("--data", generated, "--out", tmp_path / "out", "--weights", weights, *SMALL),
        environment=backend_environment(None),
    )
    assert result.returncode == 2
    assert "final_bn" in result.stderr and "resnet18_v2" in result.stderr


def test_a_loss_that_is_not_a_number_stops_before_a_checkpoint(tmp_path: Path) -> None:
    from common.config import Config
    from common.recipes import make_recipe
    from common.run.runs import Run

    manifest = {"dataset": {"digest": "0"}, "backend": {"name": "torch", "versions": {}}}
    run = Run(
        tmp_path / "run",
        Config(make_recipe("chapter-torch")),
        manifest,
        first_step=0,
        total_steps=100,
        steps_per_epoch=50,
        progress=False,
    )
    run.step(0, 0, np.float32(1.0))
    with pytest.raises(TrainingDiverged, match="weight is not finite after 1 steps"):
        run.checkpoint({"weight": np.float32([np.inf])}, {}, 1)
    with pytest.raises(TrainingDiverged, match="validation loss is nan after epoch 0"):
        run.epoch(0, {"val_loss": float("nan")})
    run.step(1, 0, np.float32("nan"))
    with pytest.raises(TrainingDiverged, match="step 1"):
        run.checkpoint({}, {}, 2)
    assert not run.has_checkpoint()
    run.close()


def test_a_diverging_training_says_where_and_keeps_its_checkpoint(
    backend_name: str, generated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = ["--data", generated, "--learning-rate", "1e30", "--checkpoint-every", "1", *SMALL]
    train, environment = f"{backend_name}_impl.train", backend_environment(None)
    result = script(train, *options, "--out", out, environment=environment)
    assert result.returncode == 2
    assert "at step 1 (epoch 0)" in result.stderr.splitlines()[-1]
    assert "the checkpoint before it is kept" in result.stderr.splitlines()[-1]
    assert load_checkpoint(out).step == 1


def test_data_make_and_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert fcn(["data", "make", str(made), "--train", "2", "--val", "1"]) == 0
    assert fcn(["data", "check", str(made)]) == 0
    image = next((made / "JPEGImages").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:200])
    capsys.readouterr()
    assert fcn(["data", "check", str(made), "--json"]) == 1
    assert image.name in json.loads(capsys.readouterr().out)[0]["file"]


def test_backend_answers_to_its_name(backend_name: str, backend: ModuleType) -> None:
    from common.config import Config
    from common.recipes import make_recipe

    config = Config(make_recipe("chapter-torch"))
    assert backend.describe(config)["name"] == backend_name
    assert "float32" in backend.precisions(config)
