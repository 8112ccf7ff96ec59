"""What the proof of equal work looks at: every layer's output and every gradient, as NumPy."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from common.parameters.names import layer_names
from tf_impl.state import State
from tf_impl.step import loss_and_gradients
from tf_impl.weights import to_canonical


def layer_outputs(state: State, images: tf.Tensor, training: bool) -> dict[str, NDArray]:
    """Return name -> output [B, H, W, C] of every layer, in forward order; ``state`` stays."""
    names = layer_names(state.config.recipe.network)
    known = {layer.name: layer.output for layer in state.model.layers}
    # The v1 shortcut ends with its norm.
    outputs = [known.get(name, known.get(f"{name}.1")) for name in names]
    with _statistics_kept(state):
        values = keras.Model(state.model.inputs, outputs)(images, training=training)
    return {
        name: np.asarray(value, np.promote_types(value.dtype.as_numpy_dtype, np.float32))
        for name, value in zip(names, values, strict=True)
    }


def gradients(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[float, dict[str, NDArray]]:
    """Return the training loss and gradients by name; ``state`` stays."""
    with _statistics_kept(state):
        loss, values = tf.function(loss_and_gradients)(state, images, labels)
    return float(loss), {
        name: to_canonical(value.numpy())
        for name, value in zip(state.optimizer.variables, values, strict=True)
    }


@contextmanager
def _statistics_kept(state: State) -> Iterator[None]:
    """Let the running statistics, which training moves, end as they were."""
    statistics = state.model.non_trainable_variables
    values = [variable.numpy() for variable in statistics]
    yield
    for variable, value in zip(statistics, values, strict=True):
        variable.assign(value)
