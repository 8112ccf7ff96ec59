"""The names that other programs give this network's parameters, and their canonical ones."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.parameters.names import Parameters, layers, parameter_shapes
from common.parameters.tensors import TensorFile
from common.recipes import BACKBONES, Network

HEAD = ("final_conv", "transpose_conv")
"""Layers of the chapter's head."""
HEAD_LAYERS = {
    layer.name: layer.kind
    for layer in layers(Network("resnet18_v1", "fcn8s"))
    if layer.shapes and not layer.name.startswith("backbone.")
}
"""Every layer that a head may have, and its kind."""
CLASSIFIER = "fc"
SEQUENTIAL = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
"""torchvision's name -> position in ``nn.Sequential(*list(resnet18.children())[:-2])``."""
_BOTH = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
POSITIONS = {"resnet18_v1": _BOTH, "resnet18_v2": ["data_bn", *_BOTH, "final_bn"]}
"""Backbone -> what lies at each position of ``features`` in Gluon's model zoo."""
BODY = {"conv1": "body.0", "bn1": "body.1", "conv2": "body.3", "bn2": "body.4"}
"""Layer of a v1 block -> its position in the zoo's block."""
NORM_PARTS = {"weight": "gamma", "bias": "beta"}
"""Part of a norm -> its name in Gluon."""
ZOO = "resnetv"
ZOO_PREFIX = re.compile(rf"^(arg:|aux:)?(\w*{ZOO}\d+_)?")
"""What an export, and a network's own prefix, put before the zoo's names by counter."""
UNUSED = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Last parts of the names of counters that PyTorch and programs beside it keep in a network."""
MOST_PREFIXES, SHARED = 6, 0.8
"""Prefixes before prefixes that are looked for, and the share of the names that has one."""
FLOATS = ("float32", "float64", "float16", "bfloat16")


class Weights(NamedTuple):
    """Parameters under canonical names, float32.

    Attributes:
        changes: In words, what was changed for that.
        metadata: The file's.
    """

    parameters: Parameters
    changes: list[str]
    metadata: dict[str, str]


class Translation(NamedTuple):
    """How a file's names become canonical.

    Attributes:
        prefix: What is before all names.
        names: The file's name -> canonical name; ``backbone.fc.`` is the classifier.
        unknown: Names that are none of this network's.
    """

    prefix: str
    names: dict[str, str]
    unknown: list[str]


def canonical(path: Path, content: TensorFile) -> Weights:
    """Return the parameters of ``content`` under canonical names, in float32.

    Known are the canonical names, torchvision's ``resnet18``, Hugging Face's, the networks of the
    chapter's PyTorch and MXNet tabs as their readers save them, and Gluon's zoo; each below any
    prefix that all names share. The classifier and the counters ``num_batches_tracked`` are left
    out. A bias that a layer of the head lacks is 0.

    Raises:
        InputError: If most names are of another network, a type is not a floating-point one, or a
            value is not finite in float32.
    """
    names = [name for name in content.tensors if not name.endswith(UNUSED)]
    best = translation(names)
    if len(best.names) <= len(best.unknown):
        raise InputError(
            f"{path}: holds no parameters of this network: expected the names of torchvision's "
            "resnet18, of Gluon's resnet18_v1 or resnet18_v2, or of the chapter's network; "
            f"it holds {some(names, ', ')}"
        )
    parameters = {
        **{new: _single(path, old, content) for old, new in best.names.items()},
        **{name: content.tensors[name] for name in best.unknown},
    }
    changes = [f"only its part {content.taken_from!r} is read"] if content.taken_from else []
    changes += [f"the prefix {best.prefix!r} taken off"] if best.prefix else []
    changes += _left_out(path, parameters)
    changes += _biases(parameters)
    types = sorted({content.types[name] for name in best.names} - {"float32"})
    changes += [f"{', '.join(types)} made float32"] if types else []
    return Weights(parameters, changes, content.metadata)


def translation(names: list[str]) -> Translation:
    """Return how ``names`` are understood: by the reading that leaves the fewest unknown."""
    readings = [
        Translation(prefix, *_translated(names, prefix, table))
        for prefix in _prefixes(names)
        for table in tables()
    ]
    return min(readings, key=lambda reading: (len(reading.unknown), len(reading.prefix)))


def _prefixes(names: list[str]) -> Iterator[str]:
    """Yield what may be before the backbone's names: nothing, the part most have, and so on.

    The head may lie elsewhere: ``1.weight`` of a network whose backbone has ``0.1.weight``.
    """
    prefix = ""
    for _ in range(MOST_PREFIXES):
        yield prefix
        own = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        parts = Counter(name.partition(".")[0] for name in own if "." in name)
        part, shares = max(parts.items(), key=lambda item: item[1], default=("", 0))
        if shares < SHARED * len(names):
            return
        prefix += f"{part}."


def _translated(
    names: list[str], prefix: str, table: dict[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return canonical names of what ``table`` or the head explains, and the other names."""
    known: dict[str, str] = {}
    others: list[str] = []
    # Where the zoo's own prefix is used, only the backbone has it.
    zoo = any(ZOO in name for name in names)
    for name in names:
        new = None
        if _is_head(name):
            new = ".".join(name.split(".")[-2:])
        elif name.startswith("classifier."):  # Beside the backbone, whatever its prefix.
            new = table.get(name)
        elif name.startswith(prefix) and (ZOO in name or not zoo):
            new = table.get(ZOO_PREFIX.sub("", name.removeprefix(prefix)))
        if new is None or new in known.values():
            others.append(name)
        else:
            known[name] = new
    by_position = _head_by_position(others)
    return known | by_position, [name for name in others if name not in by_position]


def _is_head(name: str) -> bool:
    return bool(re.search(rf"(^|\.)({'|'.join(HEAD_LAYERS)})\.(weight|bias)$", name))


def _head_by_position(names: list[str]) -> dict[str, str]:
    """Return the head's canonical names where its two layers are numbered: the first is 1x1.

    They are ``8.weight`` in a Sequential, ``11.weight`` in Gluon's, ``conv0_weight`` by counter.
    """
    layers: dict[int, dict[str, str]] = {}
    for name in names:
        if match := re.fullmatch(
            r"(?:arg:|aux:)?(?:(?:[\w.]+\.)?(\d+)\.|(?:\w+_)?conv(\d+)_)(weight|bias)", name
        ):
            layers.setdefault(int(match[1] or match[2]), {})[name] = match[3]
    if len(layers) != len(HEAD):
        return {}
    return {
        name: f"{layer}.{part}"
        for layer, number in zip(HEAD, sorted(layers), strict=True)
        for name, part in layers[number].items()
    }


@cache
def tables() -> tuple[dict[str, str], ...]:
    """Return a dictionary for each way of naming a backbone: foreign name -> canonical name."""
    found = []
    for backbone in BACKBONES:
        shapes = parameter_shapes(Network(backbone))
        canonical = [name for name in shapes if name.startswith("backbone.")]
        canonical += [f"backbone.{CLASSIFIER}.{part}" for part in ("weight", "bias")]
        names = [name.removeprefix("backbone.") for name in canonical]
        # Gluon's norm on the input has a scale and a shift, though of 1 and 0.
        more = [f"data_bn.{part}" for part in ("weight", "bias") if backbone == "resnet18_v2"]
        zoo = [_zoo_name(backbone, name) for name in (*more, *names)]
        features = [name.removeprefix("features.") for name in zoo]
        counted = list(_counted([*more, *names]))
        in_gluon = [f"backbone.{name}" for name in more] + canonical
        found += [
            dict(zip(canonical, canonical, strict=True)),
            dict(zip(names, canonical, strict=True)),
            dict(zip(map(_in_sequential, names), canonical, strict=True)),
            dict(zip(map(_in_transformers, names), canonical, strict=True)),
            *(dict(zip(own, in_gluon, strict=True)) for own in (zoo, features, counted)),
        ]
    return tuple(found)


def _in_sequential(name: str) -> str:
    """Return the name such as ``5.0.conv1.weight``, which has the layer's position."""
    layer, _, rest = name.partition(".")
    return f"{SEQUENTIAL.get(layer, layer)}.{rest}"


def _in_transformers(name: str) -> str:
    """Return the name in Hugging Face's ResNet."""
    place = re.fullmatch(r"(?:layer(\d)\.(\d)\.)?(conv|bn|downsample\.)(\d)\.(\w+)", name)
    if place is None:
        return name.replace(f"{CLASSIFIER}.", "classifier.1.")
    stage, block, kind, number, part = place.groups()
    inner = "shortcut" if kind == "downsample." else f"layer.{int(number) - 1}"
    outer = f"encoder.stages.{int(stage) - 1}.layers.{block}" if stage else "embedder"
    layer = "normalization" if _is_norm(name.rpartition(".")[0]) else "convolution"
    return f"{outer}.{inner if stage else 'embedder'}.{layer}.{part}"


def _zoo_name(backbone: str, name: str) -> str:
    """Return the name by attribute, such as ``features.5.0.body.3.weight``."""
    layer, _, part = name.rpartition(".")
    if layer == CLASSIFIER:
        return f"output.{part}"
    top, *inner = layer.split(".")
    if backbone == "resnet18_v1" and inner:
        inner = [inner[0], *(BODY.get(name, name) for name in inner[1:])]
    position = str(POSITIONS[backbone].index(top))
    return ".".join(["features", position, *inner, _gluon_part(layer, part)])


def _counted(names: list[str]) -> Iterator[str]:
    """Yield the names by counter, such as ``stage1_conv0_weight``: a stage's layers, in order."""
    counters: dict[tuple[str, str], Iterator[int]] = {}
    numbers: dict[str, int] = {}
    for name in names:
        layer, _, part = name.rpartition(".")
        kind = "dense" if layer == CLASSIFIER else "batchnorm" if _is_norm(layer) else "conv"
        stage = re.match(r"layer(\d)", layer)
        scope = f"stage{stage[1]}_" if stage else ""
        if layer not in numbers:
            numbers[layer] = next(counters.setdefault((scope, kind), count()))
        yield f"{scope}{kind}{numbers[layer]}_{_gluon_part(layer, part)}"


def _is_norm(layer: str) -> bool:
    return layer.endswith(("bn", "bn1", "bn2", "downsample.1"))


def _gluon_part(layer: str, part: str) -> str:
    return NORM_PARTS.get(part, part) if _is_norm(layer) else part


def _left_out(path: Path, parameters: Parameters) -> list[str]:
    """Take out what the network does not have; return that in words."""
    parameters.pop("backbone.data_bn.weight", None)  # Gluon takes 1 for it.
    shift = parameters.pop("backbone.data_bn.bias", np.zeros(3))
    if shift.any():
        raise InputError(f"{path}: the norm on the input has a shift: {shift.tolist()}, expected 0")
    classifier = [name for name in parameters if name.startswith(f"backbone.{CLASSIFIER}.")]
    for name in classifier:
        del parameters[name]
    return ["the classifier left out"] if classifier else []


def _biases(parameters: Parameters) -> list[str]:
    """Give the head's layers the biases that they lack; return that in words."""
    added = []
    for layer, kind in HEAD_LAYERS.items():
        axis = 1 if kind == "transpose_convolution" else 0
        weight = parameters.get(f"{layer}.weight")
        if weight is not None and weight.ndim == 4 and f"{layer}.bias" not in parameters:
            parameters[f"{layer}.bias"] = np.zeros(weight.shape[axis], np.float32)
            added.append(f"{layer}.bias, which is not in it, taken as 0")
    return added


def _single(path: Path, name: str, content: TensorFile) -> NDArray[np.float32]:
    """Return a tensor in float32."""
    if content.types[name] not in FLOATS:
        raise InputError(
            f"{path}: {name} is {content.types[name]}, expected one of {', '.join(FLOATS)}"
        )
    with np.errstate(over="ignore"):
        array = content.tensors[name].astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name} holds values that are not finite numbers in float32")
    return array


def some(names: list[str], between: str) -> str:
    """Return the first three of the names in a file."""
    shown = between.join(names[:3]) or "nothing"
    return shown if len(names) <= 3 else f"{shown}{between}..."
