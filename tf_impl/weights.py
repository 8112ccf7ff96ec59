"""Canonical parameters to TensorFlow's and back, by copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from numpy.typing import NDArray

from common.parameters.names import Parameters

if TYPE_CHECKING:
    from tf_impl.step import State

PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Keras' name of a layer's variable -> the canonical one; the layers' names are canonical."""


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the network's variables by canonical name."""
    return {
        f"{layer.name}.{PARTS[variable.name]}": variable
        for layer in model.layers
        for variable in layer.variables
    }


def from_canonical(name: str, array: NDArray) -> NDArray:
    """Return ``array`` in this framework's layout: HWIO, of the transposed convolution HWOI."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_canonical(name: str, array: NDArray) -> NDArray:
    """Undo ``from_canonical``."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def load_parameters(model: keras.Model, parameters: Parameters) -> None:
    """Copy ``parameters`` into ``model``."""
    variables = variables_of(model)
    assert variables.keys() == parameters.keys(), variables.keys() ^ parameters.keys()
    for name, array in parameters.items():
        variables[name].assign(from_canonical(name, array))


def parameters_of(state: State) -> Parameters:
    """Return copies of all parameters and running statistics, float32."""
    return {
        name: _to_numpy(to_canonical(name, variable.numpy()))
        for name, variable in variables_of(state.model).items()
    }


def load_momentum(state: State, momentum: Parameters) -> None:
    """Copy momentum buffers into the optimizer of ``state``."""
    for name, array in momentum.items():
        state.momentum[name].assign(from_canonical(name, array))


def momentum_of(state: State) -> Parameters:
    """Return copies of the momentum buffers by parameter name, empty if the recipe has none."""
    return {
        name: _to_numpy(to_canonical(name, buffer.numpy()))
        for name, buffer in state.momentum.items()
    }


def _to_numpy(array: NDArray) -> NDArray[np.float32]:
    return np.array(array, np.float32, order="C")
