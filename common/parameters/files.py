"""Weight files: safetensors of the canonical parameters, and other files that are converted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.classes import VOC, VOID, Classes
from common.documents import WeightsRecord
from common.errors import InputError
from common.machine.files import file_digest, read_json, write_bytes
from common.parameters.foreign import read_pytorch
from common.parameters.gluon import read_gluon
from common.parameters.initial import initial_parameters
from common.parameters.kinds import GLUON, PYTORCH, SAFETENSORS, kind_of
from common.parameters.names import NUM_CLASSES, Parameters, parameter_shapes
from common.parameters.published import IMAGENET, PUBLISHED, published_file
from common.parameters.schemes import HEAD_LAYERS, Weights, canonical, some
from common.parameters.tensors import TensorFile, read_safetensors
from common.recipes import BACKBONES, HEADS, Network, Recipe

LIMIT = 2 * 2**30
"""Bytes that a weight file may have, and its tensors in memory: the network's are 50 MB."""


def save_parameters(
    path: Path, parameters: Parameters, metadata: dict[str, str], make_folder: bool = True
) -> None:
    """Write ``parameters`` as safetensors; the file is whole or unchanged.

    Args:
        path: The file; a previous one is replaced.
        parameters: Canonical parameters, or momentum buffers under the same names.
        metadata: The model's description; the format allows strings only.
        make_folder: As of ``common.machine.files.write_bytes``.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in parameters.items()}
    data = save(arrays)
    # safetensors writes metadata in another order in each process; equal content is equal bytes.
    length = int.from_bytes(data[:8], "little")
    described = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    header = described | json.loads(data[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = len(text).to_bytes(8, "little") + text + data[8 + length :]
    write_bytes(path, data, make_folder)


def read_file(path: Path, limit: int = LIMIT) -> TensorFile:
    """Read a weight file of any kind; its content says which it is, not its name.

    Args:
        path: The file.
        limit: Bytes that the file may have, and its tensors in memory.

    Raises:
        InputError: If it is absent, broken, too large or of a kind that is not read.
    """
    kind = kind_of(path, limit)
    if kind == PYTORCH:
        return read_pytorch(path, limit)
    return (read_gluon if kind == GLUON else read_safetensors)(path, path.read_bytes())


def read_own(path: Path) -> TensorFile:
    """Read the tensors, of any names and types, and the metadata of a safetensors file.

    Raises:
        InputError: If the file is absent, truncated, or not safetensors of NumPy's types.
    """
    kind = kind_of(path, LIMIT)
    if kind != SAFETENSORS:
        raise InputError(
            f"{path}: is a file of {kind}'s, expected safetensors: "
            f"`fcn weights import {path} --out FILE` converts it"
        )
    return read_safetensors(path, path.read_bytes())


def read_parameters(path: Path) -> tuple[Parameters, dict[str, str]]:
    """Read a safetensors file as ``save_parameters`` writes it: float32 tensors and metadata.

    Raises:
        InputError: If the file is absent, truncated, not safetensors, not float32 or not finite.
    """
    content = read_own(path)
    for name, array in content.tensors.items():
        if content.types[name] != "float32":
            raise InputError(f"{path}: {name} is {content.types[name]}, expected float32")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds values that are not finite numbers")
    return content.tensors, content.metadata


def check_parameters(
    path: Path, parameters: Parameters, network: Network, head: bool = True
) -> None:
    """Raise InputError, naming tensors and shapes, unless ``parameters`` are ``network``'s.

    Args:
        head: Expect the head's parameters too, or the backbone's alone.
    """
    expected = {
        name: shape
        for name, shape in parameter_shapes(network).items()
        if head or name.startswith("backbone.")
    }
    missing = [name for name in expected if name not in parameters]
    extra = [name for name in parameters if name not in expected]
    wrong = [
        f"{name} is {parameters[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in parameters and parameters[name].shape != shape
    ]
    kinds = {"missing": missing, "not expected": extra, "of another shape": wrong}
    problems = [
        f"{len(names)} {what} ({some(names, '; ')})" for what, names in kinds.items() if names
    ]
    if not problems:
        return
    own = _likely(parameters)
    options = [
        f"--{option} {value}"
        for option, value in own._asdict().items()
        if option != "num_classes" and value != getattr(network, option)
    ]
    hint = ""
    if missing and not (extra or wrong or _has_head(parameters)):
        hint = "; it has no head: `fcn train --weights` gives it one"
    elif options and _fits(parameters, own):
        hint = f"; it is {own.head} on {own.backbone}: use {' '.join(options)}"
    elif own.num_classes != network.num_classes:
        hint = (
            f"; its head tells {own.num_classes} classes apart, not {network.num_classes}: name "
            f"its own list with --classes, or take its backbone alone, which `fcn weights import "
            f"{path} --without-head --out FILE` writes"
        )
    kind = f"{network.head} on {network.backbone}"
    raise InputError(f"{path}: not the weights of {kind}: {', '.join(problems)}{hint}")


def starting_parameters(
    recipe: Recipe,
    seed: int,
    weights: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Parameters:
    """Return the parameters a training starts from.

    ``weights`` is ``imagenet``, the published weights of the recipe's backbone, or a file as
    ``read_weights`` takes it. If it holds a backbone alone, the head is drawn from the seed; if its
    head scores fewer maps than the recipe's, what that one has more. If something was changed in
    reading it or is drawn beside a head, ``say`` is called with a line about that.

    Raises:
        InputError: If the file does not fit the recipe's backbone, or its head scores more maps.
    """
    parameters = initial_parameters(recipe, seed)
    if weights is None:
        return parameters
    source = IMAGENET[recipe.backbone] if str(weights) == "imagenet" else str(weights)
    loaded, changes, metadata = read_weights(source)
    has_head, own, network = _has_head(loaded), _likely(loaded).head, recipe.network
    if HEADS[own] > HEADS[recipe.head]:
        network = network._replace(head=own)
    check_parameters(weights, loaded, network, has_head)
    shapes = {name: array.shape for name, array in loaded.items()}
    new = [name for name, array in parameters.items() if shapes.get(name) != array.shape]
    if has_head and new:
        changes.append(f"its head is {own}, so {recipe.head} starts with new {', '.join(new)}")
    named = has_head and stated_classes(weights, metadata)
    if named and named.names != recipe.classes.names:
        changes.append(f"its head was trained for other classes, {named!r}")
    if changes and say:
        say(f"{weights}: {'; '.join(changes)}")
    return {**parameters, **loaded, **{name: parameters[name] for name in new}}


def describe_weights(recipe: Recipe, weights: Path | None) -> WeightsRecord | None:
    """Return name and SHA-256 of the file that ``starting_parameters`` reads; None without one."""
    if weights is None:
        return None
    published = IMAGENET[recipe.backbone] if str(weights) == "imagenet" else None
    path = published_file(published) if published else weights
    return {"name": published or weights.name, "sha256": file_digest(path)}


def read_weights(source: str, limit: int = LIMIT) -> Weights:
    """Read canonical parameters, of a whole network or a backbone alone.

    Args:
        source: One of ``common.parameters.published.PUBLISHED``, or a file of any of the kinds and
            with any of the names that ``common.parameters.schemes`` lists.
        limit: Bytes that the file may have, and its tensors in memory.

    Raises:
        InputError: If it cannot be downloaded or read, or is of another network.
    """
    path = published_file(source) if source in PUBLISHED else Path(source)
    return canonical(path, read_file(path, limit))


def network_of(path: Path, parameters: Parameters) -> Network:
    """Return the network that ``parameters``, all of it or its backbone's, belong to.

    Raises:
        InputError: If they fit none, with what does not fit the likeliest.
    """
    network = _likely(parameters)
    check_parameters(path, parameters, network, _has_head(parameters))
    return network


def describe_network(recipe: Recipe) -> dict[str, str]:
    """Return the metadata that a weight file has of its network: backbone, head and classes."""
    classes = json.dumps(recipe.classes.to_json())
    return {"backbone": recipe.backbone, "head": recipe.head, "classes": classes}


def stated_classes(path: Path, metadata: dict[str, str]) -> Classes | None:
    """Return the class list in a weight file's metadata; None where there is none.

    Raises:
        InputError: If what stands there is no class list.
    """
    if "classes" not in metadata:
        return None
    try:
        return Classes.from_json(read_json(metadata["classes"]))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"{path}: classes in its metadata is not a class list ({error}): "
            "`fcn weights import --classes` names them anew"
        ) from error


def classes_of(path: Path, parameters: Parameters, metadata: dict[str, str]) -> Classes:
    """Return the classes that a network tells apart: those its file names, or VOC's if it has 21.

    Raises:
        InputError: If it names others than its head has, or has another number and names none.
    """
    count, stated = head_classes(parameters), stated_classes(path, metadata)
    if stated is None and count == NUM_CLASSES:
        return VOC
    if stated is None:
        raise InputError(
            f"{path}: its head tells {count} classes apart and the file does not name them: "
            "name them with --classes"
        )
    if len(stated.names) != count:
        raise InputError(
            f"{path}: its head tells {count} classes apart, but its metadata names "
            f"{len(stated.names)}: name them with --classes"
        )
    return stated


def head_classes(parameters: Parameters) -> int:
    """Return how many classes a head tells apart; without a sound one the chapter's number."""
    weight = parameters.get("final_conv.weight")
    sound = weight is not None and weight.ndim == 4 and 1 <= len(weight) <= VOID
    return len(weight) if weight is not None and sound else NUM_CLASSES


def _has_head(parameters: Parameters) -> bool:
    return any(name.rpartition(".")[0] in HEAD_LAYERS for name in parameters)


def _likely(parameters: Parameters) -> Network:
    """Return the network that has names as ``parameters`` has; without a head it is fcn32s."""
    # Only v2 has a norm after the last block.
    backbone = BACKBONES[any(name.startswith("backbone.final_bn.") for name in parameters)]
    scored = [head for head, stride in HEADS.items() if f"score{stride}.weight" in parameters]
    return Network(backbone, ["fcn32s", *scored][-1], head_classes(parameters))


def _fits(parameters: Parameters, network: Network) -> bool:
    shapes: dict[str, Any] = parameter_shapes(network)
    return bool(parameters) and all(
        shapes.get(name) == array.shape for name, array in parameters.items()
    )
