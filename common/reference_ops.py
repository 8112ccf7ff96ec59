"""The single operations of the reference network and their gradients, in float64 NumPy.

Maps are NHWC: [batch, height, width, channels]. Convolution weights are OIHW, the transposed
convolution's IOHW. A gradient is that of one scalar, the loss, and has the shape of the value it
belongs to; ``gradient`` as an argument is always the one with respect to the operation's output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.parameters import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM

Array = NDArray[np.float64]


def pad(x: Array, padding: int, value: float = 0.0) -> Array:
    """Surround height and width of ``x`` with ``padding`` pixels of ``value``."""
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(x, widths, constant_values=value)


def output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many windows of ``kernel`` pixels, ``stride`` apart, fit into the padded side."""
    return (size + 2 * padding - kernel) // stride + 1


def _taps(x_padded: Array, kernel: int, stride: int) -> Iterator[tuple[int, int, Array]]:
    """Yield (i, j, view): what tap (i, j) of the kernel sees at every output pixel."""
    height = output_size(x_padded.shape[1], kernel, stride, 0)
    width = output_size(x_padded.shape[2], kernel, stride, 0)
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + stride * height, stride)
            columns = slice(j, j + stride * width, stride)
            yield i, j, x_padded[:, rows, columns]


def _patches(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """Return every window of ``x`` as [batch, out height, out width, kernel, kernel, channels]."""
    x = pad(x, padding)
    height = output_size(x.shape[1], kernel, stride, 0)
    width = output_size(x.shape[2], kernel, stride, 0)
    patches = np.empty((x.shape[0], height, width, kernel, kernel, x.shape[3]))
    for i, j, view in _taps(x, kernel, stride):
        patches[:, :, :, i, j] = view
    return patches


def convolution(x: Array, weight: Array, stride: int, padding: int) -> Array:
    """Correlate ``x`` with ``weight``, as every framework's "convolution" does.

    y[b, p, q, o] = sum over i, j, c of x[b, s p + i - padding, s q + j - padding, c] w[o, c, i, j],
    x being zero outside.

    Args:
        x: [B, H, W, I].
        weight: [O, I, k, k].

    Returns:
        [B, (H + 2 padding - k) // s + 1, likewise, O].
    """
    patches = _patches(x, weight.shape[2], stride, padding)
    return np.tensordot(patches, weight, axes=((3, 4, 5), (2, 3, 1)))


def convolution_input_gradient(
    gradient: Array, weight: Array, stride: int, padding: int, size: tuple[int, int]
) -> Array:
    """Return the gradient with respect to a convolution's input, of height and width ``size``.

    Each output pixel hands its gradient, times the kernel, back to the window that it came from.
    """
    patches = np.tensordot(gradient, weight.transpose(0, 2, 3, 1), axes=1)
    height, width = size
    shape = (gradient.shape[0], height + 2 * padding, width + 2 * padding, weight.shape[1])
    x_gradient = np.zeros(shape)
    for i, j, view in _taps(x_gradient, weight.shape[2], stride):
        view += patches[:, :, :, i, j]
    return x_gradient[:, padding : padding + height, padding : padding + width]


def convolution_weight_gradient(
    x: Array, gradient: Array, kernel: int, stride: int, padding: int
) -> Array:
    """Return the gradient [O, I, k, k] with respect to the weight of a convolution of ``x``."""
    patches = _patches(x, kernel, stride, padding)
    by_tap = np.tensordot(gradient, patches, axes=((0, 1, 2), (0, 1, 2)))
    return by_tap.transpose(0, 3, 1, 2)


def transpose_convolution(x: Array, weight: Array, stride: int, padding: int) -> Array:
    """Let every pixel of ``x`` paint its own copy of the kernel, ``stride`` apart, and add them up.

    y[b, s p + i - padding, s q + j - padding, o] gets x[b, p, q, c] w[c, o, i, j]. So it is the
    input gradient of the convolution with the same weight, whose output channels are its input.

    Args:
        x: [B, H, W, I].
        weight: [I, O, k, k].

    Returns:
        [B, (H - 1) s - 2 padding + k, likewise, O].
    """
    height, width = ((side - 1) * stride - 2 * padding + weight.shape[2] for side in x.shape[1:3])
    return convolution_input_gradient(x, weight, stride, padding, (height, width))


def transpose_convolution_gradients(
    x: Array, weight: Array, gradient: Array, stride: int, padding: int
) -> tuple[Array, Array]:
    """Return the gradients of a transposed convolution with respect to (x, weight)."""
    x_gradient = convolution(gradient, weight, stride, padding)
    return x_gradient, convolution_weight_gradient(gradient, x, weight.shape[2], stride, padding)


def max_pool(x: Array, kernel: int = 3, stride: int = 2, padding: int = 1) -> Array:
    """Return the largest value of each window; outside ``x`` there is minus infinity."""
    views = (view for _, _, view in _taps(pad(x, padding, -np.inf), kernel, stride))
    maximum = next(views).copy()
    for view in views:
        np.maximum(maximum, view, out=maximum)
    return maximum


def max_pool_gradient(
    x: Array, gradient: Array, kernel: int = 3, stride: int = 2, padding: int = 1
) -> Array:
    """Return the gradient with respect to ``x``: each window's goes to its first largest value.

    Frameworks may break ties otherwise. After a ReLU it makes no difference where a tie is at zero.
    """
    remaining = gradient.copy()
    maximum = max_pool(x, kernel, stride, padding)
    x_padded = pad(x, padding, -np.inf)
    x_gradient = np.zeros(x_padded.shape)
    views = zip(_taps(x_padded, kernel, stride), _taps(x_gradient, kernel, stride), strict=True)
    for (_, _, value), (_, _, target) in views:
        chosen = value == maximum
        target += np.where(chosen, remaining, 0.0)
        remaining[chosen] = 0.0
    height, width = x.shape[1:3]
    return x_gradient[:, padding : padding + height, padding : padding + width]


def moments(x: Array) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance over batch, height and width."""
    mean = x.mean(axis=(0, 1, 2))
    return mean, np.square(x - mean).mean(axis=(0, 1, 2))


def moved_statistics(x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Return the running mean and variance, moved a tenth towards those of ``x``.

    The variance of ``x`` counts unbiased here: the sum of squares over n - 1, not n.

    Raises:
        InputError: For a single value in each channel, which has no variance.
    """
    n = x.size // x.shape[3]
    if n == 1:
        raise InputError("a norm sees one value a channel: train on a larger batch or crop")
    new_mean, biased = moments(x)
    new_variance = biased * n / (n - 1)
    momentum = BATCH_NORM_MOMENTUM
    return mean + momentum * (new_mean - mean), variance + momentum * (new_variance - variance)


def batch_norm(x: Array, mean: Array, variance: Array, weight: Array, bias: Array) -> Array:
    """Return weight (x - mean) / sqrt(variance + eps) + bias, channel by channel.

    Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    return (x - mean) * (weight / np.sqrt(variance + BATCH_NORM_EPSILON)) + bias


def batch_norm_gradients(x: Array, weight: Array, gradient: Array) -> tuple[Array, Array, Array]:
    """Return the gradients (x, weight, bias) of a batch norm by the moments of ``x`` itself.

    With z the normalised x, n the values in a channel and g the gradient:
    bias: sum g; weight: sum g z; x: weight / sqrt(var + eps) (g - mean g - z mean(g z)).

    Source: Ioffe and Szegedy 2015, section 3, the chain rule there collected.
    """
    mean, variance = moments(x)
    deviation = np.sqrt(variance + BATCH_NORM_EPSILON)
    z = (x - mean) / deviation
    mean_gradient = gradient.mean(axis=(0, 1, 2))
    mean_product = (gradient * z).mean(axis=(0, 1, 2))
    n = x.size // x.shape[3]
    x_gradient = (weight / deviation) * (gradient - mean_gradient - z * mean_product)
    return x_gradient, n * mean_product, n * mean_gradient


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(logits: Array, classes: NDArray[np.intp], weights: Array) -> float:
    """Return the sum over pixels of weight times -log softmax(logits)[class].

    Args:
        logits: [B, H, W, C].
        classes: [B, H, W], 0..C - 1.
        weights: [B, H, W].
    """
    chosen = np.take_along_axis(_log_softmax(logits), classes[..., None], axis=-1)[..., 0]
    return float(-(weights * chosen).sum())


def cross_entropy_gradient(logits: Array, classes: NDArray[np.intp], weights: Array) -> Array:
    """Return the gradient with respect to the logits: weight (softmax - one-hot), by pixel."""
    one_hot = np.eye(logits.shape[-1])[classes]
    return weights[..., None] * (np.exp(_log_softmax(logits)) - one_hot)
