"""The probe of the proof of equal work: parameters and batches in which a mistake shows.

Random scales, shifts, biases, running statistics and transposed kernels, void pixels, momentum and
decay: what is zero, one, symmetric or diagonal hides a mistake.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.classes import VOID
from common.parameters.names import NUM_CLASSES, parameter_shapes
from common.recipes import Network, Recipe, make_recipe

KINK_DISTANCE = 7.0
"""Standard deviations by which ``keep_off_the_kinks`` shifts a norm's output."""


PROBE = "probe"
"""The name of the probe's recipe."""


def probe_parameters(network: Network, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Draw parameters in which nothing is zero, one, symmetric or diagonal."""
    generator = np.random.default_rng(seed)
    parameters: dict[str, NDArray[np.float64]] = {}
    for name, shape in parameter_shapes(network).items():
        if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            parameters[name] = generator.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            parameters[name] = generator.normal(0, 0.3, shape)
        else:
            fan_in = shape[1] * shape[2] * shape[3]
            parameters[name] = generator.normal(0, math.sqrt(2 / fan_in), shape)
    return parameters


def keep_off_the_kinks(parameters: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return ``parameters`` with every norm shifted so far that a ReLU is open or shut by channel.

    Otherwise a value within float32's rounding of zero passes the one network's ReLU and not the
    other's, and by that alone a gradient changes by one part in the square root of the values.
    """
    generator = np.random.default_rng(0)
    return {
        name: value + generator.choice([-KINK_DISTANCE, KINK_DISTANCE], value.shape)
        if name.startswith("backbone.") and name.endswith(".bias")
        else value
        for name, value in parameters.items()
    }


def single(parameters: Mapping[str, NDArray]) -> dict[str, NDArray[np.float32]]:
    """Return ``parameters`` in float32, from which every backend and the reference start."""
    return {name: np.asarray(value, np.float32) for name, value in parameters.items()}


def probe_batch(
    height: int, width: int, seed: int = 0, count: int = 2, num_classes: int = NUM_CLASSES
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw images [count, height, width, 3] and their labels, a quarter of them void."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    labels = generator.integers(0, num_classes, (count, height, width), dtype=np.uint8)
    labels[generator.random(labels.shape) < 0.25] = VOID
    return images, labels


def probe_recipe(backbone: str, head: str = "fcn32s") -> Recipe:
    """Return the probe's recipe: mean loss, void ignored, momentum 0.9, decay 0.1 of everything."""
    changes = {"backbone": backbone, "head": head, "weight_decay": 0.1, "decay_scope": "all"}
    return make_recipe("modern", name=PROBE, **changes)
