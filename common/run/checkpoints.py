"""Checkpoints: a training's whole state in canonical form, which any backend can resume."""

import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from common.config import Config
from common.errors import InputError
from common.machine.files import file_digest, reading_json, sync_folder, write_json, writing
from common.parameters.files import check_parameters, read_parameters, save_parameters
from common.parameters.names import Parameters, trainable_names
from common.recipes import Recipe


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on, and what it came from.

    Attributes:
        parameters, momentum: By canonical name; no momentum before the first step or without it.
        step: Steps done, over all epochs: with the batch plan, the exact position in the data.
        config: Of the training.
        dataset: The training set's digest.
    """

    parameters: Parameters
    momentum: Parameters
    step: int
    config: Config
    dataset: str


TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")


def save_checkpoint(folder: Path, checkpoint: Checkpoint, versions: dict[str, str]) -> Path:
    """Write ``checkpoint`` as ``folder/step-NNNNNNNN`` and remove the older ones.

    It is written beside, synced and renamed, and only then are the older ones removed: whenever
    the process is killed, the newest folder of that name is complete. ``state.json`` holds the
    digests of the two other files, so that files of different steps never pass as one checkpoint.

    Raises:
        InputError: If it cannot be written, or a checkpoint of that step exists.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    beside = folder / f".{target.name}.partial"
    with writing(target):
        for unfinished in folder.glob(".step-*.partial"):
            shutil.rmtree(unfinished)
        beside.mkdir(parents=True)
        backbone = {"backbone": checkpoint.config.recipe.backbone}
        tensors = (checkpoint.parameters, checkpoint.momentum)
        for name, arrays in zip(TENSOR_FILES, tensors, strict=True):
            save_parameters(beside / name, arrays, backbone)
        state = {
            "step": checkpoint.step,
            "config": checkpoint.config.to_json(),
            "dataset": checkpoint.dataset,
            "versions": versions,
            "sha256": {name: file_digest(beside / name) for name in TENSOR_FILES},
        }
        write_json(beside / "state.json", state)
        sync_folder(beside)
        beside.replace(target)
        sync_folder(folder)
        for older in folder.glob("step-*"):
            if older != target:
                shutil.rmtree(older)
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the newest checkpoint of a run folder, or the checkpoint folder ``path`` itself.

    Raises:
        InputError: If there is none, or it is not complete and consistent.
    """
    folder = path
    if not (path / "state.json").is_file():
        checkpoints = sorted((path / "checkpoints").glob("step-*"))
        if not checkpoints:
            raise InputError(f"{path}: holds no checkpoint to resume from: start anew with --out")
        folder = checkpoints[-1]
    with reading_json(folder / "state.json", "a checkpoint's state") as state:
        step = int(state["step"])
        config = Config.from_json(state["config"])
        dataset = str(state["dataset"])
        digests = {name: str(state["sha256"][name]) for name in TENSOR_FILES}
    model, optimizer = (folder / name for name in TENSOR_FILES)
    parameters, _ = read_parameters(model)
    check_parameters(model, parameters, config.recipe.backbone)
    momentum, _ = read_parameters(optimizer)
    for path in (model, optimizer):
        if file_digest(path) != digests[path.name]:
            raise InputError(
                f"{path}: is not the file whose digest is in {folder / 'state.json'}: "
                "take another checkpoint"
            )
    recipe = config.recipe
    expected = set(trainable_names(recipe)) if recipe.momentum and step else set()
    if set(momentum) != expected or any(
        array.shape != parameters[name].shape for name, array in momentum.items()
    ):
        raise InputError(f"{optimizer}: does not hold the momentum buffers of {model}")
    return Checkpoint(parameters, momentum, step, config, dataset)


def momentum_for(checkpoint: Checkpoint, recipe: Recipe) -> Parameters:
    """Return the checkpoint's momentum for ``recipe``; zeros for parameters that had none."""
    if not recipe.momentum or not checkpoint.step:
        return {}
    return {
        name: checkpoint.momentum.get(name, np.zeros_like(checkpoint.parameters[name]))
        for name in trainable_names(recipe)
    }


def check_same_training(checkpoint: Checkpoint, config: Config, dataset: str) -> list[str]:
    """Return how ``config`` and ``dataset`` differ from what the checkpoint was trained with.

    What does not change the computation (device, precision, threads, ...) is not compared. The
    number of devices is: each normalises its own part of a batch.
    """
    old, new = checkpoint.config, config
    names = [field.name for field in fields(Recipe) if field.name != "name"]
    pairs = {name: (getattr(old.recipe, name), getattr(new.recipe, name)) for name in names}
    pairs |= {name: (getattr(old, name), getattr(new, name)) for name in ("seed", "devices")}
    differences = [f"{name} {a!r} -> {b!r}" for name, (a, b) in pairs.items() if a != b]
    if checkpoint.dataset != dataset:
        differences.append(f"data set {checkpoint.dataset[:12]} -> {dataset[:12]}")
    return differences
