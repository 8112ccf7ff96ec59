"""What a training's folder says of where it started."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from common.config import Config
from common.data.batches import Batch
from common.data.dataset import Dataset
from common.errors import InputError
from common.machine.group import Group, group_environment
from common.options import config_from, training_parser
from common.parameters.files import save_parameters
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe
from common.run import loop
from common.run.resume import training_options
from common.run.training import TrainingData, start_training
from common.tricks import TRICKS

SMALL = ["--crop", "64", "64", "--batch-size", "4", "--no-progress"]


class Backend(ModuleType):
    """What opens a run asks of a package."""

    def configure(self, config: Config) -> None:
        pass

    def describe(self, config: Config) -> dict[str, Any]:
        return {"name": "torch", "versions": {"numpy": "2"}, "device": "NVIDIA H200"}

    def switches(self, config: Config) -> dict[str, Any]:
        return {"compile": "no" if "compile" in config.without else "yes"}


def one_step(*options: object) -> dict[str, Any]:
    """Open a run as a training does, let it end after a checkpoint, and return its manifest."""
    argv = [*SMALL, *map(str, options)]
    args = training_options(training_parser("train"), argv, "torch")
    with start_training(args, config_from(args), Backend("torch_impl"), None) as (_, _, run, start):
        run.step(Batch(start.step, *[np.zeros(0)] * 3), 0, np.float32(1.0))
        run.checkpoint(start.parameters, start.momentum, start.step + 1)
    manifest: dict[str, Any] = json.loads((run.folder / "manifest.json").read_text("utf-8"))
    return manifest


def recorded_without(run: Path) -> list[list[str]]:
    """Return what a run's configuration leaves out, and what that of its checkpoint does."""
    states = [json.loads(path.read_text("utf-8")) for path in run.glob("checkpoints/*/state.json")]
    configs = [json.loads((run / "config.json").read_text("utf-8"))]
    return [config["without"] for config in (*configs, *(state["config"] for state in states))]


def test_a_run_records_how_its_steps_are_really_done(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fifteen steps one is done when the run is resumed, and then there are more."""
    late = replace(TRICKS["torch"]["compile"], least_steps=15)
    monkeypatch.setitem(TRICKS["torch"], "compile", late)
    longer = ("--epochs", 10, "--resume-changed", "--resume")
    for options, compiled in ((("--out",), True), (("--resume",), False), (longer, True)):
        manifest = one_step("--data", generated, *options, tmp_path)
        assert manifest["backend"] == {
            "name": "torch",
            "versions": {"numpy": "2"},
            "device": "NVIDIA H200",
            "compile": "yes" if compiled else "no",
        }
        assert recorded_without(tmp_path) == [[], []]


def test_a_run_records_what_it_was_asked_not_to_do(generated: Path, tmp_path: Path) -> None:
    """Resumed without that option, it stays so."""
    assert one_step("--data", generated, "--without", "channels-last", "--out", tmp_path)
    assert recorded_without(tmp_path) == [["channels-last"]] * 2
    assert one_step("--resume", tmp_path)["backend"]["compile"] == "no"
    assert recorded_without(tmp_path) == [["channels-last"]] * 2


def test_a_training_is_given_what_its_steps_are_done_with(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, ...]] = []

    def train(config: Config, *_: object) -> None:
        given.append(config.without)
        raise InputError("enough")

    monkeypatch.setattr(loop, "restart_with_environment", lambda *_: None)
    main = loop.training_command(Backend("torch_impl"), train)
    options = [*SMALL, "--data", str(generated), "--out", str(tmp_path / "run")]
    assert main(options) == 2
    assert given == [("compile",)] and recorded_without(tmp_path / "run") == [[]]


def test_the_manifest_keeps_the_weights_that_a_run_started_from(
    generated: Path, tmp_path: Path
) -> None:
    weights, out = tmp_path / "start.safetensors", tmp_path / "run"
    save_parameters(weights, initial_parameters(make_recipe("chapter-torch"), 5), {})
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    expected = {"name": "start.safetensors", "sha256": digest}
    data = ("--data", generated)
    assert one_step(*data, "--out", out, "--weights", weights)["weights"] == expected
    assert one_step(*data, "--resume", out)["weights"] == expected
    elsewhere = one_step(*data, "--resume", out, "--out", tmp_path / "other")
    assert elsewhere["weights"] == expected and elsewhere["resumed_from_step"] == 2
    assert one_step(*data, "--out", tmp_path / "drawn")["weights"] is None


def test_a_checkpoint_goes_on_with_its_own_weights_only(generated: Path, tmp_path: Path) -> None:
    one_step("--data", generated, "--out", tmp_path)
    with pytest.raises(InputError, match="--weights: the checkpoint of --resume has weights"):
        one_step("--data", generated, "--resume", tmp_path, "--weights", "other.pth")
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.json: not a run's manifest"):
        one_step("--data", generated, "--resume", tmp_path)


def test_a_half_written_prediction_of_an_image_in_a_subfolder_is_removed(
    generated: Path, tmp_path: Path
) -> None:
    one_step("--data", generated, "--out", tmp_path)
    halves = [
        tmp_path / "predictions" / name for name in (".c.png.7.partial", "sub/.c.png.7.partial")
    ]
    for half in halves:
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(b"")
    one_step("--data", generated, "--resume", tmp_path)
    assert not any(half.exists() for half in halves)


@pytest.mark.parametrize("options, again", [([], 0), (["--cache-mib", "0"], 16)])
def test_a_training_decodes_again_what_its_bound_does_not_keep(
    options: list[str], again: int, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = training_parser("train").parse_args([*SMALL, *options])
    data = TrainingData(generated, config_from(parsed))
    read: list[str] = []
    original = Dataset.read

    def count(self: Dataset, index: int) -> Any:
        read.append(self.split)
        return original(self, index)

    monkeypatch.setattr(Dataset, "read", count)
    for batches in data.training(0), data.validation():
        assert list(batches)
    first = len(read)
    for batches in data.training(1), data.validation():
        assert list(batches)
    assert len(read) - first == again


@pytest.mark.parametrize("options, again", [([], 0), (["--cache-mib", "0"], 6)])
def test_an_evaluation_of_whole_images_opens_no_file_again_within_its_bound(
    options: list[str], again: int, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = training_parser("train").parse_args([*SMALL, "--recipe", "modern", *options])
    data = TrainingData(generated, config_from(parsed))
    first = list(data.validation_images())
    read: list[int] = []
    original = Dataset.read

    def count(self: Dataset, index: int) -> Any:
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(Dataset, "read", count)
    second = list(data.validation_images())
    assert len(read) == again and len(second) == len(first) == 6
    for pairs in zip(first, second, strict=True):
        for one, other in zip(*pairs, strict=True):
            np.testing.assert_array_equal(one, other)
    loader = data._val_loader
    assert loader._cache_bytes <= loader._cache_limit


@pytest.mark.parametrize("options", [{}, {"devices": 2}, {"workers": 2}], ids=str)
def test_a_batch_without_a_variance_is_refused_and_twice_as_many_images_are_not(
    generated: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    if "workers" in options:
        environment = group_environment(Group(0, ("127.0.0.1:1", "127.0.0.1:2")))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
    least = max((1, *options.values()))
    one = Config(make_recipe("modern", batch_size=least, crop=(32, 32)), **options)
    with pytest.raises(InputError, match="at least two values .* larger --batch-size or --crop"):
        TrainingData(generated, one)
    for larger in {"batch_size": 2 * least}, {"crop": (32, 64)}:
        TrainingData(generated, replace(one, recipe=replace(one.recipe, **larger)))


def test_validation_keeps_what_the_training_images_leave(generated: Path) -> None:
    data = TrainingData(generated, Config(make_recipe("modern", batch_size=4, crop=(64, 64))))
    mine, theirs = data._loader._cache_limit, data._val_loader._cache_limit
    assert mine - theirs == data.train.decoded_bytes > 0
