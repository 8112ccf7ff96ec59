"""Weight files and checkpoints that are broken, wrong or hostile: one line, and nothing is run."""

import json
import pickle
import struct
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from common.config import Config
from common.data.images import write_image
from common.errors import InputError
from common.parameters.files import (
    check_parameters,
    read_parameters,
    save_parameters,
    starting_parameters,
)
from common.parameters.initial import initial_parameters
from common.parameters.names import Parameters, trainable_names
from common.recipes import make_recipe
from common.run.checkpoints import (
    Checkpoint,
    check_same_training,
    load_checkpoint,
    momentum_for,
    save_checkpoint,
)
from common.run.prediction import checked_parameters
from tests.conftest import PRESENT, required
from tests.support.commands import SMALL, script_here

RECIPE = make_recipe("modern")


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return initial_parameters(RECIPE, 0)


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}
    save_parameters(path, tensors, {"backbone": "resnet18_v1"})
    whole = path.read_bytes()
    kept, _ = read_parameters(path)
    assert kept.keys() == tensors.keys()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"small\.safetensors"):
            read_parameters(path)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 9),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: Any, body: bytes, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    with pytest.raises(InputError, match=r"odd\.safetensors"):
        read_parameters(path)


def test_a_header_of_impossible_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(InputError, match=r"huge\.safetensors"):
        read_parameters(path)


def missing(given: Parameters) -> None:
    del given["final_conv.bias"]


def extra(given: Parameters) -> None:
    given["fc.weight"] = np.ones((2, 2), np.float32)


def misshapen(given: Parameters) -> None:
    given["final_conv.weight"] = given["final_conv.weight"][:20]


def not_finite(given: Parameters) -> None:
    given["backbone.bn1.bias"] = given["backbone.bn1.bias"] * np.float32("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (missing, r"1 missing \(final_conv\.bias\)"),
        (extra, r"1 not expected \(fc\.weight\)"),
        (misshapen, r"final_conv\.weight is \(20, 512, 1, 1\), expected \(21, 512, 1, 1\)"),
        (not_finite, r"backbone\.bn1\.bias"),
    ],
)
def test_wrong_tensors_are_named(
    change: Any, words: str, parameters: Parameters, tmp_path: Path
) -> None:
    given, path = dict(parameters), tmp_path / "given.safetensors"
    change(given)
    save_parameters(path, given, {})
    with pytest.raises(InputError, match=words):
        check_parameters(path, read_parameters(path)[0], RECIPE.network)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


@pytest.mark.xdist_group("torch")
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("archive", [True, False], ids=["as torch saves", "bare pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(
    name: str, archive: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".pth"):  # Which PyTorch itself reads.
        required("torch", "torch")
    path, trace = tmp_path / name, tmp_path / "trace"
    if archive:
        torch = required("torch", "torch")
        torch.save({"conv1.weight": Hostile(trace)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": Hostile(trace)}))
    status = fcn(["weights", "import", str(path), "--out", str(tmp_path / "out.safetensors")])
    message = capsys.readouterr().err
    assert status == 2 and name in message and message.count("\n") == 1
    assert "weights_only" not in message and "\x1b" not in message
    assert not trace.exists() and not (tmp_path / "out.safetensors").exists()
    # The file would have done it: where code is let run, it does.
    if not archive:
        pickle.loads(path.read_bytes())
        assert trace.read_text(encoding="utf-8") == "executed"


@pytest.fixture
def checkpoint(parameters: Parameters, tmp_path: Path) -> tuple[Path, Checkpoint]:
    momentum = {name: np.zeros_like(parameters[name]) for name in trainable_names(RECIPE)}
    saved = Checkpoint(parameters, momentum, 3, Config(RECIPE), "d" * 64)
    return save_checkpoint(tmp_path / "checkpoints", saved, {}), saved


@pytest.mark.parametrize("part", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_checkpoint_with_a_foreign_or_broken_part_is_refused(
    part: str, checkpoint: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    folder, saved = checkpoint
    assert load_checkpoint(tmp_path).step == 3
    other = replace(saved, parameters={k: v + 1 for k, v in saved.parameters.items()}, step=4)
    (tmp_path / "other").mkdir()
    foreign = save_checkpoint(
        tmp_path / "other" / "checkpoints",
        replace(other, momentum={k: v + 1 for k, v in saved.momentum.items()}),
        {},
    )
    (folder / part).write_bytes((foreign / part).read_bytes())
    with pytest.raises(InputError, match=r"not the file whose digest is in|\(it is of step 4\)"):
        load_checkpoint(tmp_path)
    (folder / part).unlink()
    with pytest.raises(InputError, match=part.replace(".", r"\.")):
        load_checkpoint(tmp_path)


def test_what_differs_from_a_checkpoints_training_is_said(
    checkpoint: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    saved = load_checkpoint(tmp_path)
    assert check_same_training(saved, Config(RECIPE, threads=1), "d" * 64) == []
    changed = Config(replace(RECIPE, learning_rate=0.5), seed=7)
    assert check_same_training(saved, changed, "e" * 64) == [
        "--learning-rate 0.02 -> 0.5",
        "--seed 0 -> 7",
        f"data set {'d' * 12} -> {'e' * 12}",
    ]


def test_another_optimizer_takes_what_it_knows_of_the_buffers(
    checkpoint: tuple[Path, Checkpoint],
) -> None:
    saved = replace(checkpoint[1], momentum={k: v + 1 for k, v in checkpoint[1].momentum.items()})
    assert momentum_for(saved, replace(RECIPE, momentum=0.0)) == {}
    frozen = replace(RECIPE, upsample_init="bilinear-frozen")
    assert "transpose_conv.weight" not in momentum_for(saved, frozen)
    fresh = momentum_for(replace(saved, momentum={}), RECIPE)
    assert fresh.keys() == saved.momentum.keys()
    assert not any(buffer.any() for buffer in fresh.values())


@pytest.mark.xdist_group(PRESENT[0])
def test_resuming_with_another_backbone_is_refused_and_loses_nothing(
    checkpoint: tuple[Path, Checkpoint], generated: Path, tmp_path: Path
) -> None:
    options = ["--data", generated, "--resume", tmp_path, "--recipe", "modern"]
    options += ["--backbone", "resnet18_v2", "--resume-changed", *SMALL]
    before = sorted(tmp_path.rglob("*"))
    assert script_here(f"{PRESENT[0]}_impl.train", *options) == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.xdist_group(PRESENT[0])
@pytest.mark.parametrize("more", [[], ["--resume-changed"]])
def test_no_other_network_is_promised_to_go_on(
    more: list[str],
    checkpoint: tuple[Path, Checkpoint],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, saved = checkpoint
    model = folder / "model.safetensors"

    def refusal(resume: Path, *changes: object) -> str:
        options = ["--data", generated, "--recipe", "modern", *changes, *SMALL, "--resume", resume]
        assert (
            script_here(f"{PRESENT[0]}_impl.train", *options, "--out", tmp_path / "n", *more) == 2
        )
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--resume-changed" not in error
        return error

    for resume in (tmp_path, folder):
        error = refusal(resume, "--head", "fcn8s")
        assert "its network is resnet18_v1, not fcn8s on resnet18_v1" in error
        assert error.endswith(f"leave --resume out, and name --weights {model}\n")
    starting_parameters(replace(RECIPE, head="fcn8s"), 0, model)
    assert "use --backbone resnet18_v1" in refusal(folder, "--backbone", "resnet18_v2")
    finer = replace(RECIPE, head="fcn8s")
    finest = replace(saved, parameters=initial_parameters(finer, 0), momentum={}, step=0)
    folder = save_checkpoint(tmp_path / "finer", replace(finest, config=Config(finer)), {})
    assert "use --head fcn8s" in refusal(folder, "--head", "fcn16s")


@pytest.mark.xdist_group(PRESENT[0])
def test_resuming_another_training_is_refused_unless_asked(
    checkpoint: tuple[Path, Checkpoint],
    generated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train, options = f"{PRESENT[0]}_impl.train", ["--data", generated, "--recipe", "modern", *SMALL]
    options += ["--epochs", 2]
    assert script_here(train, *options, "--resume", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--crop (320, 480) -> (64, 64)" in error
    assert "--batch-size 32 -> 4" in error and "data set dddddddddddd" in error
    # The checkpoint has no log of its steps, so the log of a new folder begins after them.
    options += ["--resume", checkpoint[0], "--resume-changed", "--out", tmp_path / "new"]
    assert script_here(train, *options) == 0


@pytest.mark.parametrize(
    "images, problem",
    [
        (["a.png"], "a.png: its result would overwrite the image"),
        (["a.jpg", "a-overlay.jpg"], "a-overlay.jpg: its result would overwrite the result of"),
        (["a.jpg", "b/a.jpg"], "b/a.jpg: its result would overwrite the result of"),
    ],
)
def test_a_prediction_overwrites_no_image_and_no_other_prediction(
    parameters: Parameters, tmp_path: Path, images: list[str], problem: str
) -> None:
    weights = tmp_path / "model.safetensors"
    save_parameters(weights, parameters, {"backbone": "resnet18_v1"})
    (tmp_path / "b").mkdir()
    paths = [tmp_path / name for name in images]
    for path in paths:
        write_image(path, np.zeros((32, 32, 3), np.uint8))
    request = Namespace(
        weights=weights,
        backbone=None,
        head=None,
        classes=None,
        max_pixels=10**6,
        images=paths,
        out=tmp_path,
        force=True,
        json=False,
    )
    request.no_progress = True
    with pytest.raises(InputError, match=problem):
        checked_parameters(request)
