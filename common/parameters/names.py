"""Canonical parameters: one dictionary of NumPy arrays that every backend reads and writes.

Names and layouts are torchvision's: convolutions OIHW, the transposed convolution IOHW. The v2
backbone is named in the same manner; its odd places are ``data_bn`` (a norm without scale and shift
on the input), ``final_bn`` and a ``downsample`` convolution without a norm.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from common.parameters.kernels import bilinear_kernel
from common.recipes import STRIDE, Recipe

Parameters = dict[str, NDArray[np.float32]]

NUM_CLASSES = 21
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""Weight of the new value in the running statistics, PyTorch's convention."""

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of the four stages; each has two basic blocks (He et al. 2015, table 1)."""


def parameter_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every parameter and running statistic, in forward order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int, affine: bool = True) -> None:
        for part in ("weight", "bias", "running_mean", "running_var")[0 if affine else 2 :]:
            shapes[f"backbone.{name}.{part}"] = (channels,)

    def convolution(name: str, out_channels: int, in_channels: int, size: int) -> None:
        shapes[f"backbone.{name}.weight"] = (out_channels, in_channels, size, size)

    v1 = backbone == "resnet18_v1"
    if not v1:
        norm("data_bn", 3, affine=False)
    convolution("conv1", 64, 3, 7)
    norm("bn1", 64)
    in_channels = 64
    for stage, (channels, stride) in enumerate(STAGES, start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            if v1:
                convolution(f"{name}.conv1", channels, in_channels, 3)
                norm(f"{name}.bn1", channels)
                convolution(f"{name}.conv2", channels, channels, 3)
                norm(f"{name}.bn2", channels)
            else:
                norm(f"{name}.bn1", in_channels)
                convolution(f"{name}.conv1", channels, in_channels, 3)
                norm(f"{name}.bn2", channels)
                convolution(f"{name}.conv2", channels, channels, 3)
            if block == 0 and (stride > 1 or in_channels != channels):
                if v1:
                    convolution(f"{name}.downsample.0", channels, in_channels, 1)
                    norm(f"{name}.downsample.1", channels)
                else:
                    convolution(f"{name}.downsample", channels, in_channels, 1)
            in_channels = channels
    if not v1:
        norm("final_bn", in_channels)
    shapes["final_conv.weight"] = (NUM_CLASSES, in_channels, 1, 1)
    shapes["final_conv.bias"] = (NUM_CLASSES,)
    shapes["transpose_conv.weight"] = (NUM_CLASSES, NUM_CLASSES, 2 * STRIDE, 2 * STRIDE)
    shapes["transpose_conv.bias"] = (NUM_CLASSES,)
    return shapes


def is_statistic(name: str) -> bool:
    """Tell whether ``name`` is a running statistic, which no gradient reaches."""
    return name.endswith(("running_mean", "running_var"))


def trainable_names(recipe: Recipe) -> list[str]:
    """Return the names that the optimizer updates, in forward order."""
    frozen = "transpose_conv." if recipe.upsample_init == "bilinear-frozen" else None
    return [
        name
        for name in parameter_shapes(recipe.backbone)
        if not is_statistic(name) and not (frozen and name.startswith(frozen))
    ]


def weight_decays(recipe: Recipe) -> dict[str, float]:
    """Return each trainable name's L2 coefficient: of all, or only of convolution weights."""
    shapes = parameter_shapes(recipe.backbone)
    return {
        name: recipe.weight_decay if recipe.decay_scope == "all" or len(shapes[name]) == 4 else 0.0
        for name in trainable_names(recipe)
    }


def _uniform(generator: np.random.Generator, bound: float, shape: tuple[int, ...]) -> NDArray:
    return generator.uniform(-bound, bound, shape).astype(np.float32)


def initial_parameters(recipe: Recipe, seed: int) -> Parameters:
    """Draw the parameters a training starts from: the same bytes for every backend.

    Backbone convolutions: He's normal initialisation over the fan-out, as torchvision does (He et
    al. 2015, "Delving Deep into Rectifiers", equation 14); norms: scale 1, shift 0. ``init`` and
    ``upsample_init`` of the recipe choose the head's. PyTorch's default is a uniform distribution
    within 1/sqrt(fan-in), for a transposed convolution with the fan-in that PyTorch counts:
    out_channels * k * k. With ``init="torch"`` both biases are drawn from it, with ``xavier`` both
    are zero. Xavier: Glorot and Bengio 2010, equation 16.
    """
    generator = np.random.default_rng(seed)
    parameters: Parameters = {}
    for name, shape in parameter_shapes(recipe.backbone).items():
        if not name.startswith("backbone."):
            continue
        if len(shape) == 4:
            deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            parameters[name] = generator.normal(0, deviation, shape).astype(np.float32)
        else:
            one = name.endswith(("weight", "running_var"))
            parameters[name] = np.full(shape, 1.0 if one else 0.0, np.float32)

    shapes = parameter_shapes(recipe.backbone)
    for layer in ("final_conv", "transpose_conv"):
        shape = shapes[f"{layer}.weight"]
        area = shape[2] * shape[3]
        default_bound = 1 / math.sqrt(shape[1] * area)
        choice = recipe.init if layer == "final_conv" else recipe.upsample_init
        if choice.startswith("bilinear"):
            parameters[f"{layer}.weight"] = bilinear_kernel(shape[0], shape[1], shape[2])
        elif choice == "xavier":
            bound = math.sqrt(6 / ((shape[0] + shape[1]) * area))
            parameters[f"{layer}.weight"] = _uniform(generator, bound, shape)
        else:
            parameters[f"{layer}.weight"] = _uniform(generator, default_bound, shape)
        bias_bound = default_bound if recipe.init == "torch" else 0.0
        parameters[f"{layer}.bias"] = _uniform(generator, bias_bound, shapes[f"{layer}.bias"])
    return parameters
