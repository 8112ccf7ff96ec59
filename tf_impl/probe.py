"""What the proof of equal work looks at: every layer's output and every gradient, as NumPy."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from common.parameters.names import layer_names
from tf_impl.model import BatchNorm
from tf_impl.step import State, loss_gradients
from tf_impl.weights import to_canonical


def layer_outputs(state: State, images: tf.Tensor, training: bool) -> dict[str, NDArray]:
    """Return name -> output [B, H, W, C] of every layer, in forward order; ``state`` stays."""
    names = layer_names(state.config.recipe.backbone)
    known = {layer.name: layer.output for layer in state.model.layers}
    # The v1 shortcut ends with its norm.
    outputs = [known.get(name, known.get(f"{name}.1")) for name in names]
    kept = _statistics(state)
    values = keras.Model(state.model.inputs, outputs)(images, training=training)
    _restore(state, kept)
    return {
        name: np.asarray(value, np.promote_types(value.dtype.as_numpy_dtype, np.float32))
        for name, value in zip(names, values, strict=True)
    }


def gradients(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[float, dict[str, NDArray]]:
    """Return the training loss and gradients by name; ``state`` stays."""
    kept = _statistics(state)
    loss, values = tf.function(loss_gradients)(state, images, labels)
    _restore(state, kept)
    return float(loss), {
        name: to_canonical(name, value.numpy())
        for name, value in zip(state.trained, values, strict=True)
    }


def _statistics(state: State) -> list[tf.Tensor]:
    norms = [layer for layer in state.model.layers if isinstance(layer, BatchNorm)]
    return [
        tf.identity(variable.value)
        for norm in norms
        for variable in (norm.moving_mean, norm.moving_variance)
    ]


def _restore(state: State, kept: list[tf.Tensor]) -> None:
    norms = [layer for layer in state.model.layers if isinstance(layer, BatchNorm)]
    variables = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)
