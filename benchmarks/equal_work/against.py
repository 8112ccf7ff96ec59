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

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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

Arrays = dict[str, NDArray]
MODES = ("evaluation", "training")


def compare_file(path: Path) -> dict[str, Any]:
    """Return every output's error, its bound, and the first that is past it.

    Raises:
        InputError: If the file cannot be read, or lacks what its outputs are to be compared with.
    """
    arrays, metadata = read_tensors(path)
    given = {name: value for name, value in arrays.items() if "/" not in name}
    outputs = {name: value for name, value in arrays.items() if "/" in name}
    images, labels = given.pop("images", None), given.pop("labels", None)
    if images is None or not outputs:
        raise InputError(f"{path}: needs images, the parameters, and at least one MODE/LAYER")
    backbone = backbone_of(path, given)
    check_parameters(path, given, backbone)
    for name, array, more in (("images", images, [3]), ("labels", labels, [])):
        if array is None:
            continue
        sides, rest = array.shape[1:3], list(array.shape[3:])
        if array.dtype != np.uint8 or len(sides) < 2 or any(s % STRIDE for s in sides):
            raise InputError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}; "
                f"needed is uint8 with sides in multiples of {STRIDE}"
            )
        if rest != more:
            raise InputError(f"{path}: {name} is {list(array.shape)}, not {['B', 'H', 'W', *more]}")
    if labels is not None and ((labels >= NUM_CLASSES) & (labels != VOID)).any():
        raise InputError(f"{path}: labels has values that are neither 0..20 nor {VOID}")
    recipe = make_recipe(metadata.get("recipe", "chapter-torch"), backbone=backbone)
    try:
        rate = float(metadata.get("learning_rate", recipe.learning_rate))
    except ValueError as reason:
        raise InputError(f"{path}: metadata learning_rate: {reason}") from reason
    expected = answers(path, outputs, given, images, labels, recipe, rate)
    rows = []
    for name, answer in expected.items():
        if name in outputs:
            kind, _, part = name.partition("/")
            error = relative_error(outputs[name], answer)
            limit = bound(quantity_of(kind, part))
            # Of another shape, or with a value that is no number, an output has no error in JSON.
            finite = error if math.isfinite(error) else None
            rows.append({"name": name, "error": finite, "limit": limit, "passed": error <= limit})
    unknown = sorted(outputs.keys() - expected.keys())
    if unknown:
        raise InputError(f"{path}: {unknown[0]} is the name of no output of {backbone}")
    first = next((row["name"] for row in rows if not row["passed"]), None)
    return {"backbone": backbone, "passed": first is None, "first": first, "rows": rows}


def answers(
    path: Path,
    outputs: Arrays,
    parameters: Arrays,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8] | None,
    recipe: Recipe,
    rate: float,
) -> Arrays:
    """Return what the reference makes of the question, in forward order."""
    kinds = {name.partition("/")[0] for name in outputs}
    found: Arrays = {}
    for mode in MODES:
        if mode in kinds:
            passed = reference.forward(parameters, images, recipe.backbone, mode == "training")
            found |= {
                f"{mode}/{name}": passed.layers[name] for name in layer_names(recipe.backbone)
            }
    if kinds & {"gradient", "after"}:
        if labels is None or labels.shape != images.shape[:3]:
            raise InputError(f"{path}: gradients and updates need labels of the images' size")
        _, gradients, statistics = reference.gradients(parameters, images, labels, recipe)
        found |= {f"gradient/{name}": gradients[name] for name in reversed(gradients)}
        after, _ = reference.sgd_step(parameters, {}, gradients, recipe, rate)
        found |= {f"after/{name}": value for name, value in {**after, **statistics}.items()}
    return found


def quantity_of(kind: str, part: str) -> str:
    """Return the quantity of ``common.reference.tolerances`` that an output is."""
    if kind in MODES:
        return f"layer, {kind}"
    if kind == "gradient":
        return "gradient"
    return "statistics" if is_statistic(part) else "parameters"


def table_of(found: dict[str, Any]) -> str:
    """Return the comparison as text, the first difference last."""
    width = max(len(row["name"]) for row in found["rows"])
    lines = [
        f"{row['name'].ljust(width)}  {_cell(row['error'])}  of {row['limit']:.0e}"
        + ("" if row["passed"] else "  differs")
        for row in found["rows"]
    ]
    verdict = "equals the reference" if found["passed"] else f"differs first in {found['first']}"
    return "\n".join([*lines, f"{found['backbone']}: {verdict}"])


def _cell(error: float | None) -> str:
    return "no number" if error is None else f"{error:.1e}"
