"""What the proof of equal work looks at: every layer's output and every gradient, as NumPy."""

from functools import partial

import jax
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from common.parameters.names import layer_names
from jax_impl.state import State
from jax_impl.step import loss_and_gradients
from jax_impl.weights import canonical_parameters, path_name


def layer_outputs(state: State, images: Array, training: bool) -> dict[str, NDArray]:
    """Return name -> output [B, H, W, C] of every layer, in forward order; ``state`` stays."""
    captured = nnx.to_flat_state(_captured(state, images, training))
    outputs = {path_name(path[:-1]): variable[0] for path, variable in captured}
    return {
        name: np.asarray(outputs[name], np.promote_types(outputs[name].dtype, np.float32))
        for name in layer_names(state.config.recipe.network)
    }


@partial(jax.jit, static_argnames="training")
def _captured(state: State, images: Array, training: bool) -> nnx.State:
    model = nnx.merge(state.network, state.parameters, state.rest)
    model.train() if training else model.eval()
    return nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(images)[1]


def gradients(state: State, images: Array, labels: Array) -> tuple[float, dict[str, NDArray]]:
    """Return the training loss and gradients by name; ``state`` stays."""
    (loss, _), by_path = jax.jit(loss_and_gradients)(state, images, labels)
    return float(loss), canonical_parameters(by_path)
