"""The inputs of a case, made once by the parent: the same bytes for every worker."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from common.data.synthetic import draw_pair
from common.parameters.initial import initial_parameters
from common.parameters.names import Parameters, is_statistic
from common.recipes import Recipe
from common.reference import network as reference

Arrays = dict[str, NDArray]

BATCHES = 4
"""Different batches on the device, taken in turn, so that no step works on warm data alone."""
RATES = (5e-4, 4e-3)
"""Learning rates, for a mean loss, of the steps that are compared.

The first is short: it moves the stem of ``probe_parameters``, whose convolutions are small, by half
of its size. After a longer step the loss falls no lower, and what bfloat16 loses of the stem's
gradient would decide where it lands. The second is longer, so that the head's updates are well
above what float32 parameters can hold. It is eight times the first, so that a first rate that is
baked into a compiled step leaves 7/8 of the second update out: more than any bound of float32.
"""
TIMED_RATE = 2e-8
"""The highest learning rate, for a mean loss, of the timed steps: the same work, and the parameters
stay where they are."""
SHORT_STEP = 2.5e-7
"""By this share of its length a step that is accounted for moves a convolution: some three of
float32's roundings. More would change the gradients over ``LINEAR`` steps, less would be lost."""
LINEAR = 200
AFTER = ("after the first step", "after the second step")
"""Prefixes of a parameter's name in the files of answers, one for each compared step."""


def probe_parameters(recipe: Recipe, seed: int) -> Parameters:
    """Draw parameters that show a mistake in any precision.

    No value is one or zero, and no tensor is symmetric. The backbone's convolutions are small, so
    that a norm divides by as little as a thousandth: there a wrong epsilon changes the result by
    per cent, where it would otherwise hide below the rounding of bfloat16. Running statistics are
    those of a small batch, moved a little.
    """
    generator = np.random.default_rng((seed, 3))
    parameters = dict(initial_parameters(recipe, seed))
    drawn: NDArray
    for name, value in parameters.items():
        shape = value.shape
        if is_statistic(name):
            drawn = np.zeros(shape)
        elif name.startswith("backbone.") and len(shape) == 4:
            drawn = value * 0.05
        elif len(shape) == 4:
            drawn = value + generator.normal(0, 0.3 * value.std(), shape)
        elif name.endswith("weight"):
            drawn = generator.uniform(0.5, 1.5, shape)
        else:
            drawn = generator.normal(0, 0.2, shape)
        parameters[name] = drawn.astype(np.float32)
    image = draw_pair((64, 96), generator)[0][None]
    moved = reference.forward(parameters, image, recipe.network, training=True).statistics
    for name, statistic in moved.items():
        # From zero the statistics moved by a tenth of the batch's.
        factor = generator.uniform(7, 14, statistic.shape)
        floor = 1e-3 if name.endswith("running_var") else 0
        parameters[name] = (statistic * factor + floor).astype(np.float32)
    return parameters


def probe_arrays(recipe: Recipe, seed: int) -> Arrays:
    """Return ``probe_parameters`` under the names that ``parameters_in`` finds them by."""
    return prefixed("parameters", probe_parameters(recipe, seed))


def draw_batches(recipe: Recipe, seed: int, count: int) -> tuple[NDArray, NDArray]:
    """Draw ``count`` batches of scenes, uint8 [count, B, H, W, 3] and labels [count, B, H, W].

    The batches are one batch, rolled: drawing a scene takes longer than a training step.
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


def timed_rate(recipe: Recipe) -> float:
    """Return the learning rate of the timed steps: a summed loss grows with the batch."""
    return TIMED_RATE / (recipe.batch_size if recipe.loss_reduction == "sum" else 1)


def parameters_in(arrays: Arrays) -> Parameters:
    """Return the canonical parameters among the arrays of a file."""
    return part(arrays, "parameters")


def prefixed(prefix: str, arrays: Mapping[str, NDArray], dtype: DTypeLike | None = None) -> Arrays:
    """Return arrays under the names that ``part`` finds them by, in their own type by default."""
    return {f"{prefix}/{name}": np.asarray(array, dtype) for name, array in arrays.items()}


def part(arrays: Mapping[str, NDArray], prefix: str) -> Arrays:
    """Return the arrays that are named ``prefix/NAME``, by NAME."""
    size = len(prefix) + 1
    return {name[size:]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write the ``.npz`` that the workers of one group, or their parent, will read."""
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> Arrays:
    """Return the arrays that ``write_arrays`` wrote."""
    with np.load(path) as file:
        return dict(file)
