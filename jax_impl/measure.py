"""What a benchmark measures beside whole steps: parts of one, the machine's rates, a trace."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from common.config import Config
from jax_impl.device import device_of, to_device
from jax_impl.loss import cross_entropy
from jax_impl.model import LAYOUT, create_model, transposed_convolution
from jax_impl.state import State
from jax_impl.step import loss_and_gradients, no_transfers
from jax_impl.weights import canonical_name, from_canonical

COMPUTE = {"bfloat16": jnp.bfloat16, "float64": jnp.float64}


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    gpu = device_of(config).platform == "gpu"
    flags = os.environ.get("XLA_FLAGS", "")
    # JAX's default, as with bfloat16, lets a GPU multiply in TF32 what is float32.
    full = jax.config.jax_default_matmul_precision == "highest"
    return {
        "compile": "jit",
        "layout": LAYOUT,
        "upsampling": create_model(config).transpose_conv.upsampling,
        "tf32": not full if gpu else None,
        "autotune": "xla_gpu_autotune_level=0" not in flags if gpu else None,
    }


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias), as the network computes it."""
    layer = create_model(config).transpose_conv
    dtype = COMPUTE.get(config.precision, jnp.float32)
    weight = to_device(from_canonical(weight), config)
    # The bias keeps its precision in bfloat16, as the network's does.
    bias = to_device(bias, config).astype(jnp.promote_types(dtype, jnp.float32))

    def upsample(x: Array, weight: Array, bias: Array) -> Array:
        x, weight = x.astype(dtype), weight.astype(dtype)
        return transposed_convolution(x, weight, bias, layer.stride, layer.upsampling)

    @jax.jit
    def compiled(x: Array, gradient: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
        y, pull = jax.vjp(upsample, x, weight, bias)
        return y, *pull(gradient.astype(y.dtype))

    return lambda x, gradient: compiled(x, gradient, weight, bias)


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits), as a training computes it."""
    recipe = config.recipe

    def loss(logits: Array, labels: Array) -> Array:
        return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)

    return jax.jit(jax.value_and_grad(loss))


@no_transfers
@partial(jax.jit, donate_argnames="state")
def backward_step(
    state: State, images: Array, labels: Array
) -> tuple[State, Array, dict[str, Array]]:
    """Forward, loss and backward of a batch on one device, without the update.

    Returns the next state, whose running statistics have moved, the loss, and the gradient of each
    trained parameter by canonical name, until the next step.
    """
    (loss, rest), gradients = loss_and_gradients(state, images, labels)
    flat = nnx.to_flat_state(gradients)
    named = {canonical_name(path): variable[...] for path, variable in flat}
    return replace(state, rest=rest), loss, named


def matrix_product(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that multiplies two square matrices in the precision of ``config``."""
    dtype = COMPUTE.get(config.precision, jnp.float32)
    device = device_of(config)
    a = jax.device_put(jax.random.uniform(jax.random.key(0), (size, size), dtype), device)
    product = jax.jit(lambda a: a @ a)
    return lambda: product(a)


def stream(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that reads a square float32 matrix and writes its negative."""
    device = device_of(config)
    a = jax.device_put(jnp.ones((size, size), jnp.float32), device)
    # Into memory that is there: to get new pages from the system takes several times as long.
    negative = jax.device_put(jnp.zeros_like(a), device)
    into = jax.jit(lambda a, negative: -a, donate_argnums=1, keep_unused=True)

    def step() -> Array:
        nonlocal negative
        negative = into(a, negative)
        return negative

    return step


@contextmanager
def trace(folder: Path) -> Iterator[None]:
    """Leave JAX's own record of the operations within in ``folder``."""
    with jax.profiler.trace(folder):
        yield
