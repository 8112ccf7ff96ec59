"""The network's layers, and their canonical parameters by name.

Parameters are one dictionary of NumPy arrays that every backend reads and writes. Names and layouts
are torchvision's: convolutions OIHW, the transposed convolution IOHW. The names of the v2 backbone
are made in the same way; it alone has ``data_bn`` (a norm of the input, without scale and shift),
``final_bn``, and ``downsample`` convolutions without a norm.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC
from common.errors import InputError
from common.recipes import HEADS, Network, Recipe

Parameters = dict[str, NDArray[np.float32]]

NUM_CLASSES = len(VOC.names)
"""The chapter's; a recipe has its own."""
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""Weight of the new value in the running statistics, PyTorch's convention."""

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and stride of the four stages; each has two basic blocks (He et al. 2015, table 1)."""


class Layer(NamedTuple):
    """One operation of the network.

    Attributes:
        kind: ``normalize``, ``convolution`` (with a bias where it has one), ``norm``, ``relu``,
            ``max_pool`` (3x3), ``add``, ``add_relu`` or ``transpose_convolution``.
        name: The layer's, and that of its output.
        inputs: The layers whose outputs it takes; of ``normalize``, the images.
        shapes: Canonical name -> shape of its parameters and running statistics.
        stride, padding: Of its windows, in pixels.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    stride: int
    padding: int


class _Builder:
    """Adds layer after layer; each method returns its layer's name."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.channels = {"images": 3}

    def layer(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        stride: int = 1,
        padding: int = 0,
    ) -> str:
        self.channels[name] = self.channels[inputs[0]]
        self.layers.append(Layer(kind, name, tuple(inputs), shapes or {}, stride, padding))
        return name

    def convolution(
        self, name: str, x: str, channels: int, size: int, stride: int = 1, bias: bool = False
    ) -> str:
        shapes: dict[str, tuple[int, ...]] = {
            f"{name}.weight": (channels, self.channels[x], size, size)
        }
        if bias:
            shapes[f"{name}.bias"] = (channels,)
        self.layer("convolution", name, [x], shapes, stride, size // 2)
        self.channels[name] = channels
        return name

    def upsampling(self, name: str, x: str, factor: int) -> str:
        channels, size = self.channels[x], 2 * factor
        shapes = {f"{name}.weight": (channels, channels, size, size), f"{name}.bias": (channels,)}
        return self.layer("transpose_convolution", name, [x], shapes, factor, factor // 2)

    def norm(self, name: str, x: str, prefix: str | None = None, affine: bool = True) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")[0 if affine else 2 :]
        shapes = {f"{prefix or name}.{part}": (self.channels[x],) for part in parts}
        return self.layer("norm", name, [x], shapes)

    def relu(self, x: str) -> str:
        return self.layer("relu", f"{x}.relu", [x])

    def block_v1(self, name: str, x: str, channels: int, stride: int) -> str:
        y = self.convolution(f"{name}.conv1", x, channels, 3, stride)
        y = self.relu(self.norm(f"{name}.bn1", y))
        y = self.norm(f"{name}.bn2", self.convolution(f"{name}.conv2", y, channels, 3))
        if stride > 1:
            x = self.convolution(f"{name}.downsample.0", x, channels, 1, stride)
            x = self.norm(f"{name}.downsample", x, prefix=f"{name}.downsample.1")
        return self.layer("add_relu", name, [x, y])

    def block_v2(self, name: str, x: str, channels: int, stride: int) -> str:
        shortcut = x
        y = x = self.relu(self.norm(f"{name}.bn1", x))
        y = self.convolution(f"{name}.conv1", y, channels, 3, stride)
        y = self.relu(self.norm(f"{name}.bn2", y))
        y = self.convolution(f"{name}.conv2", y, channels, 3)
        if stride > 1:
            shortcut = self.convolution(f"{name}.downsample", x, channels, 1, stride)
        return self.layer("add", name, [shortcut, y])


def layers(network: Network) -> list[Layer]:
    """Return the network's layers in forward order, from ``images`` to the logits.

    The backbone is ``resnet18_v1`` (He et al. 2015, figure 3, as torchvision builds it) or
    ``resnet18_v2`` (He et al. 2016, "Identity Mappings", figure 4e, as Gluon builds it). No name
    depends on the number of classes.

    The heads are those of Long, Shelhamer and Darrell 2015, section 4.2: ``fcn16s`` adds the scores
    of the map of stride 16 to those of the last map, upsampled twofold, and ``fcn8s`` does so once
    more. A map is scored after the ReLU that ends its stage. The blocks of v2 end in a sum: there
    it is scored after the norm and the ReLU that the next stage begins with.

    A convolution of an odd size centres cell i of stride s at pixel s i, a transposed one of size
    2 s and padding s / 2 at s i + (s - 1) / 2. So scores stand half a cell off where they are
    added, as in every implementation with these kernels.
    """
    v1, add = network.backbone == "resnet18_v1", _Builder()
    x = add.layer("normalize", "normalize", ["images"])
    if not v1:
        x = add.norm("backbone.data_bn", x, affine=False)
    x = add.convolution("backbone.conv1", x, STAGES[0][0], 7, stride=2)
    x = add.relu(add.norm("backbone.bn1", x))
    x = add.layer("max_pool", "backbone.maxpool", [x], stride=2, padding=1)
    block = add.block_v1 if v1 else add.block_v2
    for stage, (channels, stride) in enumerate(STAGES, start=1):
        x = block(f"backbone.layer{stage}.0", x, channels, stride)
        x = block(f"backbone.layer{stage}.1", x, channels, 1)

    scored = {16: "backbone.layer3.1", 8: "backbone.layer2.1"}
    if not v1:
        x = add.relu(add.norm("backbone.final_bn", x))
        scored = {16: "backbone.layer4.0.bn1.relu", 8: "backbone.layer3.0.bn1.relu"}
    x = add.convolution("final_conv", x, network.num_classes, 1, bias=True)
    for stride, tap in scored.items():
        if stride >= HEADS[network.head]:
            x = add.upsampling(f"up{2 * stride}to{stride}", x, 2)
            y = add.convolution(f"score{stride}", tap, network.num_classes, 1, bias=True)
            x = add.layer("add", f"sum{stride}", [x, y])
    add.upsampling("transpose_conv", x, HEADS[network.head])
    return add.layers


def parameter_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every parameter and running statistic, in forward order."""
    return {name: shape for layer in layers(network) for name, shape in layer.shapes.items()}


def layer_names(network: Network) -> list[str]:
    """Return the layers whose outputs a proof compares, in forward order.

    A norm's output is taken before the ReLU that follows it, a block's after its last operation,
    ``downsample`` at the end of the shortcut; ``sum16`` and ``sum8`` are where the head adds
    scores, and ``transpose_conv`` gives the logits.
    """
    names = [layer.name for layer in layers(network)]
    return [name for name in names if not name.endswith((".relu", ".downsample.0"))]


def is_statistic(name: str) -> bool:
    """Return whether ``name`` is a running statistic, which no gradient reaches."""
    return name.endswith(("running_mean", "running_var"))


def check_variance(values: int) -> None:
    """Raise InputError for a norm with so many values in each channel that none has a variance."""
    if values == 1:
        raise InputError(
            "batch norm needs at least two values in each channel, and the batch of a device has "
            "one: choose a larger --batch-size or --crop"
        )


def trainable_names(recipe: Recipe) -> list[str]:
    """Return the names that the optimizer updates, in forward order."""
    frozen = "transpose_convolution" if recipe.upsample_init == "bilinear-frozen" else None
    return [
        name
        for layer in layers(recipe.network)
        for name in layer.shapes
        if layer.kind != frozen and not is_statistic(name)
    ]


def used_momentum(recipe: Recipe, momentum: Parameters) -> Parameters:
    """Return those buffers that a training of ``recipe`` has; another recipe may have more."""
    names = trainable_names(recipe) if recipe.momentum else []
    return {name: momentum[name] for name in names if name in momentum}


def weight_decays(recipe: Recipe) -> dict[str, float]:
    """Return each trainable name's L2 coefficient; 0 for what the recipe does not decay."""
    shapes = parameter_shapes(recipe.network)
    return {
        name: recipe.weight_decay if recipe.decay_scope == "all" or len(shapes[name]) == 4 else 0.0
        for name in trainable_names(recipe)
    }
