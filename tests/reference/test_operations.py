"""The reference's operations against SciPy, literal values and finite differences."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import convolve2d, correlate2d

from common.errors import InputError
from common.reference import operations as ops

CONVOLUTIONS = [
    # kernel, stride, padding, height, width: round sizes, and such as leave a last row unseen.
    (7, 2, 3, 12, 9),
    (3, 1, 1, 5, 6),
    (3, 2, 1, 6, 7),
    (3, 2, 0, 6, 8),
    (1, 1, 0, 4, 3),
    (1, 2, 0, 6, 5),
]
TRANSPOSE_CONVOLUTIONS = [
    (4, 2, 1, 3, 5),
    (4, 2, 1, 5, 6),  # More pixels than a kernel has.
    (8, 4, 2, 2, 3),
    (3, 2, 1, 4, 2),
    (64, 32, 16, 2, 1),
]


def normal(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def assert_is_gradient(
    function: Callable[[NDArray], float], x: NDArray, gradient: NDArray, rtol: float = 1e-7
) -> None:
    """Compare with central differences of ``function`` at ``x`` along random directions."""
    assert gradient.shape == x.shape
    for seed in (100, 101, 102):
        direction = normal(seed, *x.shape)
        step = 1e-5
        difference = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
        assert difference == pytest.approx(np.vdot(gradient, direction), rel=rtol)


@pytest.mark.parametrize("kernel, stride, padding, height, width", CONVOLUTIONS)
def test_convolution_equals_scipy(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    x, weight = normal(0, 2, height, width, 3), normal(1, 4, 3, kernel, kernel)
    result = ops.convolution(x, weight, stride, padding)
    for image in range(2):
        for out_channel in range(4):
            expected = sum(
                correlate2d(
                    np.pad(x[image, :, :, channel], padding), weight[out_channel, channel], "valid"
                )
                for channel in range(3)
            )[::stride, ::stride]
            assert_allclose(result[image, :, :, out_channel], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kernel, stride, padding, height, width", TRANSPOSE_CONVOLUTIONS)
def test_transpose_convolution_equals_scipy(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    x, weight = normal(0, 2, height, width, 3), normal(1, 3, 4, kernel, kernel)
    result = ops.transpose_convolution(x, weight, stride, padding)
    assert result.shape[1] == (height - 1) * stride - 2 * padding + kernel
    spread = np.zeros((2, (height - 1) * stride + 1, (width - 1) * stride + 1, 3))
    spread[:, ::stride, ::stride] = x
    for image in range(2):
        for out_channel in range(4):
            full = sum(
                convolve2d(spread[image, :, :, channel], weight[channel, out_channel], "full")
                for channel in range(3)
            )
            expected = full[padding : len(full) - padding, padding : full.shape[1] - padding]
            assert_allclose(result[image, :, :, out_channel], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kernel, stride, padding, height, width", CONVOLUTIONS)
def test_convolution_gradients(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    x, weight = normal(0, 2, height, width, 3), normal(1, 4, 3, kernel, kernel)
    gradient = normal(2, *ops.convolution(x, weight, stride, padding).shape)

    def value(x: NDArray, weight: NDArray) -> float:
        return np.vdot(gradient, ops.convolution(x, weight, stride, padding))

    of_x = ops.convolution_input_gradient(gradient, weight, stride, padding, (height, width))
    of_weight = ops.convolution_weight_gradient(x, gradient, kernel, stride, padding)
    assert_is_gradient(lambda x: value(x, weight), x, of_x)
    assert_is_gradient(lambda weight: value(x, weight), weight, of_weight)


@pytest.mark.parametrize("kernel, stride, padding, height, width", TRANSPOSE_CONVOLUTIONS)
def test_transpose_convolution_gradients(
    kernel: int, stride: int, padding: int, height: int, width: int
) -> None:
    x, weight = normal(0, 2, height, width, 3), normal(1, 3, 4, kernel, kernel)
    gradient = normal(2, *ops.transpose_convolution(x, weight, stride, padding).shape)

    def value(x: NDArray, weight: NDArray) -> float:
        return np.vdot(gradient, ops.transpose_convolution(x, weight, stride, padding))

    of_x, of_weight = ops.transpose_convolution_gradients(x, weight, gradient, stride, padding)
    assert_is_gradient(lambda x: value(x, weight), x, of_x)
    assert_is_gradient(lambda weight: value(x, weight), weight, of_weight)


@pytest.mark.parametrize("height, width", [(6, 8), (7, 5)])
def test_max_pool_takes_nothing_from_outside_the_image(height: int, width: int) -> None:
    x = normal(0, 2, height, width, 3) - 10
    expected = maximum_filter(x, size=(1, 3, 3, 1), mode="constant", cval=-np.inf)[:, ::2, ::2]
    assert_array_equal(ops.max_pool(x), expected)


@pytest.mark.parametrize("height, width", [(6, 8), (7, 5)])
def test_max_pool_gradient(height: int, width: int) -> None:
    x = normal(0, 2, height, width, 3) - 10
    gradient = normal(1, *ops.max_pool(x).shape)
    of_x = ops.max_pool_gradient(x, gradient)
    assert_is_gradient(lambda x: np.vdot(gradient, ops.max_pool(x)), x, of_x)


def test_max_pool_gradient_goes_to_the_first_of_equals() -> None:
    x = np.array([[3.0, 3.0], [3.0, 1.0]]).reshape(1, 2, 2, 1)
    of_x = ops.max_pool_gradient(x, np.full((1, 1, 1, 1), 5.0))
    assert_array_equal(of_x[0, :, :, 0], [[5, 0], [0, 0]])


def test_batch_norm_literally() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    mean, variance = ops.moments(x)
    assert (mean[0], variance[0]) == (2.5, 1.25)
    result = ops.batch_norm(x, mean, variance, np.array([3.0]), np.array([0.5]))
    expected = 3 * np.array([-1.5, -0.5, 0.5, 1.5]) / math.sqrt(1.25001) + 0.5
    assert_allclose(result.ravel(), expected, rtol=1e-15)


def test_batch_norm_normalises_each_channel_by_itself() -> None:
    x = normal(0, 3, 4, 5, 2) * [1, 10] + [100, -3]
    result = ops.batch_norm(x, *ops.moments(x), np.array([1.0, 1.0]), np.array([0.0, 7.0]))
    assert_allclose(result.mean(axis=(0, 1, 2)), [0, 7], atol=1e-12)
    variance = x.var(axis=(0, 1, 2))
    assert_allclose(result.var(axis=(0, 1, 2)), variance / (variance + 1e-5), rtol=1e-12)


def test_running_statistics_move_a_tenth_towards_the_unbiased_variance() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    mean, variance = ops.moved_statistics(x, np.array([10.0]), np.array([2.0]))
    assert mean[0] == pytest.approx(0.9 * 10 + 0.1 * 2.5, rel=1e-15)
    assert variance[0] == pytest.approx(0.9 * 2 + 0.1 * 5 / 3, rel=1e-15)


def test_one_value_a_channel_has_no_variance() -> None:
    with pytest.raises(InputError, match="larger --batch-size or --crop"):
        ops.moved_statistics(np.zeros((1, 1, 1, 2)), np.zeros(2), np.ones(2))


def test_batch_norm_gradients() -> None:
    x, weight, bias = normal(0, 2, 3, 4, 5), normal(1, 5), normal(2, 5)
    gradient = normal(3, *x.shape)

    def value(x: NDArray, weight: NDArray, bias: NDArray) -> float:
        return np.vdot(gradient, ops.batch_norm(x, *ops.moments(x), weight, bias))

    of_x, of_weight, of_bias = ops.batch_norm_gradients(x, weight, gradient)
    assert_is_gradient(lambda x: value(x, weight, bias), x, of_x)
    assert_is_gradient(lambda weight: value(x, weight, bias), weight, of_weight)
    assert_is_gradient(lambda bias: value(x, weight, bias), bias, of_bias)


def test_cross_entropy_literally() -> None:
    # Class 1 has the odds 20 : 1 against each of 20 others: probabilities 1/2 and 1/40.
    logits = np.zeros((1, 1, 2, 21))
    logits[..., 1] = math.log(20)
    weights = np.array([[[0.25, 2.0]]])
    result = ops.cross_entropy(logits, np.array([[[1, 5]]]), weights)
    assert result == pytest.approx(0.25 * math.log(2) + 2 * math.log(40), rel=1e-15)


def test_cross_entropy_of_huge_logits_is_finite() -> None:
    logits = np.zeros((1, 1, 1, 21))
    logits[..., 1] = 1e5
    assert ops.cross_entropy(logits, np.array([[[5]]]), np.ones((1, 1, 1))) == 1e5


def test_cross_entropy_gradient() -> None:
    logits, weights = 3 * normal(0, 2, 3, 4, 5), normal(1, 2, 3, 4)
    classes = np.random.default_rng(2).integers(0, 5, (2, 3, 4))
    gradient = ops.cross_entropy_gradient(logits, classes, weights)
    assert_is_gradient(lambda x: ops.cross_entropy(x, classes, weights), logits, gradient)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = normal(0, 3, 6, 7, 3), normal(1, 4, 3, 3, 3)
    alone = ops.convolution(x, weight, 1, 1)
    monkeypatch.setattr(ops, "SMALL", 0)
    monkeypatch.setattr(ops, "_images_at_once", lambda threads: 2)
    assert_array_equal(ops.convolution(x, weight, 1, 1), alone)
