"""`fcn parity --against FILE`: another program's network against the float64 reference.

The file is a safetensors file that brings its own question: the network's parameters under their
canonical names, ``images`` (uint8 [B, H, W, 3], RGB, sides in multiples of 32), and what the
program made of them, any part of

- ``evaluation/LAYER`` and ``training/LAYER``: outputs [B, H, W, C] by the names of
  ``common.parameters.names``; ``transpose_conv`` are the logits;
- ``gradient/NAME`` by parameter, and ``after/NAME``, parameters and running statistics after one
  SGD step; both need ``labels``, uint8 [B, H, W].

Its metadata may name a ``recipe`` (``chapter-torch`` by default), which says how the loss is
reduced and what decays, and the step's ``learning_rate`` (the recipe's by default).
"""

from collections.abc import Iterable, Mapping
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.answers import layers_file, steps_file
from common.classes import VOID
from common.errors import InputError
from common.parameters.files import check_parameters, network_of, read_own
from common.parameters.names import (
    is_statistic,
    layer_names,
    layers,
    parameter_shapes,
    trainable_names,
)
from common.recipes import STRIDE, Network, Recipe, make_recipe
from common.reference.distances import relative_error
from common.reference.verdicts import Finding, proof_findings

QUANTITIES = {
    "evaluation": "layer, evaluation",
    "training": "layer, training",
    "gradient": "gradient",
    "after": "parameters",
}
"""How an output's name begins -> its quantity in ``common.reference.tolerances``, if it is not a
running statistic."""


MENDED = 1e-2
"""Below this error an output is that of its layer, and has its axes in another order."""


class Comparison(NamedTuple):
    """Every output of a file beside its bound, in the order of a step.

    Attributes:
        shapes: By output, what is wrong with a shape and what would be right.
    """

    network: Network
    findings: list[Finding]
    shapes: dict[str, str]


def compare_file(path: Path) -> Comparison:
    """Return every output's error beside its bound.

    Raises:
        InputError: If the file cannot be read, or lacks what its outputs are to be compared with.
    """
    content = read_own(path)
    arrays, metadata = content.tensors, content.metadata
    outputs = {name: value for name, value in arrays.items() if "/" in name}
    parameters = {name: value for name, value in arrays.items() if "/" not in name}
    images, labels = parameters.pop("images", None), parameters.pop("labels", None)
    if images is None or not outputs:
        raise InputError(
            f"{path}: needs images, the parameters, and at least one MODE/LAYER; "
            "docs/PORTING.md says what the file holds"
        )
    network = network_of(path, parameters)
    check_parameters(path, parameters, network)
    check_bytes(path, images, labels, network.num_classes)
    preset = metadata.get("recipe", "chapter-torch")
    recipe = make_recipe(preset, backbone=network.backbone, head=network.head)
    try:
        rate = float(metadata.get("learning_rate", recipe.learning_rate))
    except ValueError as problem:
        raise InputError(
            f"{path}: metadata learning_rate: {problem}; write a number, such as 0.001"
        ) from problem
    kinds = check_outputs(path, outputs, recipe)
    needs_step = kinds & {"gradient", "after"}
    if needs_step and (labels is None or labels.shape != images.shape[:3]):
        shape = "absent" if labels is None else list(labels.shape)
        raise InputError(
            f"{path}: gradients and updates need labels, uint8 {list(images.shape[:3])} as the "
            f"images; labels is {shape}: add them, or leave out gradient/ and after/"
        )
    files = []
    if kinds & {"evaluation", "training"}:
        files.append(layers_file(recipe, images, None, parameters))
    if needs_step and labels is not None:
        counts = [len(images)]
        files.append(steps_file(recipe, images, labels, counts, "float64", parameters, [rate]))
    expected: dict[str, NDArray] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as answers:
            names = (name for name in answers.files if name.partition("/")[0] in QUANTITIES)
            expected |= {name: answers[name] for name in names}
    findings = proof_findings(errors_of(outputs, expected), "float32")
    wrong = (finding.name for finding in findings if not finding.passed)
    shapes = {name: shape_of(outputs[name], expected[name]) for name in wrong if name in expected}
    return Comparison(network, findings, {name: text for name, text in shapes.items() if text})


def shape_of(output: NDArray, expected: NDArray) -> str:
    """Return what is wrong with the shape of an output, and what mends it; nothing where it fits.

    An output whose axes stand in another order, as of NCHW, fits after a transposition. Of several
    that fit, as where height and width are equal, the one with the least error is told; so is one
    of the same shape that is right after it.
    """
    fitting = [
        axes
        for axes in permutations(range(output.ndim))
        if output.transpose(axes).shape == expected.shape
    ]
    errors = {axes: relative_error(output.transpose(axes), expected) for axes in fitting}
    nearest = min(fitting, key=lambda axes: errors[axes], default=())
    same = tuple(range(output.ndim))
    if output.shape == expected.shape and (nearest == same or not errors[nearest] < MENDED):
        return ""
    mending = f": save np.transpose(x, {nearest})" if expected.ndim == 4 and nearest else ""
    return f"is {list(output.shape)}, needs {list(expected.shape)}{mending}"


def layer_shapes(network: Network) -> dict[str, str]:
    """Return the shape of the output of each layer that can be compared, by its name.

    H and W are the images' height and width, B is their number.
    """
    channels, strides = {"images": 3}, {"images": 1}
    for layer in layers(network):
        name, x = layer.name, layer.inputs[0]
        is_convolution = layer.kind in ("convolution", "transpose_convolution")
        channels[name] = layer.shapes[f"{name}.weight"][0] if is_convolution else channels[x]
        upsamples = layer.kind == "transpose_convolution"
        strides[name] = strides[x] // layer.stride if upsamples else strides[x] * layer.stride
    shapes = {}
    for name in layer_names(network):
        part = f"/{strides[name]}" if strides[name] > 1 else ""
        shapes[name] = f"[B, H{part}, W{part}, {channels[name]}]"
    return shapes


def check_outputs(path: Path, outputs: Iterable[str], recipe: Recipe) -> set[str]:
    """Return the kinds of a file's outputs; asked before minutes go into the reference's.

    Raises:
        InputError: For a name that no layer and no parameter of the network has.
    """
    layers_of, arrays = layer_names(recipe.network), parameter_shapes(recipe.network)
    names = {
        "evaluation": layers_of,
        "training": layers_of,
        "gradient": trainable_names(recipe),
        "after": arrays,
    }
    kinds = set()
    for output in sorted(outputs):
        kind, _, name = output.partition("/")
        if name not in names.get(kind, ()):
            raise InputError(
                f"{path}: there is no output {output}: expected "
                f"{', '.join(f'{kind}/NAME' for kind in QUANTITIES)}, with NAME of a layer or a "
                "parameter; `fcn weights show` lists the parameters, docs/PORTING.md says more"
            )
        kinds.add(kind)
    return kinds


def errors_of(
    outputs: Mapping[str, NDArray], expected: Mapping[str, NDArray]
) -> dict[str, dict[str, float]]:
    """Return the relative error of every output by quantity and name."""
    errors: dict[str, dict[str, float]] = {}
    for name, answer in expected.items():
        if name in outputs:
            kind = name.partition("/")[0]
            is_moved = kind == "after" and is_statistic(name)
            quantity = "statistics" if is_moved else QUANTITIES[kind]
            errors.setdefault(quantity, {})[name] = relative_error(outputs[name], answer)
    return errors


def check_bytes(path: Path, images: NDArray, labels: NDArray | None, num_classes: int) -> None:
    """Raise InputError unless images and labels are bytes of the network's sizes and classes."""
    for name, array, channels in (("images", images, (3,)), ("labels", labels, ())):
        if array is None:
            continue
        sides = array.shape[1:3]
        are_sides = len(sides) == 2 and not any(side % STRIDE for side in sides)
        if array.dtype != np.uint8 or not are_sides or array.shape[3:] != channels:
            shape = ", ".join(["B", "H", "W", *map(str, channels)])
            raise InputError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}; expected uint8 [{shape}], "
                f"H and W in multiples of {STRIDE}: save it so"
            )
    if labels is not None and ((labels >= num_classes) & (labels != VOID)).any():
        raise InputError(
            f"{path}: labels has values that are neither 0..{num_classes - 1} nor {VOID}: "
            f"number the classes of the head from 0, {VOID} for void"
        )
