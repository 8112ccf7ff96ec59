"""What a benchmark measures beside whole steps: parts of one, the machine's rates, a trace."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from common.config import Config
from tf_impl.device import device_of
from tf_impl.loss import cross_entropy
from tf_impl.model import LAYOUT, create_model
from tf_impl.state import State
from tf_impl.step import loss_and_gradients
from tf_impl.weights import from_canonical

COMPUTE = {"bfloat16": tf.bfloat16, "float64": tf.float64}


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    gpu, auto = device_of(config).startswith("GPU"), config.upsampling == "auto"
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    autotune = os.environ.get("TF_CUDNN_USE_AUTOTUNE", "1")
    return {
        "compile": "tf.function",
        "layout": LAYOUT,
        "upsampling": "subpixel; without gradients native" if auto else config.upsampling,
        "tf32": tf32 if gpu else None,
        "autotune": autotune.lower() not in ("0", "false") if gpu else None,
    }


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias), as the network computes it."""
    with tf.device(device_of(config)):
        layer = create_model(config).get_layer("transpose_conv")
    return layer_operation(layer, config, weight, bias)


def layer_operation(
    layer: keras.Layer, config: Config, weight: NDArray, bias: NDArray
) -> Callable[..., Any]:
    """Return what ``upsample_operation`` does, for a layer of any origin."""
    layer.set_weights([from_canonical(weight), bias])

    @tf.function
    def step(x: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        inputs = (x, *layer.trainable_variables)
        x_gradient, *gradients = tape.gradient(y, inputs, tf.cast(gradient, y.dtype))
        return y, x_gradient, *gradients

    return step


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits), as a training computes it."""
    recipe = config.recipe

    @tf.function
    def step(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)
        return loss, tape.gradient(loss, logits)

    return step


@tf.function
def _backward_step(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    loss, gradients = loss_and_gradients(state, images, labels)
    return loss, dict(zip(state.optimizer.variables, gradients, strict=True))


def backward_step(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[State, tf.Tensor, dict[str, tf.Tensor]]:
    """Forward, loss and backward of a batch on one device, without the update.

    Returns the next state, whose running statistics have moved, the loss, and the gradient of each
    trained parameter by canonical name, until the next step.
    """
    return state, *_backward_step(state, images, labels)


def matrix_product(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that multiplies two square matrices in the precision of ``config``."""
    with tf.device(device_of(config)):
        a = tf.cast(
            tf.random.stateless_uniform((size, size), (0, 0)),
            COMPUTE.get(config.precision, tf.float32),
        )
    return lambda: a @ a


def stream(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that reads a square float32 matrix and writes its negative."""
    with tf.device(device_of(config)):
        a = tf.ones((size, size))
    # Into memory that the last call gave back, for the allocator keeps it; no operation of
    # TensorFlow takes the memory that it writes to.
    return lambda: -a


@contextmanager
def trace(folder: Path) -> Iterator[None]:
    """Leave TensorFlow's own record of the operations within in ``folder``."""
    with tf.profiler.experimental.Profile(str(folder)):
        yield
