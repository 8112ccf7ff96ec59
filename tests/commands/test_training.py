"""`fcn train` and `fcn predict`: what they leave, and one line for what they refuse."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from common.config import Config
from common.data.batches import Batch
from common.errors import TrainingDiverged
from common.parameters.files import save_parameters
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe
from common.run import loop
from common.run.checkpoints import load_checkpoint
from common.run.runs import Run
from tests.conftest import PRESENT
from tests.support.commands import SMALL, script_here


def test_bad_training_input_is_one_line(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loop, "restart_with_environment", lambda *_: None)
    train = importlib.import_module(f"{PRESENT[0]}_impl.train").main
    loads = pytest.fail  # It takes seconds to load a framework: its inputs are checked before.
    monkeypatch.setattr(importlib.import_module(f"{PRESENT[0]}_impl"), "configure", loads)
    broken = tmp_path / "data"
    shutil.copytree(generated, broken)
    name = (broken / "ImageSets/Segmentation/train.txt").read_text(encoding="utf-8").split()[0]
    (broken / "JPEGImages" / f"{name}.jpg").unlink()
    for options, words in (
        (["--data", broken], f"{name}.jpg"),
        (["--data", tmp_path / "absent"], "absent: there is no such data folder"),
        (["--data", generated, "--batch-size", "1000"], "--batch-size 1000"),
        (["--data", generated, "--batch-size", "8"], "of val"),
        (
            ["--data", generated, "--crop", "640", "640"],
            "the crop of 640x640, the largest is 80x112",
        ),
        (["--data", generated, "--backbone", "vgg"], "'vgg'"),
        (["--data", generated, "--checkpoint-every", "0"], "--checkpoint-every 0"),
        (["--data", generated, "--weights", tmp_path / "absent"], "there is no such weight file"),
    ):
        out = tmp_path / "out"
        assert train(["--out", str(out), *SMALL, *map(str, options)]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1 and words in captured.err
        assert not captured.out and not out.exists()


def test_weights_of_another_backbone_are_named(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe("chapter-mxnet")
    weights = tmp_path / "v2.safetensors"
    save_parameters(weights, initial_parameters(recipe, 0), {})
    options = ["--data", generated, "--out", tmp_path / "out", "--weights", weights, *SMALL]
    assert script_here(f"{PRESENT[0]}_impl.train", *options) == 2
    error = capsys.readouterr().err
    assert "final_bn" in error and "resnet18_v2" in error


def test_a_prediction_by_weights_of_another_head_is_refused(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, image = make_recipe("chapter-torch"), min((generated / "JPEGImages").glob("*.jpg"))
    weights, out = tmp_path / "fcn32s.safetensors", tmp_path / "out"
    save_parameters(weights, initial_parameters(recipe, 0), {})
    options = ["--weights", weights, "--head", "fcn8s", "--out", out, image]
    assert script_here(f"{PRESENT[0]}_impl.predict", *options) == 2
    error = capsys.readouterr().err
    assert "not the weights of fcn8s on resnet18_v1" in error and "use --head fcn32s" in error
    assert not out.exists()


def test_a_finer_head_is_trained_predicted_and_exported(generated: Path, tmp_path: Path) -> None:
    run, image = tmp_path / "run", min((generated / "JPEGImages").glob("*.jpg"))
    train = ["--data", generated, "--head", "fcn8s", "--max-steps", "2", *SMALL]
    assert script_here(f"{PRESENT[0]}_impl.train", *train, "--out", run) == 0
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["recipe"]["head"] == "fcn8s"
    predict = ["--weights", run / "model.safetensors", image, "--out", tmp_path / "masks"]
    assert script_here(f"{PRESENT[0]}_impl.predict", *predict, "--no-progress") == 0
    assert (tmp_path / "masks" / f"{image.stem}.png").is_file()
    network = tmp_path / "network.onnx"
    export = ["weights", "export", run / "model.safetensors", "--format", "onnx", "--out", network]
    assert fcn([str(each) for each in export]) == 0
    assert {name in network.read_bytes() for name in (b"score8.weight", b"up16to8.weight")} == {
        True
    }


def test_a_loss_that_is_not_a_number_stops_before_a_checkpoint(tmp_path: Path) -> None:
    manifest = {"dataset": {"digest": "0"}, "backend": {"name": "torch", "versions": {}}}
    run = Run(
        tmp_path / "run",
        Config(make_recipe("chapter-torch")),
        manifest,
        first_step=0,
        total_steps=100,
        steps_per_epoch=50,
        data=tmp_path,
        progress=False,
    )
    run.step(Batch(0, *[np.zeros(0)] * 3), 0, np.float32(1.0))
    with pytest.raises(TrainingDiverged, match="weight is not finite after 1 step:"):
        run.checkpoint({"weight": np.float32([np.inf])}, {}, 1)
    with pytest.raises(TrainingDiverged, match="validation loss is nan after epoch 1"):
        run.epoch(0, {"val_loss": float("nan")})
    run.step(Batch(1, *[np.zeros(0)] * 3), 0, np.float32("nan"))
    with pytest.raises(TrainingDiverged, match="step 1"):
        run.checkpoint({}, {}, 2)
    assert not any((tmp_path / "run/checkpoints").glob("*"))
    run.close()


def test_a_diverging_training_says_where_and_keeps_its_checkpoint(
    backend_name: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, train = tmp_path / "out", f"{backend_name}_impl.train"
    options = ["--data", generated, "--learning-rate", "1e30", "--checkpoint-every", "1", *SMALL]
    assert script_here(train, *options, "--out", out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "at step 1 (epoch 1)" in last and "the checkpoint before it is kept" in last
    assert load_checkpoint(out).step == 1
