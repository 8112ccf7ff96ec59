"""The least that a step has to compute and to move, counted from the network's shapes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from common.config import Config
from common.parameters.names import layers
from common.recipes import Recipe


@dataclass(frozen=True)
class Costs:
    """Floating-point operations of a step, and bytes that it reads and writes in memory."""

    flops: float
    bytes: float


class Convolution(NamedTuple):
    """A convolution of the network, or a transposed one.

    Attributes:
        weights: Values of its kernel.
        values: Of one image's input and output.
        places: Where the kernel lies in one image: pixels of the output, of a transposed
            convolution those of the input.
    """

    weights: int
    values: int
    places: int


def convolutions(recipe: Recipe) -> list[Convolution]:
    """Return every convolution in forward order; the last one upsamples to the logits."""
    pixels = {"images": recipe.crop[0] * recipe.crop[1]}
    result = []
    for layer in layers(recipe.network):
        name, x = layer.name, layer.inputs[0]
        transposed = layer.kind == "transpose_convolution"
        factor = layer.stride**2
        pixels[name] = pixels[x] * factor if transposed else pixels[x] // factor
        if transposed or layer.kind == "convolution":
            # Of a transposed one both numbers of channels are those of the classes.
            out_channels, in_channels, *_ = shape = layer.shapes[f"{name}.weight"]
            values = pixels[x] * in_channels + pixels[name] * out_channels
            places = pixels[x if transposed else name]
            result.append(Convolution(math.prod(shape), values, places))
    return result


def element_bytes(config: Config) -> int:
    """Return the bytes of one value in the precision of ``config``."""
    return {"bfloat16": 2, "float64": 8}.get(config.precision, 4)


def logits_bytes(config: Config) -> int:
    """Return the bytes of a batch's logits, which are float32 in any precision."""
    height, width = config.recipe.crop
    return config.recipe.batch_size * height * width * config.recipe.num_classes * 4


def upsampling_costs(config: Config) -> Costs:
    """Return the costs of the transposed convolution to the logits, forward.

    Each output pixel is touched by k² / s² = 4 taps.
    """
    return _costs(convolutions(config.recipe)[-1], config)


def _costs(layer: Convolution, config: Config) -> Costs:
    """Return a convolution's costs for a batch, forward."""
    batch = config.recipe.batch_size
    values = batch * layer.values + layer.weights
    return Costs(2 * layer.weights * layer.places * batch, values * element_bytes(config))


def forward_costs(config: Config) -> Costs:
    """Return the costs of a forward pass from bytes to logits.

    A convolution takes 2 k² I O operations a pixel. Element-wise work counts as none. A
    convolution reads its input and its weights and writes its output once, in the precision's
    width. Norms and activations are taken to be fused, so this is less than any framework moves.
    """
    recipe = config.recipe
    costs = [_costs(layer, config) for layer in convolutions(recipe)]
    images = recipe.batch_size * recipe.crop[0] * recipe.crop[1] * 3
    return Costs(sum(each.flops for each in costs), sum(each.bytes for each in costs) + images)


def training_costs(config: Config) -> Costs:
    """Return the costs of a training step: forward, loss, backward; the update counts as none.

    The backward pass computes the gradient of a convolution's weights and that of its input, each
    at the forward pass's costs. Only the image has no gradient.
    """
    recipe, forward = config.recipe, forward_costs(config)
    stem_flops = _costs(convolutions(recipe)[0], config).flops
    images = recipe.batch_size * recipe.crop[0] * recipe.crop[1]
    network = forward.bytes - 3 * images
    return Costs(
        3 * forward.flops - stem_flops, 3 * network + 2 * logits_bytes(config) + 4 * images
    )
