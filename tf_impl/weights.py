"""Canonical parameters to TensorFlow's and back, by copy."""

import keras
import numpy as np
from numpy.typing import NDArray

from common.parameters.names import Parameters, used_momentum
from tf_impl.model import FCN
from tf_impl.state import State

PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Keras' name of a layer's variable -> the canonical one; the layers' names are canonical."""


def variables_of(model: FCN) -> dict[str, keras.Variable]:
    """Return the network's variables by canonical name."""
    return {
        f"{layer.name}.{PARTS[variable.name]}": variable
        for layer in model.layers
        for variable in layer.variables
    }


def from_canonical(array: NDArray) -> NDArray:
    """Return ``array`` in this framework's layout: HWIO, of the transposed convolution HWOI."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_canonical(array: NDArray) -> NDArray:
    """Undo ``from_canonical``."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def load_parameters(model: FCN, parameters: Parameters) -> None:
    """Copy ``parameters`` into ``model``."""
    variables = variables_of(model)
    assert variables.keys() == parameters.keys(), variables.keys() ^ parameters.keys()
    for name, array in parameters.items():
        variables[name].assign(from_canonical(array))


def parameters_of(state: State) -> Parameters:
    """Return copies of all parameters and running statistics, float32."""
    return {
        name: np.array(to_canonical(variable.numpy()), np.float32, order="C")
        for name, variable in variables_of(state.model).items()
    }


def load_momentum(state: State, momentum: Parameters) -> State:
    """Return the state with copies of ``momentum`` in its optimizer, as far as it is used."""
    used = used_momentum(state.config.recipe, momentum)
    for name, array in used.items():
        state.optimizer.buffers[name].assign(from_canonical(array))
    return state


def momentum_of(state: State) -> Parameters:
    """Return copies of the momentum buffers by parameter name, empty if the recipe has none."""
    return {
        name: np.array(to_canonical(buffer.numpy()), np.float32, order="C")
        for name, buffer in state.optimizer.buffers.items()
    }
