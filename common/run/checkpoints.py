"""Checkpoints: a training's whole state in canonical form, which any backend can resume."""

import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from common.classes import changed
from common.config import Config
from common.errors import InputError
from common.fields import title
from common.machine.files import (
    file_digest,
    json_digest,
    json_text,
    reading_json,
    sync_folder,
    write_bytes,
    writing,
)
from common.parameters.files import (
    check_parameters,
    describe_network,
    read_parameters,
    save_parameters,
)
from common.parameters.names import Parameters, trainable_names
from common.recipes import HEADS, Network, Recipe
from common.run.log import LogPart


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on, and what it came from.

    Attributes:
        parameters, momentum: By canonical name; no momentum before the first step or without it.
        step: Steps done, over all epochs: with the batch plan, the exact position in the data.
        config: Of the training.
        dataset: The training set's digest.
        log: What of the run's log belongs to it; None in one that was written before it said so.
    """

    parameters: Parameters
    momentum: Parameters
    step: int
    config: Config
    dataset: str
    log: LogPart | None = None


def trained_arrays(recipe: Recipe, parameters: Parameters, momentum: Parameters) -> Parameters:
    """Return what a step updates: the trained parameters, and the momentum under names of its own.

    The running statistics are not among them: of several replicas each has its own meanwhile.
    """
    trained = {name: parameters[name] for name in trainable_names(recipe)}
    return trained | {f"the momentum of {name}": value for name, value in momentum.items()}


TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")


def save_checkpoint(folder: Path, checkpoint: Checkpoint, versions: dict[str, str]) -> Path:
    """Write ``checkpoint`` as ``folder/step-NNNNNNNN`` and remove the older ones.

    It is written beside, synced and renamed, and only then are the older ones removed: whenever
    the process is killed, the newest folder of that name is complete. ``state.json`` holds the
    digests of the two other files, of the log up to here and of itself, so that what belongs to
    different steps, or was changed, never passes as one checkpoint.

    Raises:
        InputError: If it cannot be written, or a checkpoint of that step exists.
    """
    target = folder / _name(checkpoint.step)
    beside = folder / f".{target.name}.partial"
    with writing(target):
        for unfinished in folder.glob(".step-*.partial"):
            shutil.rmtree(unfinished)
        folder.mkdir(exist_ok=True)  # Not the run's: if somebody removed that, the run is lost.
        beside.mkdir()
        described = describe_network(checkpoint.config.recipe)
        tensors = (checkpoint.parameters, checkpoint.momentum)
        for name, arrays in zip(TENSOR_FILES, tensors, strict=True):
            save_parameters(beside / name, arrays, described, make_folder=False)
        state: dict[str, Any] = {
            "step": checkpoint.step,
            "config": checkpoint.config.to_json(),
            "dataset": checkpoint.dataset,
            "versions": versions,
            "sha256": {name: file_digest(beside / name) for name in TENSOR_FILES},
        }
        if checkpoint.log is not None:
            state["log"] = checkpoint.log._asdict()
        text = json_text({**state, "digest": json_digest(state)})
        write_bytes(beside / "state.json", text.encode(), make_folder=False)
        sync_folder(beside)
        beside.replace(target)
        sync_folder(folder)
        for older in folder.glob("step-*"):
            if older != target:
                shutil.rmtree(older)
    return target


def _name(step: int) -> str:
    return f"step-{step:08d}"


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run folder holds one."""
    return any((folder / "checkpoints").glob("step-*"))


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
    with reading_json(folder / "state.json", "a checkpoint's state") as document:
        state = {**document}  # Raises for what is no object.
        digest = state.pop("digest", None)  # Early checkpoints have none.
        if digest not in (None, json_digest(state)):
            raise ValueError("it was changed after it was written")
        step = int(state["step"])
        if folder != path and folder.name != _name(step):
            raise ValueError(f"it is of step {step}")
        config = Config.from_json(state["config"])
        dataset = str(state["dataset"])
        digests = {name: str(state["sha256"][name]) for name in TENSOR_FILES}
        log = state.get("log")
        part = LogPart(int(log["steps_per_epoch"]), str(log["sha256"])) if log else None
    model, optimizer = (folder / name for name in TENSOR_FILES)
    parameters, _ = read_parameters(model)
    check_parameters(model, parameters, config.recipe.network)
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
    return Checkpoint(parameters, momentum, step, config, dataset, part)


def momentum_for(checkpoint: Checkpoint, recipe: Recipe) -> Parameters:
    """Return the checkpoint's momentum for ``recipe``; zeros for parameters that had none."""
    if not recipe.momentum or not checkpoint.step:
        return {}
    return {
        name: checkpoint.momentum.get(name, np.zeros_like(checkpoint.parameters[name]))
        for name in trainable_names(recipe)
    }


def check_goes_on(
    resume: Path, checkpoint: Checkpoint, config: Config, dataset: str, may_change: bool
) -> None:
    """Raise InputError unless a training may go on from a checkpoint.

    It has to be of the same network, whatever else may change.

    Args:
        resume: The run or the checkpoint that ``--resume`` names.
        config, dataset: Of what is to be trained.
    """
    _check_same_network(resume, checkpoint, config.recipe.network)
    differences = check_same_training(checkpoint, config, dataset)
    if differences and not may_change:
        raise InputError(
            f"--resume {resume}: its training differs from this one "
            f"({'; '.join(differences)}); --resume-changed goes on all the same"
        )


def _check_same_network(resume: Path, checkpoint: Checkpoint, network: Network) -> None:
    own, model = checkpoint.config.recipe.network, resume / TENSOR_FILES[0]
    if not model.is_file():  # The run is not finished.
        model = resume / "checkpoints" / _name(checkpoint.step) / TENSOR_FILES[0]
    if HEADS[own.head] > HEADS[network.head] and own._replace(head=network.head) == network:
        raise InputError(
            f"--resume {resume}: its network is {own.title}, not {network.title}; begin another "
            f"training from its weights: leave --resume out, and name --weights {model}"
        )
    check_parameters(model, checkpoint.parameters, network)


def check_same_training(checkpoint: Checkpoint, config: Config, dataset: str) -> list[str]:
    """Return how ``config`` and ``dataset`` differ from what the checkpoint was trained with.

    What does not change the computation (device, precision, threads, ...) is not compared. The
    numbers of devices and of workers are: each normalises its own part of a batch.
    """
    old, new = _compared(checkpoint.config), _compared(config)
    differences = [
        f"{name} {old[name]!r} -> {new[name]!r}" for name in old if old[name] != new[name]
    ]
    if checkpoint.config.recipe.classes != config.recipe.classes:
        differences.append(changed(checkpoint.config.recipe.classes, config.recipe.classes))
    if checkpoint.dataset != dataset:
        differences.append(f"data set {checkpoint.dataset[:12]} -> {dataset[:12]}")
    return differences


def _compared(config: Config) -> dict[str, Any]:
    """Return the values that a training and its resume have in common, by the user's names."""
    own = [field for field in fields(Recipe) if field.name not in ("name", "classes")]
    others = [field for field in fields(Config) if field.name in ("seed", "devices", "workers")]
    return {title(field): getattr(config.recipe, field.name) for field in own} | {
        title(field): getattr(config, field.name) for field in others
    }
