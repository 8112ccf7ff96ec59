"""What a case has to give, in float64 NumPy: computed once, in a process of its own, and kept.

    python -m benchmarks.equal_work.case_answers CASE CONFIG.json INPUTS.npz

prints the path of an ``.npz`` in the cache. Its name is a hash of the case, the recipe, the inputs
and the reference's own source, so that no stale one is ever read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import images as bench_images
from benchmarks.cases.inputs import AFTER, gate_rates, parameters_in
from benchmarks.equal_work.cache import answer
from common.config import Config
from common.errors import command
from common.recipes import STRIDE
from common.reference import network as reference
from common.reference import operations as ops


def expected_outputs(case: str, config: Config, arrays: Any) -> dict[str, NDArray]:
    """Return the arrays that a worker's are compared with, by the same names."""
    recipe = config.recipe
    if case == "predict":
        passed = reference.forward(
            parameters_in(arrays), arrays["images"][0], recipe.backbone, False
        )
        return {"logits": passed.logits.astype(np.float32)}
    if case == "images":
        return bench_images.expected_images(parameters_in(arrays), recipe, arrays)
    if case == "upsample":
        x, weight, gradient = (arrays[name] for name in ("x", "weight", "gradient"))
        y = ops.transpose_convolution(x[0], weight, STRIDE, STRIDE // 2) + arrays["bias"]
        x_gradient, weight_gradient = ops.transpose_convolution_gradients(
            x[0], weight, gradient, STRIDE, STRIDE // 2
        )
        return {
            "y": y.astype(np.float32),
            "x_gradient": x_gradient,
            "weight_gradient": weight_gradient,
            "bias_gradient": gradient.sum(axis=(0, 1, 2), dtype=np.float64),
        }
    if case == "loss":
        logits, labels = arrays["logits"][0], arrays["labels"][0]
        gradient = reference.loss_gradient(logits, labels, recipe)
        value = reference.loss(logits, labels, recipe)
        return {"loss": np.array([value]), "gradient": gradient.astype(np.float32)}
    parameters: Any = parameters_in(arrays)
    momentum: Any = {}
    outputs: dict[str, NDArray] = {}
    for step, (rate, after) in enumerate(zip(gate_rates(recipe), AFTER, strict=True)):
        batch = arrays["images"][step], arrays["labels"][step]
        parameters, momentum, loss = reference.train_step(
            parameters, momentum, *batch, recipe, rate
        )
        outputs["loss" if step == 0 else "second_loss"] = np.array([loss])
        outputs |= {f"{after}{name}": value for name, value in parameters.items()}
    return outputs


def cached_outputs(case: str, config: Config, inputs: Path) -> Path:
    """Return the file of a case's expected outputs, computed unless the cache has it."""
    with np.load(inputs) as file:
        arrays = dict(file)
    # Batches beyond those that are answered for change nothing.
    for name in ("images", "labels", "x", "logits"):
        if name in arrays:
            arrays[name] = arrays[name][: len(AFTER)]
    for name in ("root", "paths"):  # Where the files lie changes nothing either.
        arrays.pop(name, None)
    whole = case in ("train", "epoch", "first_step", "scale")
    identity = ["train" if whole else case, config.to_json()["recipe"], gate_rates(config.recipe)]
    return answer("case", identity, arrays, lambda: expected_outputs(case, config, arrays))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the path of the case's expected outputs."""
    case, config, inputs = sys.argv[1:] if argv is None else argv
    values = json.loads(Path(config).read_text(encoding="utf-8"))
    print(cached_outputs(case, Config.from_json(values), Path(inputs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
