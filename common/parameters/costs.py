"""The least that a step has to compute and to move, counted from the network's shapes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from common.config import Config
from common.parameters.names import layers
from common.recipes import STRIDE, Recipe


@dataclass(frozen=True)
class Costs:
    """Floating-point operations of a step, and bytes that it reads and writes in memory."""

    flops: float
    bytes: float


class Convolution(NamedTuple):
    """A convolution of the network.

    Attributes:
        weights: Values of its kernel.
        inputs, outputs: Values of one image's maps.
        pixels: Of one image's output.
    """

    weights: int
    inputs: int
    outputs: int
    pixels: int


def convolutions(recipe: Recipe) -> list[Convolution]:
    """Return every convolution but the transposed one, in forward order."""
    pixels = {"images": recipe.crop[0] * recipe.crop[1]}
    result = []
    for layer in layers(recipe.network)[:-1]:
        name, x = layer.name, layer.inputs[0]
        pixels[name] = pixels[x] // layer.stride**2
        if layer.kind == "convolution":
            out_channels, in_channels, *_ = shape = layer.shapes[f"{name}.weight"]
            maps = pixels[x] * in_channels, pixels[name] * out_channels
            result.append(Convolution(math.prod(shape), *maps, pixels[name]))
    return result


def element_bytes(config: Config) -> int:
    """Return the bytes of one value in the precision of ``config``."""
    return {"bfloat16": 2, "float64": 8}.get(config.precision, 4)


def logits_bytes(config: Config) -> int:
    """Return the bytes of a batch's logits, which are float32 in any precision."""
    height, width = config.recipe.crop
    return config.recipe.batch_size * height * width * config.recipe.num_classes * 4


def upsampling_costs(config: Config) -> Costs:
    """Return the costs of the transposed convolution, forward.

    Each output pixel is touched by k² / s² = 4 taps.
    """
    height, width = config.recipe.crop
    pixels, batch, classes = height * width, config.recipe.batch_size, config.recipe.num_classes
    kernel = classes * classes * (2 * STRIDE) ** 2
    values = batch * classes * (pixels // STRIDE**2 + pixels) + kernel
    flops = 2 * 4 * classes * classes * pixels * batch
    return Costs(flops, values * element_bytes(config))


def forward_costs(config: Config) -> Costs:
    """Return the costs of a forward pass from bytes to logits.

    A convolution takes 2 k² I O operations a pixel. Element-wise work counts as none. A
    convolution reads its input and its weights and writes its output once, in the precision's
    width. Norms and activations are taken to be fused, so this is less than any framework moves.
    """
    recipe, width = config.recipe, element_bytes(config)
    upsampling = upsampling_costs(config)
    flops, traffic = upsampling.flops, upsampling.bytes
    for layer in convolutions(recipe):
        flops += 2 * layer.weights * layer.pixels * recipe.batch_size
        maps = recipe.batch_size * (layer.inputs + layer.outputs)
        traffic += (maps + layer.weights) * width
    return Costs(flops, traffic + recipe.batch_size * recipe.crop[0] * recipe.crop[1] * 3)


def training_costs(config: Config) -> Costs:
    """Return the costs of a training step: forward, loss, backward; the update counts as none.

    The backward pass computes the gradient of a convolution's weights and that of its input, each
    at the forward pass's costs. Only the image has no gradient.
    """
    recipe, forward = config.recipe, forward_costs(config)
    stem = convolutions(recipe)[0]
    stem_flops = 2 * stem.weights * stem.pixels * recipe.batch_size
    images = recipe.batch_size * recipe.crop[0] * recipe.crop[1]
    network = forward.bytes - 3 * images
    return Costs(
        3 * forward.flops - stem_flops, 3 * network + 2 * logits_bytes(config) + 4 * images
    )
