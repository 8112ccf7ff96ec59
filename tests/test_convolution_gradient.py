"""JAX's convolution, whose kernel's gradient is matrix products where YNNPACK computes them."""

from __future__ import annotations

import numpy as np
import pytest

from common import reference_ops as ops
from common.probes import relative_error
from common.tolerances import bound
from tests.conftest import required

jax = required("jax", "jax")
model = required("jax", "jax_impl.model")


@pytest.mark.parametrize("size, stride", [(1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("height, width", [(6, 8), (5, 7)])
def test_gradients_by_products_equal_the_reference(
    size: int,
    stride: int,
    height: int,
    width: int,
    generator: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By pairs of pixels and by taps, on even sizes and odd ones; channels in and out different."""
    monkeypatch.setattr(model, "computed_by_ynnpack", lambda dtype: True)
    taken = []
    products = model.kernel_gradient
    monkeypatch.setattr(
        model, "kernel_gradient", lambda *given: taken.append(1) or products(*given)
    )
    edge = size // 2
    x = generator.normal(size=(2, height, width, 4)).astype(np.float32)
    weight = generator.normal(size=(5, 4, size, size)).astype(np.float32)

    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return model.convolve(
            *(x, kernel, (stride, stride), ((edge, edge),) * 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    y, gradients = jax.vjp(forward, x, weight.transpose(2, 3, 1, 0))
    dy = generator.normal(size=y.shape).astype(np.float32)
    dx, dkernel = gradients(dy)
    assert taken
    wide = [array.astype(float) for array in (x, weight, dy)]
    expected = (
        ops.convolution(wide[0], wide[1], stride, edge),
        ops.convolution_input_gradient(wide[2], wide[1], stride, edge, (height, width)),
        ops.convolution_weight_gradient(wide[0], wide[2], size, stride, edge),
    )
    actual = (y, dx, np.asarray(dkernel).transpose(3, 2, 0, 1))
    for ours, theirs in zip(actual, expected, strict=True):
        assert relative_error(np.asarray(ours), theirs) < bound("logits")
