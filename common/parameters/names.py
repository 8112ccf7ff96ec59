"""Canonical parameters: one dictionary of NumPy arrays that every backend reads and writes.

Names and layouts are torchvision's: convolutions OIHW, the transposed convolution IOHW. The names
of the v2 backbone are made in the same way; it alone has ``data_bn`` (a norm of the input, without
scale and shift), ``final_bn``, and ``downsample`` convolutions without a norm.
"""

import numpy as np
from numpy.typing import NDArray

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


def layer_names(backbone: str) -> list[str]:
    """Return the layers whose outputs a proof compares, in forward order.

    A norm's output is taken before the ReLU that follows it, a block's after its last operation,
    ``downsample`` at the end of the shortcut; ``transpose_conv`` gives the logits.
    """
    v1 = backbone == "resnet18_v1"
    names = ["normalize"]
    if not v1:
        names.append("backbone.data_bn")
    names += ["backbone.conv1", "backbone.bn1", "backbone.maxpool"]
    for stage in range(1, len(STAGES) + 1):
        for block in range(2):
            name = f"backbone.layer{stage}.{block}"
            parts = ("conv1", "bn1", "conv2", "bn2") if v1 else ("bn1", "conv1", "bn2", "conv2")
            names += [f"{name}.{part}" for part in parts]
            if block == 0 and stage > 1:
                names.append(f"{name}.downsample")
            names.append(name)
    if not v1:
        names.append("backbone.final_bn")
    return [*names, "final_conv", "transpose_conv"]


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
    """Return each trainable name's L2 coefficient; 0 for what the recipe does not decay."""
    shapes = parameter_shapes(recipe.backbone)
    return {
        name: recipe.weight_decay if recipe.decay_scope == "all" or len(shapes[name]) == 4 else 0.0
        for name in trainable_names(recipe)
    }
