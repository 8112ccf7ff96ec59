"""Checkpoints: a training's whole state in canonical form, so that any backend resumes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import Config
from common.errors import InputError
from common.files import sync_folder, write_json
from common.parameters import Parameters, trainable_names
from common.weights import check_parameters, read_parameters, save_parameters


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


def save_checkpoint(folder: Path, checkpoint: Checkpoint, versions: dict[str, str]) -> Path:
    """Write ``checkpoint`` as ``folder/step-NNNNNNNN`` and remove the older ones.

    It is written beside, synced and renamed: at any moment of a kill the newest folder of that name
    is complete.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    beside = folder / f".{target.name}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    backbone = {"backbone": checkpoint.config["recipe"]["backbone"]}
    save_parameters(beside / "model.safetensors", checkpoint.parameters, backbone)
    save_parameters(beside / "optimizer.safetensors", checkpoint.momentum, backbone)
    state = {
        "step": checkpoint.step,
        "config": checkpoint.config,
        "dataset": checkpoint.dataset,
        "versions": versions,
    }
    write_json(beside / "state.json", state)
    sync_folder(beside)
    if target.exists():
        # The same step again, after a resume: the same content, so the older may go first.
        shutil.rmtree(target)
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
        found = sorted((path / "checkpoints").glob("step-*"))
        if not found:
            raise InputError(f"{path}: holds no checkpoint to resume from")
        folder = found[-1]
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        step = int(state["step"])
        recipe = Config.from_json(state["config"]).recipe
        dataset = str(state["dataset"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'state.json'}: not a checkpoint's state ({error})") from error
    model = folder / "model.safetensors"
    parameters, _ = read_parameters(model)
    check_parameters(model, parameters, recipe.backbone)
    optimizer = folder / "optimizer.safetensors"
    momentum, _ = read_parameters(optimizer)
    expected = set(trainable_names(recipe)) if recipe.momentum and step else set()
    if set(momentum) != expected or any(
        array.shape != parameters[name].shape for name, array in momentum.items()
    ):
        raise InputError(f"{optimizer}: not the momentum buffers of {model}")
    return Checkpoint(parameters, momentum, step, state["config"], dataset)


def check_same_training(checkpoint: Checkpoint, config: Config, dataset: str) -> list[str]:
    """Return how ``config`` and ``dataset`` differ from what the checkpoint was trained with.

    What does not change the computation (device, precision, threads, ...) is not compared.
    """
    old, new = checkpoint.config, config.to_json()
    new["recipe"]["crop"] = list(new["recipe"]["crop"])
    differences = [
        f"{field} {old['recipe'].get(field)!r} -> {value!r}"
        for field, value in new["recipe"].items()
        if field != "name" and old["recipe"].get(field) != value
    ]
    if old["seed"] != new["seed"]:
        differences.append(f"seed {old['seed']} -> {new['seed']}")
    if checkpoint.dataset != dataset:
        differences.append(f"data set {checkpoint.dataset[:12]} -> {dataset[:12]}")
    return differences
