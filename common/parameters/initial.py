"""The parameters that a training starts from, drawn from a seed."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.parameters.names import Parameters, parameter_shapes
from common.recipes import Recipe


def initial_parameters(recipe: Recipe, seed: int) -> Parameters:
    """Draw the parameters a training starts from: the same bytes for every backend.

    Backbone convolutions: He's normal initialisation over the fan-out, as torchvision does (He et
    al. 2015, "Delving Deep into Rectifiers", equation 14); norms: scale 1, shift 0. ``init`` and
    ``upsample_init`` of the recipe choose the head's. PyTorch's default is a uniform distribution
    within 1/sqrt(fan-in), for a transposed convolution with the fan-in that PyTorch counts:
    out_channels * k * k. With ``init="torch"`` the head's biases are drawn from it, with
    ``xavier`` they are zero. Xavier: Glorot and Bengio 2010, equation 16.

    Whatever the head, a parameter that FCN-32s has in the same shape starts with the same values;
    those of FCN-16s that FCN-8s shares, likewise. The scores of finer maps start at zero.
    """
    generator = np.random.default_rng(seed)
    parameters: Parameters = {}
    shapes = parameter_shapes(recipe.network._replace(head="fcn32s"))
    for name, shape in shapes.items():
        if not name.startswith("backbone."):
            continue
        if len(shape) == 4:
            deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            parameters[name] = generator.normal(0, deviation, shape).astype(np.float32)
        else:
            value = 1.0 if name.endswith(("weight", "running_var")) else 0.0
            parameters[name] = np.full(shape, value, np.float32)

    for name in shapes:
        if name not in parameters:
            parameters[name] = _of_head(recipe, generator, name, shapes)

    shapes = parameter_shapes(recipe.network)
    for name, shape in shapes.items():
        if name.startswith("score"):
            parameters[name] = np.zeros(shape, np.float32)
        elif name not in parameters or parameters[name].shape != shape:
            parameters[name] = _of_head(recipe, generator, name, shapes)
    return {name: parameters[name] for name in shapes}


def _of_head(
    recipe: Recipe, generator: np.random.Generator, name: str, shapes: Mapping[str, tuple[int, ...]]
) -> NDArray[np.float32]:
    """Draw a parameter of the last map's scores or of an upsampling."""
    layer, _, part = name.rpartition(".")
    first, second, size, _ = shape = shapes[f"{layer}.weight"]
    default_bound = 1 / math.sqrt(second * size * size)
    if part == "bias":
        return _uniform(generator, default_bound if recipe.init == "torch" else 0.0, shapes[name])
    choice = recipe.init if layer == "final_conv" else recipe.upsample_init
    if choice.startswith("bilinear"):
        return bilinear_kernel(first, second, size)
    if choice == "xavier":
        # Of its own generator: all other values are those that stand beside bilinear kernels.
        own = generator if layer == "final_conv" else generator.spawn(1)[0]
        return _uniform(own, math.sqrt(6 / ((first + second) * size * size)), shape)
    return _uniform(generator, default_bound, shape)


def _uniform(generator: np.random.Generator, bound: float, shape: tuple[int, ...]) -> NDArray:
    return generator.uniform(-bound, bound, shape).astype(np.float32)


def bilinear_kernel(in_channels: int, out_channels: int, kernel_size: int) -> NDArray[np.float32]:
    """Return the weight that makes a transposed convolution interpolate bilinearly.

    Tap ``i`` along an axis weighs ``1 - |i - center| / factor`` with ``factor = (k + 1) // 2`` and
    ``center = factor - 1`` for odd ``k``, ``factor - 1/2`` for even ``k``; the kernel is the outer
    product of two such rows. Channel ``c`` feeds channel ``c`` and no other.

    Args:
        in_channels, out_channels: Channels of the map, at least 1.
        kernel_size: Taps a side, ``k`` >= 1. For stride ``s``: ``k = 2 s``, padding ``s / 2``.

    Returns:
        float32 [in_channels, out_channels, k, k], values in [0, 1].

    Source:
        Dive into Deep Learning, "Transposed Convolution: Initialization"; Long, Shelhamer and
        Darrell, "Fully Convolutional Networks for Semantic Segmentation", section 4.1.
    """
    factor = (kernel_size + 1) // 2
    center = factor - 1 if kernel_size % 2 else factor - 0.5
    row = 1 - np.abs(np.arange(kernel_size) - center) / factor
    weight = np.zeros((in_channels, out_channels, kernel_size, kernel_size), np.float32)
    diagonal = np.arange(min(in_channels, out_channels))
    weight[diagonal, diagonal] = np.outer(row, row)
    return weight
