"""Checkpoints: a training's whole state in canonical form, so that any backend resumes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.config import Config
from common.errors import InputError
from common.machine.files import file_digest, sync_folder, write_json
from common.parameters.files import check_parameters, read_parameters, save_parameters
from common.parameters.names import Parameters, trainable_names
from common.recipes import Recipe


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on, and what it came from.

    Attributes:
        parameters, momentum: By canonical name; no momentum before the first step or without it.
        step: Steps done, over all epochs: with the batch plan, the exact position in the data.
        config: ``Config.to_json()`` of the training.
        dataset: The training set's digest.
    """

    parameters: Parameters
    momentum: Parameters
    step: int
    config: dict[str, Any]
    dataset: str


TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")


def save_checkpoint(folder: Path, checkpoint: Checkpoint, versions: dict[str, str]) -> Path:
    """Write ``checkpoint`` as ``folder/step-NNNNNNNN`` and remove the older ones.

    It is written beside, synced and renamed, and only then are the older ones removed: at any
    moment of a kill the newest folder of that name is complete. ``state.json`` has the digests of
    the two other files, so that files of different steps are never taken for one checkpoint.

    Raises:
        InputError: If it cannot be written, or there is one of that step.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    beside = folder / f".{target.name}.partial"
    try:
        for killed in folder.glob(".step-*.partial"):
            shutil.rmtree(killed)
        beside.mkdir(parents=True)
        backbone = {"backbone": checkpoint.config["recipe"]["backbone"]}
        tensors = (checkpoint.parameters, checkpoint.momentum)
        for name, arrays in zip(TENSOR_FILES, tensors, strict=True):
            save_parameters(beside / name, arrays, backbone)
        state = {
            "step": checkpoint.step,
            "config": checkpoint.config,
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
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the newest checkpoint of a run folder, or the checkpoint folder ``path`` itself.

    Raises:
        InputError: If there is none, or it is not complete and consistent.
    """
    folder = path
    if not (path / "state.json").is_file():
        found = sorted((path / "checkpoints").glob("step-*"))
        if not found:
            raise InputError(
                f"{path}: holds no checkpoint to resume from: start it anew with --out"
            )
        folder = found[-1]
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        step = int(state["step"])
        recipe = Config.from_json(state["config"]).recipe
        dataset = str(state["dataset"])
        digests = {name: str(state["sha256"][name]) for name in TENSOR_FILES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'state.json'}: not a checkpoint's state ({error})") from error
    model, optimizer = (folder / name for name in TENSOR_FILES)
    parameters, _ = read_parameters(model)
    check_parameters(model, parameters, recipe.backbone)
    momentum, _ = read_parameters(optimizer)
    for path in (model, optimizer):
        if file_digest(path) != digests[path.name]:
            raise InputError(f"{path}: not the file that {folder / 'state.json'} was written with")
    expected = set(trainable_names(recipe)) if recipe.momentum and step else set()
    if set(momentum) != expected or any(
        array.shape != parameters[name].shape for name, array in momentum.items()
    ):
        raise InputError(f"{optimizer}: not the momentum buffers of {model}")
    return Checkpoint(parameters, momentum, step, state["config"], dataset)


def momentum_for(checkpoint: Checkpoint, recipe: Recipe) -> Parameters:
    """Return what ``recipe``'s optimizer takes over of a checkpoint's; zeros for what is new."""
    if not recipe.momentum or not checkpoint.step:
        return {}
    return {
        name: checkpoint.momentum.get(name, np.zeros_like(checkpoint.parameters[name]))
        for name in trainable_names(recipe)
    }


def check_same_training(checkpoint: Checkpoint, config: Config, dataset: str) -> list[str]:
    """Return how ``config`` and ``dataset`` differ from what the checkpoint was trained with.

    What does not change the computation (device, precision, threads, ...) is not compared; batch
    norm sees but a device's part of a batch, so the number of devices is.
    """
    old, new = checkpoint.config, config.to_json()
    new["recipe"] |= {name: list(new["recipe"][name]) for name in ("crop", "tile")}
    differences = [
        f"{field} {old['recipe'].get(field)!r} -> {value!r}"
        for field, value in new["recipe"].items()
        if field != "name" and old["recipe"].get(field) != value
    ]
    if old["seed"] != new["seed"]:
        differences.append(f"seed {old['seed']} -> {new['seed']}")
    if old.get("devices", 1) != new["devices"]:
        differences.append(f"devices {old.get('devices', 1)} -> {new['devices']}")
    if checkpoint.dataset != dataset:
        differences.append(f"data set {checkpoint.dataset[:12]} -> {dataset[:12]}")
    return differences
