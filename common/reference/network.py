"""The whole network, its loss, gradient and SGD step in float64 NumPy: what backends must equal.

No framework computes anything here, and the gradients are written by hand. Parameters are the
canonical dictionary of ``common.parameters.names``, in float32 or float64; results are float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.images import MEAN, STD
from common.data.voc import VOID
from common.parameters.names import (
    STAGES,
    is_statistic,
    parameter_shapes,
    weight_decays,
)
from common.recipes import STRIDE, Recipe
from common.reference import operations as ops
from common.reference.operations import Array

Values = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Forward:
    """What one pass through the network computed.

    Attributes:
        layers: Name -> float64 [B, h, w, C], in the order of
            ``common.parameters.names.layer_names``.
        inputs: Layer with parameters -> what it was applied to, as ``backward`` needs it.
        statistics: After a pass in training mode the new running mean and variance of every norm
            by canonical name, else empty.
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


def forward(
    parameters: Values, images: NDArray[np.uint8], backbone: str, training: bool
) -> Forward:
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
    values = _float64(parameters)
    result = Forward({}, {}, {})

    def record(name: str, x: Array) -> Array:
        result.layers[name] = x
        return x

    def convolution(name: str, x: Array, stride: int = 1) -> Array:
        result.inputs[name] = x
        weight = values[f"{name}.weight"]
        return ops.convolution(x, weight, stride, padding=weight.shape[2] // 2)

    def norm(name: str, x: Array) -> Array:
        result.inputs[name] = x
        names = f"{name}.running_mean", f"{name}.running_var"
        mean, variance = (values[part] for part in names)
        if training:
            moved = ops.moved_statistics(x, mean, variance)
            result.statistics.update(zip(names, moved, strict=True))
            mean, variance = ops.moments(x)
        one, zero = np.ones(x.shape[3]), np.zeros(x.shape[3])
        weight, bias = values.get(f"{name}.weight", one), values.get(f"{name}.bias", zero)
        return ops.batch_norm(x, mean, variance, weight, bias)

    def block_v1(name: str, x: Array, stride: int) -> Array:
        y = record(f"{name}.conv1", convolution(f"{name}.conv1", x, stride))
        y = _relu(record(f"{name}.bn1", norm(f"{name}.bn1", y)))
        y = record(f"{name}.conv2", convolution(f"{name}.conv2", y))
        y = record(f"{name}.bn2", norm(f"{name}.bn2", y))
        if stride > 1:
            x = norm(f"{name}.downsample.1", convolution(f"{name}.downsample.0", x, stride))
            record(f"{name}.downsample", x)
        return record(name, _relu(x + y))

    def block_v2(name: str, x: Array, stride: int) -> Array:
        shortcut = x
        y = x = _relu(record(f"{name}.bn1", norm(f"{name}.bn1", x)))
        y = record(f"{name}.conv1", convolution(f"{name}.conv1", y, stride))
        y = _relu(record(f"{name}.bn2", norm(f"{name}.bn2", y)))
        y = record(f"{name}.conv2", convolution(f"{name}.conv2", y))
        if stride > 1:
            shortcut = convolution(f"{name}.downsample", x, stride)
            record(f"{name}.downsample", shortcut)
        return record(name, shortcut + y)

    v1 = backbone == "resnet18_v1"
    mean, deviation = np.asarray(MEAN, np.float64), np.asarray(STD, np.float64)
    x = record("normalize", (images / 255.0 - mean) / deviation)
    if not v1:
        x = record("backbone.data_bn", norm("backbone.data_bn", x))
    x = record("backbone.conv1", convolution("backbone.conv1", x, stride=2))
    x = _relu(record("backbone.bn1", norm("backbone.bn1", x)))
    x = record("backbone.maxpool", ops.max_pool(x))
    for name, stride in _blocks(backbone):
        x = block_v1(name, x, stride) if v1 else block_v2(name, x, stride)
    if not v1:
        x = _relu(record("backbone.final_bn", norm("backbone.final_bn", x)))
    x = record("final_conv", convolution("final_conv", x) + values["final_conv.bias"])
    result.inputs["transpose_conv"] = x
    x = ops.transpose_convolution(x, values["transpose_conv.weight"], STRIDE, STRIDE // 2)
    record("transpose_conv", x + values["transpose_conv.bias"])
    return result


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
    values = _float64(parameters)
    layers, inputs = passed.layers, passed.inputs
    gradients: dict[str, Array] = {}

    def weight_gradient(name: str, g: Array, stride: int = 1) -> None:
        kernel = values[f"{name}.weight"].shape[2]
        gradients[f"{name}.weight"] = ops.convolution_weight_gradient(
            inputs[name], g, kernel, stride, kernel // 2
        )

    def convolution(name: str, g: Array, stride: int = 1) -> Array:
        weight_gradient(name, g, stride)
        weight = values[f"{name}.weight"]
        size = inputs[name].shape[1:3]
        return ops.convolution_input_gradient(g, weight, stride, weight.shape[2] // 2, size)

    def norm(name: str, g: Array) -> Array:
        x_gradient, gradients[f"{name}.weight"], gradients[f"{name}.bias"] = (
            ops.batch_norm_gradients(inputs[name], values[f"{name}.weight"], g)
        )
        return x_gradient

    def relu(name: str, g: Array) -> Array:
        return g * (layers[name] > 0)

    def block_v1(name: str, g: Array, stride: int) -> Array:
        g = relu(name, g)
        y = convolution(f"{name}.conv2", norm(f"{name}.bn2", g))
        y = relu(f"{name}.bn1", y)
        y = convolution(f"{name}.conv1", norm(f"{name}.bn1", y), stride)
        if stride > 1:
            g = convolution(f"{name}.downsample.0", norm(f"{name}.downsample.1", g), stride)
        return g + y

    def block_v2(name: str, g: Array, stride: int) -> Array:
        y = relu(f"{name}.bn2", convolution(f"{name}.conv2", g))
        y = convolution(f"{name}.conv1", norm(f"{name}.bn2", y), stride)
        if stride > 1:
            y = y + convolution(f"{name}.downsample", g, stride)
        y = norm(f"{name}.bn1", relu(f"{name}.bn1", y))
        return y if stride > 1 else g + y

    v1 = backbone == "resnet18_v1"
    g = logits_gradient
    gradients["transpose_conv.bias"] = g.sum(axis=(0, 1, 2))
    g, gradients["transpose_conv.weight"] = ops.transpose_convolution_gradients(
        inputs["transpose_conv"], values["transpose_conv.weight"], g, STRIDE, STRIDE // 2
    )
    gradients["final_conv.bias"] = g.sum(axis=(0, 1, 2))
    g = convolution("final_conv", g)
    if not v1:
        g = norm("backbone.final_bn", relu("backbone.final_bn", g))
    for name, stride in reversed(_blocks(backbone)):
        g = block_v1(name, g, stride) if v1 else block_v2(name, g, stride)
    g = ops.max_pool_gradient(_relu(layers["backbone.bn1"]), g)
    g = norm("backbone.bn1", relu("backbone.bn1", g))
    weight_gradient("backbone.conv1", g, stride=2)
    return {name: gradients[name] for name in parameter_shapes(backbone) if not is_statistic(name)}


def _pixel_weights(labels: NDArray[np.uint8], recipe: Recipe) -> tuple[NDArray[np.intp], Array]:
    """Return each pixel's class and its weight in the loss of the batch, both [B, H, W]."""
    counted = np.full(labels.shape, True) if recipe.void == "background" else labels != VOID
    classes = np.where(labels == VOID, 0, labels).astype(np.intp)
    pixels = counted.sum(axis=(1, 2), keepdims=True)
    images = len(labels) if recipe.loss_reduction == "mean" else 1
    return classes, counted / (np.maximum(pixels, 1) * images)


def loss(logits: NDArray[np.floating], labels: NDArray[np.uint8], recipe: Recipe) -> float:
    """Return the cross entropy of a batch.

    Of each image the mean over its pixels, with ``void="ignore"`` over its valid ones and 0 where
    it has none, with ``"background"`` over all, void being class 0; then the sum or the mean over
    images, as ``loss_reduction`` says.

    Args:
        logits: [B, H, W, 21].
        labels: uint8 [B, H, W], 0..20, 255 = void.
    """
    return ops.cross_entropy(np.asarray(logits, np.float64), *_pixel_weights(labels, recipe))


def loss_gradient(logits: NDArray[np.floating], labels: NDArray[np.uint8], recipe: Recipe) -> Array:
    """Return the gradient [B, H, W, 21] of ``loss`` with respect to the logits."""
    weighted = _pixel_weights(labels, recipe)
    return ops.cross_entropy_gradient(np.asarray(logits, np.float64), *weighted)


def gradients(
    parameters: Values, images: NDArray[np.uint8], labels: NDArray[np.uint8], recipe: Recipe
) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """Return (loss, gradients, statistics) of one batch in training mode.

    Gradients are of the loss alone, without weight decay, of every weight and bias, the frozen
    too; statistics are the running ones after the batch. All by canonical name.
    """
    passed = forward(parameters, images, recipe.backbone, training=True)
    logits_gradient = loss_gradient(passed.logits, labels, recipe)
    return (
        loss(passed.logits, labels, recipe),
        backward(parameters, passed, logits_gradient, recipe.backbone),
        passed.statistics,
    )


def sgd_step(
    parameters: Values, momentum: Values, gradients: Values, recipe: Recipe, learning_rate: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the parameters and the momentum after one step of SGD; the arguments are left alone.

    g = gradient + decay p;  buffer = mu buffer + g;  p = p - learning_rate buffer: PyTorch's form,
    with coupled decay, of the recipe's trainable parameters. Everything else stays as it is.

    Args:
        momentum: Canonical name -> buffer; a name that is missing counts as zero, so ``{}`` at the
            start.
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
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    recipe: Recipe,
    learning_rate: float,
) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Return (parameters, momentum, loss) after one training step, running statistics included."""
    value, by_name, statistics = gradients(parameters, images, labels, recipe)
    new_parameters, new_momentum = sgd_step(parameters, momentum, by_name, recipe, learning_rate)
    return {**new_parameters, **statistics}, new_momentum, value
