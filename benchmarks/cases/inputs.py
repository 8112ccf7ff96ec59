"""The inputs of a case, made once by the parent: the same bytes for every worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.images import make_images
from benchmarks.cases.loading import expected_batches, make_files
from common.config import Config
from common.data.synthetic import draw_pair
from common.parameters.initial import initial_parameters
from common.parameters.names import NUM_CLASSES, Parameters, is_statistic
from common.recipes import STRIDE, Recipe
from common.reference import network as reference

BATCHES = 4
"""Different batches on the device, taken in turn, so that no step works on warm data alone."""
RATES = (5e-4, 4e-3)
"""Learning rates, for a mean loss, of the steps that are compared. The first lowers the loss by an
eighth to two fifths and moves the stem of ``probe_parameters``, whose convolutions are small, by
half of its size (at 320x480): moved further, the loss falls no lower, and what bfloat16 loses of
the stem's gradient decides where it lands. The second is longer, for the head's updates to be well
above what float32 parameters can hold: at a quarter of the first they were off by 7e-2. Eight
times, because a first rate that is baked in then leaves 7/8 of the second update out, in any tensor
more than the bounds allow in float32."""
TIMED_RATE = 1e-7
"""That of the timed steps: the same work, and the parameters stay where they are."""
PARAMETER = "parameters/"
AFTER = ("after the first step/", "after the second step/")
"""Before a parameter's name, in the files of inputs and of outputs."""


def probe_parameters(recipe: Recipe, seed: int) -> Parameters:
    """Draw parameters that show a mistake in any precision.

    Nothing is one, zero or symmetric. The backbone's convolutions are small, so that what a norm
    divides by is as small as a thousandth: there a wrong epsilon changes the result by per cent,
    where it would otherwise hide below the rounding of bfloat16. Running statistics are those of a
    small batch, moved a little.
    """
    generator = np.random.default_rng((seed, 3))
    parameters = dict(initial_parameters(recipe, seed))
    for name, value in parameters.items():
        shape = value.shape
        if is_statistic(name):
            continue
        if name.startswith("backbone.") and len(shape) == 4:
            drawn: NDArray = value * 0.05
        elif len(shape) == 4:
            drawn = value + generator.normal(0, 0.3 * value.std(), shape)
        elif name.endswith("weight"):
            drawn = generator.uniform(0.5, 1.5, shape)
        else:
            drawn = generator.normal(0, 0.2, shape)
        parameters[name] = drawn.astype(np.float32)
    for name in filter(is_statistic, parameters):
        parameters[name] = np.zeros_like(parameters[name])
    image = draw_pair((64, 96), generator)[0][None]
    moved = reference.forward(parameters, image, recipe.backbone, training=True).statistics
    for name, statistic in moved.items():
        # From zero the statistics moved by a tenth of the batch's.
        factor = generator.uniform(7, 14, statistic.shape)
        floor = 1e-3 if name.endswith("running_var") else 0
        parameters[name] = (statistic * factor + floor).astype(np.float32)
    return parameters


def draw_batches(recipe: Recipe, seed: int, count: int) -> tuple[NDArray, NDArray]:
    """Draw ``count`` batches of scenes, uint8 [count, B, H, W, 3] and labels [count, B, H, W].

    Of each scene are made ``count`` by rolling it: drawing takes longer than a training step.
    """
    pairs = [
        draw_pair(recipe.crop, np.random.default_rng((seed, index)))
        for index in range(recipe.batch_size)
    ]
    shifts = [number * recipe.crop[1] // count for number in range(count)]
    images = np.stack([[np.roll(pair[0], shift, 1) for pair in pairs] for shift in shifts])
    labels = np.stack([[np.roll(pair[1], shift, 1) for pair in pairs] for shift in shifts])
    return images, labels


def gate_rates(recipe: Recipe) -> tuple[float, ...]:
    """Return the learning rates of the compared steps: a summed loss grows with the batch."""
    return tuple(
        rate / (recipe.batch_size if recipe.loss_reduction == "sum" else 1) for rate in RATES
    )


def make_inputs(case: str, variant: str | None, config: Config, folder: Path) -> dict[str, NDArray]:
    """Return a case's arrays by name, all drawn from the configuration's seed.

    Of the cases that load files, those are written below ``folder``.
    """
    recipe, seed = config.recipe, config.seed
    height, width = recipe.crop
    generator = np.random.default_rng((seed, 5))
    if case == "load":
        return make_files(folder / "data", recipe, seed, cached=variant == "cached")
    if case in ("train", "predict", "first_step", "epoch", "scale", "images"):
        parameters = probe_parameters(recipe, seed)
        arrays: dict[str, Any] = {f"{PARAMETER}{name}": a for name, a in parameters.items()}
        if case == "epoch":
            arrays |= make_files(folder / "data", recipe, seed, cached=False)
            arrays |= expected_batches(arrays, recipe, len(AFTER))
        elif case == "images":
            arrays |= make_images(recipe, seed)
        else:
            arrays["images"], arrays["labels"] = draw_batches(recipe, seed, BATCHES)
        return arrays
    if case == "upsample":
        parameters = probe_parameters(recipe, seed)
        grid = (height // STRIDE, width // STRIDE)
        x = generator.standard_normal((BATCHES, recipe.batch_size, *grid, NUM_CLASSES), np.float32)
        size = (recipe.batch_size, height, width, NUM_CLASSES)
        return {
            "x": x,
            "gradient": generator.standard_normal(size, np.float32),
            "weight": parameters["transpose_conv.weight"],
            "bias": parameters["transpose_conv.bias"],
        }
    assert case == "loss", case
    shape = (2, recipe.batch_size, height, width, NUM_CLASSES)
    _, labels = draw_batches(recipe, seed, 2)
    return {"logits": generator.standard_normal(shape, np.float32), "labels": labels}


def parameters_in(arrays: dict[str, NDArray] | Any) -> Parameters:
    """Return the canonical parameters among the arrays of a file."""
    return {
        name.removeprefix(PARAMETER): arrays[name] for name in arrays if name.startswith(PARAMETER)
    }


def write_inputs(path: Path, arrays: dict[str, NDArray]) -> None:
    """Write ``arrays`` where the workers of one group will read them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
