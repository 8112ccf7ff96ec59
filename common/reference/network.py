"""The whole network, its loss, gradient and SGD step in float64 NumPy: what backends must equal.

No framework computes anything here, and each operation's gradient is written by hand. The network
is the list of layers of ``common.parameters.names``, which a pass goes through forwards or
backwards. Parameters are the canonical dictionary of that module, in float32 or float64; results
are float64.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.classes import VOID
from common.data.images import MEAN, STD
from common.parameters import names
from common.recipes import Network, Recipe
from common.reference import operations as ops
from common.reference.operations import Array

Values = Mapping[str, NDArray[np.floating]]
Bytes = NDArray[np.uint8]


class Forward(NamedTuple):
    """What one pass through the network computed.

    Attributes:
        network: Which it is.
        values: Every layer's output, float64 [B, h, w, C].
        statistics: In training mode every norm's new running mean and variance, else empty.
    """

    network: Network
    values: dict[str, Array]
    statistics: dict[str, Array]

    @property
    def layers(self) -> dict[str, Array]:
        """Return the outputs that a proof compares, in the order of ``layer_names``."""
        return {name: self.values[name] for name in names.layer_names(self.network)}

    @property
    def logits(self) -> Array:
        """float64 [B, H, W, C] of C classes, the last layer's output."""
        return self.values["transpose_conv"]


def _float64(values: Values) -> dict[str, Array]:
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def forward(parameters: Values, images: Bytes, network: Network, training: bool) -> Forward:
    """Compute the logits and every layer on the way.

    Args:
        parameters: Canonical names -> arrays.
        images: uint8 [B, H, W, 3], RGB; H and W as you like, but the logits have as many pixels
            as the labels only where both are multiples of 32: their sides are 32 ceil(side / 32).
        network: Which it is.
        training: Normalise by the batch's own moments, and move the running statistics.

    Raises:
        InputError: In training mode, where a norm has one value a channel to normalise.
    """
    parameters = _float64(parameters)
    values: dict[str, Array] = {"images": images / 255.0}
    statistics: dict[str, Array] = {}
    for layer in names.layers(network):
        x, *others = (values[name] for name in layer.inputs)
        own = [parameters[name] for name in layer.shapes]
        match layer.kind:
            case "normalize":
                y = (x - np.asarray(MEAN, np.float64)) / np.asarray(STD, np.float64)
            case "convolution":
                y = sum(own[1:], ops.convolution(x, own[0], layer.stride, layer.padding))
            case "transpose_convolution":
                y = ops.transpose_convolution(x, own[0], layer.stride, layer.padding) + own[1]
            case "norm":
                *affine, mean, variance = own
                if training:
                    moved = ops.moved_statistics(x, mean, variance)
                    statistics |= zip(list(layer.shapes)[-2:], moved, strict=True)
                    mean, variance = ops.moments(x)
                weight, bias = affine or (np.ones(()), np.zeros(()))
                y = ops.batch_norm(x, mean, variance, weight, bias)
            case "relu":
                y = np.maximum(x, 0.0)
            case "max_pool":
                y = ops.max_pool(x)
            case "add":
                y = x + others[0]
            case "add_relu":
                y = np.maximum(x + others[0], 0.0)
        values[layer.name] = y
    return Forward(network, values, statistics)


def backward(parameters: Values, passed: Forward, logits_gradient: Array) -> dict[str, Array]:
    """Return the gradient of every weight and bias, from the logits' back through the network.

    Args:
        parameters: Those that ``passed`` was computed with.
        passed: What ``forward`` returned in training mode.
        logits_gradient: float64 [B, H, W, C] of C classes.

    Returns:
        Canonical name -> gradient, in forward order, of all but the running statistics.
    """
    parameters, values = _float64(parameters), passed.values
    by_layer, by_name = {"transpose_conv": logits_gradient}, dict[str, Array]()
    for layer in reversed(names.layers(passed.network)):
        x, g, own = values[layer.inputs[0]], by_layer.pop(layer.name), list(layer.shapes)
        window = layer.stride, layer.padding
        match layer.kind:
            case "convolution":
                weight, size = parameters[own[0]], x.shape[1:3]
                for bias in own[1:]:
                    by_name[bias] = g.sum(axis=(0, 1, 2))
                by_name[own[0]] = ops.convolution_weight_gradient(x, g, weight.shape[2], *window)
                if layer.name == "backbone.conv1":  # Before it there is nothing to train.
                    break
                g = ops.convolution_input_gradient(g, weight, *window, size)
            case "transpose_convolution":
                weight = parameters[own[0]]
                by_name[own[1]] = g.sum(axis=(0, 1, 2))
                g, by_name[own[0]] = ops.transpose_convolution_gradients(x, weight, g, *window)
            case "norm":
                weight = parameters[own[0]]
                g, by_name[own[0]], by_name[own[1]] = ops.batch_norm_gradients(x, weight, g)
            case "max_pool":
                g = ops.max_pool_gradient(x, g)
            case "relu" | "add_relu":
                g = g * (values[layer.name] > 0)
        for name in layer.inputs:
            by_layer[name] = by_layer[name] + g if name in by_layer else g
    shapes = names.parameter_shapes(passed.network)
    return {name: by_name[name] for name in shapes if not names.is_statistic(name)}


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
        logits: [B, H, W, C].
        labels: uint8 [B, H, W], 0..C-1, 255 = void.
    """
    return ops.cross_entropy(np.asarray(logits, np.float64), *_pixel_weights(labels, recipe))


def loss_gradient(logits: NDArray[np.floating], labels: Bytes, recipe: Recipe) -> Array:
    """Return the gradient [B, H, W, C] of ``loss`` with respect to the logits."""
    weighted = _pixel_weights(labels, recipe)
    return ops.cross_entropy_gradient(np.asarray(logits, np.float64), *weighted)


def gradients(
    parameters: Values, images: Bytes, labels: Bytes, recipe: Recipe
) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """Return (loss, gradients, statistics) of one batch in training mode.

    Gradients are of the loss alone, without weight decay, of every weight and bias, the frozen
    too; statistics are the running ones after the batch. All by canonical name.
    """
    passed = forward(parameters, images, recipe.network, training=True)
    logits_gradient = loss_gradient(passed.logits, labels, recipe)
    by_name = backward(parameters, passed, logits_gradient)
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
    for name, decay in names.weight_decays(recipe).items():
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
