"""The single operations of the reference network and their gradients, in float64 NumPy.

Maps are NHWC: [batch, height, width, channels]. Convolution weights are OIHW, the transposed
convolution's IOHW. A gradient is that of one scalar, the loss, and has the shape of the value it
belongs to; ``gradient`` as an argument is always the one with respect to the operation's output.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from common.machine.threads import cpu_count
from common.parameters.names import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, check_variance

Array = NDArray[np.float64]
Part = TypeVar("Part")
SMALL = 2**18
"""Values. An image with fewer of them, intermediate ones too, is done sooner than threads start."""


def by_image(function: Callable[..., Part], *maps: NDArray, intermediate: int = 0) -> list[Part]:
    """Return ``function(*maps)`` of every image [1, H, W, C].

    One by one, for an image's intermediate results to stay in the processor's cache. A matrix
    product uses OMP_NUM_THREADS threads, by default one a CPU; as many images are computed at once
    as leave each thread a CPU. So OMP_NUM_THREADS=1 suits a batch of many images best. Small images
    are computed one after another.

    Args:
        intermediate: Values that ``function`` makes of an image on its way.
    """
    images = [tuple(each[i : i + 1] for each in maps) for i in range(len(maps[0]))]
    at_once = _images_at_once(os.environ.get("OMP_NUM_THREADS", ""))
    if at_once < 2 or intermediate + sum(each[0].size for each in maps) < SMALL:
        return [function(*image) for image in images]
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(lambda image: function(*image), images))


@cache  # To read a container's limits takes as long as a small convolution.
def _images_at_once(threads: str) -> int:
    """Return how many images are computed at once if a matrix product has so many threads."""
    return cpu_count() // int(threads) if threads.isdecimal() and int(threads) > 0 else 1


def map_by_image(function: Callable[..., Array], *maps: NDArray, intermediate: int = 0) -> Array:
    """Return the maps [1, h, w, c] that ``function`` makes of every image, as one of the batch."""
    return np.concatenate(by_image(function, *maps, intermediate=intermediate))


def pad(x: Array, padding: int, value: float = 0.0) -> Array:
    """Surround height and width of ``x`` with ``padding`` pixels of ``value``."""
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return np.pad(x, widths, constant_values=value)


def _windows(x: Array, kernel: int, stride: int) -> Array:
    """Return a view of every window, [batch, out height, out width, kernel, kernel, channels]."""
    windows = sliding_window_view(x, (kernel, kernel), axis=(1, 2), writeable=True)
    return windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


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
    kernels = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))  # Once, not for every image.

    def correlate(x: Array) -> Array:
        windows = _windows(pad(x, padding), weight.shape[2], stride)
        return np.tensordot(windows, kernels, axes=((3, 4, 5), (1, 2, 3)))

    height, width = ((side + 2 * padding - weight.shape[2]) // stride + 1 for side in x.shape[1:3])
    return map_by_image(correlate, x, intermediate=height * width * weight[0].size)


def convolution_input_gradient(
    gradient: Array, weight: Array, stride: int, padding: int, size: tuple[int, int]
) -> Array:
    """Return the gradient with respect to a convolution's input, of height and width ``size``.

    Each output pixel hands its gradient, times the kernel, back to the window that it came from.
    """
    height, width = size
    kernels = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))  # Once, not for every image.

    def paint(gradient: Array) -> Array:
        patches = np.tensordot(gradient, kernels, axes=1)
        shape = (len(gradient), height + 2 * padding, width + 2 * padding, weight.shape[1])
        x_gradient = np.zeros(shape)
        windows = _windows(x_gradient, weight.shape[2], stride)
        pixels, taps = gradient.shape[1:3], weight.shape[2:]
        # Windows overlap: tap by tap, or window by window, none is lost.
        if math.prod(pixels) < math.prod(taps):
            for p, q in np.ndindex(pixels):
                windows[:, p, q] += patches[:, p, q]
        else:
            for i, j in np.ndindex(taps):
                windows[:, :, :, i, j] += patches[:, :, :, i, j]
        return x_gradient[:, padding : padding + height, padding : padding + width]

    patches = math.prod(gradient.shape[1:3]) * weight[0].size
    return map_by_image(paint, gradient, intermediate=patches)


def convolution_weight_gradient(
    x: Array, gradient: Array, kernel: int, stride: int, padding: int
) -> Array:
    """Return the gradient [O, I, k, k] with respect to the weight of a convolution of ``x``."""

    def by_tap(x: Array, gradient: Array) -> Array:
        windows = _windows(pad(x, padding), kernel, stride)
        return np.tensordot(gradient, windows, axes=((0, 1, 2), (0, 1, 2)))

    windows = math.prod(gradient.shape[1:3]) * kernel**2 * x.shape[3]
    total = sum(by_image(by_tap, x, gradient, intermediate=windows), np.zeros(()))
    return np.ascontiguousarray(total.transpose(0, 3, 1, 2))


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


def max_pool(x: Array) -> Array:
    """Return the largest value of each 3x3 window, two pixels apart; outside is minus infinity."""

    def largest(x: Array) -> Array:
        return _windows(pad(x, 1, -np.inf), kernel=3, stride=2).max(axis=(3, 4))

    return map_by_image(largest, x)


def max_pool_gradient(x: Array, gradient: Array) -> Array:
    """Return the gradient with respect to ``x``: each window's goes to its first largest value.

    Frameworks may break ties otherwise. After a ReLU it makes no difference where a tie is at zero.
    """
    height, width = x.shape[1:3]

    def hand_back(x: Array, maximum: Array, gradient: Array) -> Array:
        remaining = gradient.copy()
        x_padded = pad(x, 1, -np.inf)
        x_gradient = np.zeros(x_padded.shape)
        values, targets = (_windows(array, 3, 2) for array in (x_padded, x_gradient))
        for i, j in np.ndindex(3, 3):
            chosen = values[:, :, :, i, j] == maximum
            targets[:, :, :, i, j] += np.where(chosen, remaining, 0.0)
            remaining[chosen] = 0.0
        return x_gradient[:, 1 : 1 + height, 1 : 1 + width]

    return map_by_image(hand_back, x, max_pool(x), gradient)


def moments(x: Array) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance over batch, height and width."""
    n = x.size // x.shape[3]
    mean = sum(by_image(lambda x: x.sum(axis=(0, 1, 2)), x), 0.0) / n
    squares = by_image(lambda x: np.square(x - mean).sum(axis=(0, 1, 2)), x)
    return mean, sum(squares, 0.0) / n


def moved_statistics(x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Return the running mean and variance, moved a tenth towards those of ``x``.

    The variance of ``x`` counts unbiased here: the sum of squares over n - 1, not n.

    Raises:
        InputError: For a single value in each channel, which has no variance.
    """
    n = x.size // x.shape[3]
    check_variance(n)
    new_mean, biased = moments(x)
    new_variance = biased * n / (n - 1)
    momentum = BATCH_NORM_MOMENTUM
    return mean + momentum * (new_mean - mean), variance + momentum * (new_variance - variance)


def batch_norm(x: Array, mean: Array, variance: Array, weight: Array, bias: Array) -> Array:
    """Return weight (x - mean) / sqrt(variance + eps) + bias, channel by channel.

    Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    scale = weight / np.sqrt(variance + BATCH_NORM_EPSILON)
    return map_by_image(lambda x: (x - mean) * scale + bias, x)


def batch_norm_gradients(x: Array, weight: Array, gradient: Array) -> tuple[Array, Array, Array]:
    """Return the gradients (x, weight, bias) of a batch norm by the moments of ``x`` itself.

    With z the normalised x, n the values in a channel and g the gradient:
    bias: sum g; weight: sum g z; x: weight / sqrt(var + eps) (g - mean g - z mean(g z)).

    Source: Ioffe and Szegedy 2015, section 3, the chain rule there collected.
    """
    mean, variance = moments(x)
    deviation = np.sqrt(variance + BATCH_NORM_EPSILON)
    n = x.size // x.shape[3]

    def sums(x: Array, g: Array) -> Array:
        z = (x - mean) / deviation
        return np.stack([g.sum(axis=(0, 1, 2)), (g * z).sum(axis=(0, 1, 2))])

    bias_gradient, weight_gradient = sum(by_image(sums, x, gradient), np.zeros(()))

    def moved_back(x: Array, g: Array) -> Array:
        z = (x - mean) / deviation
        return (weight / deviation) * (g - bias_gradient / n - z * weight_gradient / n)

    return map_by_image(moved_back, x, gradient), weight_gradient, bias_gradient


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

    def of_image(logits: Array, classes: NDArray[np.intp], weights: Array) -> float:
        chosen = np.take_along_axis(_log_softmax(logits), classes[..., None], axis=-1)[..., 0]
        return float(-(weights * chosen).sum())

    return sum(by_image(of_image, logits, classes, weights), 0.0)


def cross_entropy_gradient(logits: Array, classes: NDArray[np.intp], weights: Array) -> Array:
    """Return the gradient with respect to the logits: weight (softmax - one-hot), by pixel."""

    def by_pixel(logits: Array, classes: NDArray[np.intp], weights: Array) -> Array:
        one_hot = np.eye(logits.shape[-1])[classes]
        return weights[..., None] * (np.exp(_log_softmax(logits)) - one_hot)

    return map_by_image(by_pixel, logits, classes, weights)


def resize(x: Array, size: tuple[int, int]) -> Array:
    """Return x [h, w, C] resized to [H, W, C]: linear between the centres of pixels, flat outside.

    Written as the product with a matrix for each side.
    """
    for axis, new in enumerate(size):
        old = x.shape[axis]
        places = (np.arange(new) + 0.5) * old / new - 0.5
        weights = np.stack([np.interp(places, np.arange(old), row) for row in np.eye(old)], axis=1)
        x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
    return x


def log_mean_softmax(logits: Sequence[Array]) -> Array:
    """Return the logarithm of the mean of the softmax probabilities of several logits [H, W, C]."""
    return np.logaddexp.reduce([_log_softmax(view) for view in logits]) - np.log(len(logits))
