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

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.data.voc import VOID
from common.errors import InputError
from common.parameters.files import backbone_of, check_parameters, read_tensors
from common.parameters.names import NUM_CLASSES, is_statistic, layer_names
from common.recipes import STRIDE, Recipe, make_recipe
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.tolerances import bound
from common.reference.verdicts import Finding, breaches, reason

Arrays = dict[str, NDArray]
MODES = ("evaluation", "training")


class Question(NamedTuple):
    """What a file asks the reference."""

    path: Path
    parameters: Arrays
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None
    recipe: Recipe
    learning_rate: float


class Comparison(NamedTuple):
    """Every output of a file beside its bound, in forward order."""

    backbone: str
    findings: list[Finding]


def compare_file(path: Path) -> Comparison:
    """Return every output's error beside its bound.

    Raises:
        InputError: If the file cannot be read, or lacks what its outputs are to be compared with.
    """
    arrays, metadata = read_tensors(path)
    outputs = {name: value for name, value in arrays.items() if "/" in name}
    parameters = {name: value for name, value in arrays.items() if "/" not in name}
    images, labels = parameters.pop("images", None), parameters.pop("labels", None)
    if images is None or not outputs:
        raise InputError(f"{path}: needs images, the parameters, and at least one MODE/LAYER")
    backbone = backbone_of(path, parameters)
    check_parameters(path, parameters, backbone)
    check_bytes(path, images, labels)
    recipe = make_recipe(metadata.get("recipe", "chapter-torch"), backbone=backbone)
    try:
        rate = float(metadata.get("learning_rate", recipe.learning_rate))
    except ValueError as problem:
        raise InputError(f"{path}: metadata learning_rate: {problem}") from problem
    question = Question(path, parameters, images, labels, recipe, rate)
    expected = answers(question, {name.partition("/")[0] for name in outputs})
    if unknown := sorted(outputs.keys() - expected.keys()):
        raise InputError(f"{path}: {unknown[0]} is the name of no output of {backbone}")
    findings = []
    for name, answer in expected.items():
        if name in outputs:
            quantity, error = quantity_of(name), relative_error(outputs[name], answer)
            findings.append(Finding(quantity, name, error, bound(quantity)))
    return Comparison(backbone, findings)


def check_bytes(path: Path, images: NDArray, labels: NDArray | None) -> None:
    """Raise InputError unless images and labels are bytes of the network's sizes and classes."""
    for name, array, more in (("images", images, [3]), ("labels", labels, [])):
        if array is None:
            continue
        sides, rest = array.shape[1:3], list(array.shape[3:])
        if array.dtype != np.uint8 or len(sides) < 2 or any(side % STRIDE for side in sides):
            raise InputError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}; "
                f"needed is uint8 with sides in multiples of {STRIDE}"
            )
        if rest != more:
            raise InputError(f"{path}: {name} is {list(array.shape)}, not {['B', 'H', 'W', *more]}")
    if labels is not None and ((labels >= NUM_CLASSES) & (labels != VOID)).any():
        raise InputError(f"{path}: labels has values that are neither 0..20 nor {VOID}")


def answers(question: Question, kinds: set[str]) -> Arrays:
    """Return the reference's outputs of some kinds, ``KIND/NAME``, in forward order."""
    parameters, images, labels = question.parameters, question.images, question.labels
    recipe = question.recipe
    outputs: Arrays = {}
    for mode in MODES:
        if mode in kinds:
            passed = reference.forward(parameters, images, recipe.backbone, mode == "training")
            names = layer_names(recipe.backbone)
            outputs |= {f"{mode}/{name}": passed.layers[name] for name in names}
    if kinds & {"gradient", "after"}:
        if labels is None or labels.shape != images.shape[:3]:
            message = "gradients and updates need labels of the images' size"
            raise InputError(f"{question.path}: {message}")
        _, gradients, statistics = reference.gradients(parameters, images, labels, recipe)
        outputs |= {f"gradient/{name}": gradients[name] for name in reversed(gradients)}
        after, _ = reference.sgd_step(parameters, {}, gradients, recipe, question.learning_rate)
        outputs |= {f"after/{name}": value for name, value in {**after, **statistics}.items()}
    return outputs


def quantity_of(name: str) -> str:
    """Return the quantity of ``common.reference.tolerances`` that an output is."""
    kind, _, part = name.partition("/")
    if kind in MODES:
        return f"layer, {kind}"
    if kind == "gradient":
        return "gradient"
    return "statistics" if is_statistic(part) else "parameters"


def json_of(comparison: Comparison) -> str:
    """Return the comparison as JSON; an output that cannot be compared has no error."""
    rows = [
        {
            "name": one.name,
            "error": one.error if math.isfinite(one.error) else None,
            "limit": one.limit,
            "passed": one.passed,
        }
        for one in comparison.findings
    ]
    broken = breaches(comparison.findings)
    first = broken[0].name if broken else None
    return json.dumps(
        {"backbone": comparison.backbone, "passed": not broken, "first": first, "rows": rows}
    )


def table_of(comparison: Comparison) -> str:
    """Return the comparison as text, the verdict last."""
    width = max(len(one.name) for one in comparison.findings)
    lines = [
        f"{one.name.ljust(width)}  {_cell(one.error)}  of {one.limit:.0e}"
        + ("" if one.passed else "  differs")
        for one in comparison.findings
    ]
    verdict = reason(comparison.findings) or "equals the reference"
    return "\n".join([*lines, f"{comparison.backbone}: {verdict}"])


def _cell(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "no number"
