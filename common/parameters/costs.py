"""The least that a step has to compute and to move, counted from the network's shapes."""

from dataclasses import dataclass

from common.config import Config
from common.parameters.names import NUM_CLASSES, parameter_shapes
from common.recipes import STRIDE

SCALES = {"conv1": 2, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32, "final_conv": 32}
"""Part of the network -> how many pixels of the image, a side, are one of its output."""


@dataclass(frozen=True)
class Costs:
    """Floating-point operations of a step, and bytes that it reads and writes in memory."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Convolution:
    """A convolution of the network.

    Attributes:
        name: Its canonical name.
        size: Taps a side.
        inputs, outputs: Channels.
        stride: Pixels of the input, a side, from one output to the next.
        pixels: Of the output of one image.
    """

    name: str
    size: int
    inputs: int
    outputs: int
    stride: int
    pixels: int


def convolutions(backbone: str, crop: tuple[int, int]) -> list[Convolution]:
    """Return every convolution but the transposed one, in forward order."""
    layers, scale_before = [], 1
    for name, shape in parameter_shapes(backbone).items():
        if len(shape) != 4 or name.startswith("transpose_conv"):
            continue
        scale = SCALES[name.removeprefix("backbone.").split(".")[0]]
        # In a stage's first block the first convolution and the shortcut halve the map.
        halves = ".0." in name and not name.endswith("conv2.weight") and scale > SCALES["layer1"]
        stride = 2 if halves or scale_before == 1 else 1
        pixels = (crop[0] // scale) * (crop[1] // scale)
        scale_before = scale
        layers.append(
            Convolution(name.removesuffix(".weight"), shape[2], shape[1], shape[0], stride, pixels)
        )
    return layers


def element_bytes(config: Config) -> int:
    """Return the bytes of one value in the precision of ``config``."""
    return {"bfloat16": 2, "float64": 8}.get(config.precision, 4)


def logits_bytes(config: Config) -> int:
    """Return the bytes of a batch's logits, which are float32 in any precision."""
    height, width = config.recipe.crop
    return config.recipe.batch_size * height * width * NUM_CLASSES * 4


def upsampling_costs(config: Config) -> Costs:
    """Return the costs of the transposed convolution, forward.

    Each output pixel is touched by k² / s² = 4 taps.
    """
    height, width = config.recipe.crop
    pixels, batch = height * width, config.recipe.batch_size
    kernel = NUM_CLASSES * NUM_CLASSES * (2 * STRIDE) ** 2
    values = batch * NUM_CLASSES * (pixels // STRIDE**2 + pixels) + kernel
    flops = 2 * 4 * NUM_CLASSES * NUM_CLASSES * pixels * batch
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
    for layer in convolutions(recipe.backbone, recipe.crop):
        weights = layer.size**2 * layer.inputs * layer.outputs
        outputs = recipe.batch_size * layer.outputs * layer.pixels
        inputs = recipe.batch_size * layer.inputs * layer.pixels * layer.stride**2
        flops += 2 * weights * layer.pixels * recipe.batch_size
        traffic += (inputs + weights + outputs) * width
    return Costs(flops, traffic + recipe.batch_size * recipe.crop[0] * recipe.crop[1] * 3)


def training_costs(config: Config) -> Costs:
    """Return the costs of a training step: forward, loss, backward; the update counts as none.

    The backward pass computes the gradient of a convolution's weights and that of its input, each
    at the forward pass's costs. Only the image has no gradient.
    """
    recipe, forward = config.recipe, forward_costs(config)
    stem = convolutions(recipe.backbone, recipe.crop)[0]
    stem_flops = 2 * stem.size**2 * stem.inputs * stem.outputs * stem.pixels * recipe.batch_size
    images = recipe.batch_size * recipe.crop[0] * recipe.crop[1]
    network = forward.bytes - 3 * images
    return Costs(
        3 * forward.flops - stem_flops, 3 * network + 2 * logits_bytes(config) + 4 * images
    )
