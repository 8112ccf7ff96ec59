"""The whole network, its loss, gradient and SGD step in float64 NumPy: what backends must equal.

No framework computes anything here, and the gradients are written by hand. Parameters are the
canonical dictionary of ``common.parameters.names``, in float32 or float64; results are float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.images import MEAN, STD
from common.data.voc import VOID
from common.parameters.names import STAGES, is_statistic, parameter_shapes, weight_decays
from common.recipes import STRIDE, Recipe
from common.reference import operations as ops
from common.reference.operations import Array

Values = Mapping[str, NDArray[np.floating]]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Forward:
    """What one pass through the network computed.

    Attributes:
        layers: Name -> float64 [B, h, w, C], in the order of ``layer_names``.
        inputs: Layer with parameters -> what it was applied to, as ``backward`` needs it.
        statistics: In training mode every norm's new running mean and variance, else empty.
    """

    layers: dict[str, Array]
    inputs: dict[str, Array]
    statistics: dict[str, Array]

    @property
    def logits(self) -> Array:
        """float64 [B, H, W, 21], the last layer's output."""
        return self.layers["transpose_conv"]


def _blocks(backbone: str) -> list[tuple[str, int]]:
    """Return each residual block's name and the stride of its first convolution."""
    return [
        (f"backbone.layer{stage}.{block}", stride if block == 0 else 1)
        for stage, (_, stride) in enumerate(STAGES, start=1)
        for block in range(2)
    ]


def _float64(values: Values) -> dict[str, Array]:
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


class _Layers:
    """The layers of a forward pass by name; what they get and give is kept in ``result``."""

    def __init__(self, parameters: Values, training: bool) -> None:
        self.values, self.training = _float64(parameters), training
        self.result = Forward({}, {}, {})

    def record(self, name: str, x: Array) -> Array:
        self.result.layers[name] = x
        return x

    def convolution(self, name: str, x: Array, stride: int = 1) -> Array:
        self.result.inputs[name] = x
        weight = self.values[f"{name}.weight"]
        return ops.convolution(x, weight, stride, padding=weight.shape[2] // 2)

    def norm(self, name: str, x: Array) -> Array:
        self.result.inputs[name] = x
        names = f"{name}.running_mean", f"{name}.running_var"
        mean, variance = (self.values[part] for part in names)
        if self.training:
            moved = ops.moved_statistics(x, mean, variance)
            self.result.statistics.update(zip(names, moved, strict=True))
            mean, variance = ops.moments(x)
        weight = self.values.get(f"{name}.weight", np.ones(()))
        bias = self.values.get(f"{name}.bias", np.zeros(()))
        return ops.batch_norm(x, mean, variance, weight, bias)

    def block_v1(self, name: str, x: Array, stride: int) -> Array:
        y = self.record(f"{name}.conv1", self.convolution(f"{name}.conv1", x, stride))
        y = _relu(self.record(f"{name}.bn1", self.norm(f"{name}.bn1", y)))
        y = self.record(f"{name}.conv2", self.convolution(f"{name}.conv2", y))
        y = self.record(f"{name}.bn2", self.norm(f"{name}.bn2", y))
        if stride > 1:
            x = self.convolution(f"{name}.downsample.0", x, stride)
            x = self.record(f"{name}.downsample", self.norm(f"{name}.downsample.1", x))
        return self.record(name, _relu(x + y))

    def block_v2(self, name: str, x: Array, stride: int) -> Array:
        shortcut = x
        y = x = _relu(self.record(f"{name}.bn1", self.norm(f"{name}.bn1", x)))
        y = self.record(f"{name}.conv1", self.convolution(f"{name}.conv1", y, stride))
        y = _relu(self.record(f"{name}.bn2", self.norm(f"{name}.bn2", y)))
        y = self.record(f"{name}.conv2", self.convolution(f"{name}.conv2", y))
        if stride > 1:
            shortcut = self.convolution(f"{name}.downsample", x, stride)
            self.record(f"{name}.downsample", shortcut)
        return self.record(name, shortcut + y)


def forward(parameters: Values, images: Bytes, backbone: str, training: bool) -> Forward:
    """Compute the logits and every layer on the way.

    Args:
        parameters: Canonical names -> arrays.
        images: uint8 [B, H, W, 3], RGB; H and W as you like, but the logits have as many pixels
            as the labels only where both are multiples of 32: their sides are 32 ceil(side / 32).
        backbone: ``resnet18_v1`` (He et al. 2015, figure 3, as torchvision builds it) or
            ``resnet18_v2`` (He et al. 2016, "Identity Mappings", figure 4e, as Gluon builds it).
        training: Normalise by the batch's own moments, and move the running statistics.

    Raises:
        InputError: In training mode, where a norm has one value a channel to normalise.
    """
    layers = _Layers(parameters, training)
    convolution, norm, record = layers.convolution, layers.norm, layers.record
    v1 = backbone == "resnet18_v1"
    mean, deviation = np.asarray(MEAN, np.float64), np.asarray(STD, np.float64)
    x = record("normalize", (images / 255.0 - mean) / deviation)
    if not v1:
        x = record("backbone.data_bn", norm("backbone.data_bn", x))
    x = record("backbone.conv1", convolution("backbone.conv1", x, stride=2))
    x = _relu(record("backbone.bn1", norm("backbone.bn1", x)))
    x = record("backbone.maxpool", ops.max_pool(x))
    for name, stride in _blocks(backbone):
        x = layers.block_v1(name, x, stride) if v1 else layers.block_v2(name, x, stride)
    if not v1:
        x = _relu(record("backbone.final_bn", norm("backbone.final_bn", x)))
    x = record("final_conv", convolution("final_conv", x) + layers.values["final_conv.bias"])
    layers.result.inputs["transpose_conv"] = x
    weight, bias = (layers.values[f"transpose_conv.{part}"] for part in ("weight", "bias"))
    x = ops.transpose_convolution(x, weight, STRIDE, STRIDE // 2)
    record("transpose_conv", x + bias)
    return layers.result


class _Gradients:
    """The layers on the way back: parameters' gradients are left in ``by_name``."""

    def __init__(self, parameters: Values, passed: Forward) -> None:
        self.values, self.passed = _float64(parameters), passed
        self.by_name: dict[str, Array] = {}

    def weight(self, name: str, g: Array, stride: int = 1) -> None:
        kernel = self.values[f"{name}.weight"].shape[2]
        self.by_name[f"{name}.weight"] = ops.convolution_weight_gradient(
            self.passed.inputs[name], g, kernel, stride, kernel // 2
        )

    def convolution(self, name: str, g: Array, stride: int = 1) -> Array:
        self.weight(name, g, stride)
        weight, size = self.values[f"{name}.weight"], self.passed.inputs[name].shape[1:3]
        return ops.convolution_input_gradient(g, weight, stride, weight.shape[2] // 2, size)

    def norm(self, name: str, g: Array) -> Array:
        x_gradient, self.by_name[f"{name}.weight"], self.by_name[f"{name}.bias"] = (
            ops.batch_norm_gradients(self.passed.inputs[name], self.values[f"{name}.weight"], g)
        )
        return x_gradient

    def relu(self, name: str, g: Array) -> Array:
        return g * (self.passed.layers[name] > 0)

    def block_v1(self, name: str, g: Array, stride: int) -> Array:
        g = self.relu(name, g)
        y = self.convolution(f"{name}.conv2", self.norm(f"{name}.bn2", g))
        y = self.relu(f"{name}.bn1", y)
        y = self.convolution(f"{name}.conv1", self.norm(f"{name}.bn1", y), stride)
        if stride > 1:
            g = self.norm(f"{name}.downsample.1", g)
            g = self.convolution(f"{name}.downsample.0", g, stride)
        return g + y

    def block_v2(self, name: str, g: Array, stride: int) -> Array:
        y = self.relu(f"{name}.bn2", self.convolution(f"{name}.conv2", g))
        y = self.convolution(f"{name}.conv1", self.norm(f"{name}.bn2", y), stride)
        if stride > 1:
            y = y + self.convolution(f"{name}.downsample", g, stride)
        y = self.norm(f"{name}.bn1", self.relu(f"{name}.bn1", y))
        return y if stride > 1 else g + y


def backward(
    parameters: Values, passed: Forward, logits_gradient: Array, backbone: str
) -> dict[str, Array]:
    """Return the gradient of every weight and bias, from the logits' back through the network.

    Args:
        parameters: Those that ``passed`` was computed with.
        passed: What ``forward`` returned in training mode.
        logits_gradient: float64 [B, H, W, 21].

    Returns:
        Canonical name -> gradient, in forward order, of all but the running statistics.
    """
    layers, v1 = _Gradients(parameters, passed), backbone == "resnet18_v1"
    g, by_name = logits_gradient, layers.by_name
    by_name["transpose_conv.bias"] = g.sum(axis=(0, 1, 2))
    x, weight = passed.inputs["transpose_conv"], layers.values["transpose_conv.weight"]
    g, by_name["transpose_conv.weight"] = ops.transpose_convolution_gradients(
        x, weight, g, STRIDE, STRIDE // 2
    )
    by_name["final_conv.bias"] = g.sum(axis=(0, 1, 2))
    g = layers.convolution("final_conv", g)
    if not v1:
        g = layers.norm("backbone.final_bn", layers.relu("backbone.final_bn", g))
    for name, stride in reversed(_blocks(backbone)):
        g = layers.block_v1(name, g, stride) if v1 else layers.block_v2(name, g, stride)
    g = ops.max_pool_gradient(_relu(passed.layers["backbone.bn1"]), g)
    g = layers.norm("backbone.bn1", layers.relu("backbone.bn1", g))
    layers.weight("backbone.conv1", g, stride=2)
    return {name: by_name[name] for name in parameter_shapes(backbone) if not is_statistic(name)}


def _pixel_weights(labels: Bytes, recipe: Recipe) -> tuple[NDArray[np.intp], Array]:
    """Return each pixel's class and its weight in the loss of the batch, both [B, H, W]."""
    counted = np.full(labels.shape, True) if recipe.void == "background" else labels != VOID
    classes = np.where(labels == VOID, 0, labels).astype(np.intp)
    pixels = counted.sum(axis=(1, 2), keepdims=True)
    images = len(labels) if recipe.loss_reduction == "mean" else 1
    return classes, counted / (np.maximum(pixels, 1) * images)


def loss(logits: NDArray[np.floating], labels: Bytes, recipe: Recipe) -> float:
    """Return the cross entropy of a batch.

    Of each image the mean over its pixels, with ``void="ignore"`` over its valid ones and 0 where
    it has none, with ``"background"`` over all, void being class 0; then the sum or the mean over
    images, as ``loss_reduction`` says.

    Args:
        logits: [B, H, W, 21].
        labels: uint8 [B, H, W], 0..20, 255 = void.
    """
    return ops.cross_entropy(np.asarray(logits, np.float64), *_pixel_weights(labels, recipe))


def loss_gradient(logits: NDArray[np.floating], labels: Bytes, recipe: Recipe) -> Array:
    """Return the gradient [B, H, W, 21] of ``loss`` with respect to the logits."""
    weighted = _pixel_weights(labels, recipe)
    return ops.cross_entropy_gradient(np.asarray(logits, np.float64), *weighted)


def gradients(
    parameters: Values, images: Bytes, labels: Bytes, recipe: Recipe
) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """Return (loss, gradients, statistics) of one batch in training mode.

    Gradients are of the loss alone, without weight decay, of every weight and bias, the frozen
    too; statistics are the running ones after the batch. All by canonical name.
    """
    passed = forward(parameters, images, recipe.backbone, training=True)
    logits_gradient = loss_gradient(passed.logits, labels, recipe)
    by_name = backward(parameters, passed, logits_gradient, recipe.backbone)
    return loss(passed.logits, labels, recipe), by_name, passed.statistics


def sgd_step(
    parameters: Values, momentum: Values, gradients: Values, recipe: Recipe, learning_rate: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the parameters and the momentum after one step of SGD; the arguments are left alone.

    g = gradient + decay p;  buffer = mu buffer + g;  p = p - learning_rate buffer: PyTorch's form,
    with coupled decay, of the recipe's trainable parameters. Everything else stays as it is.

    Args:
        momentum: Canonical name -> buffer; a missing one counts as zero, so ``{}`` at the start.
    """
    parameters, momentum = _float64(parameters), _float64(momentum)
    for name, decay in weight_decays(recipe).items():
        g = gradients[name] + decay * parameters[name]
        momentum[name] = recipe.momentum * momentum.get(name, np.zeros(g.shape)) + g
        parameters[name] = parameters[name] - learning_rate * momentum[name]
    return parameters, momentum


def train_step(
    parameters: Values,
    momentum: Values,
    images: Bytes,
    labels: Bytes,
    recipe: Recipe,
    learning_rate: float,
) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Return (parameters, momentum, loss) after one training step, running statistics included."""
    value, by_name, statistics = gradients(parameters, images, labels, recipe)
    new_parameters, new_momentum = sgd_step(parameters, momentum, by_name, recipe, learning_rate)
    return {**new_parameters, **statistics}, new_momentum, value
