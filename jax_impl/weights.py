"""Canonical parameters to Flax's and back, by copy."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from common.parameters.names import Parameters, used_momentum
from jax_impl.model import FCN
from jax_impl.state import State

PARTS = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""Flax's name of a layer's variable -> the canonical one."""


def path_name(path: tuple[Any, ...]) -> str:
    """Return the canonical name of the layer at ``path`` in the network."""
    return ".".join(str(key) for key in path if key != "layers")


def canonical_name(path: tuple[Any, ...]) -> str:
    """Return the canonical name of the variable at ``path`` in the network's state."""
    return f"{path_name(path[:-1])}.{PARTS[path[-1]]}"


def canonical_parameters(tree: nnx.State) -> Parameters:
    """Return copies of the variables in ``tree`` under their canonical names."""
    return {
        name: np.array(to_canonical(np.asarray(variable[...])), order="C")
        for path, variable in nnx.to_flat_state(tree)
        for name in [canonical_name(path)]
    }


def from_canonical(array: NDArray) -> NDArray:
    """Return ``array`` in this framework's layout: HWIO, of the transposed convolution HWOI."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_canonical(array: NDArray) -> NDArray:
    """Undo ``from_canonical``."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def load_parameters(model: FCN, parameters: Parameters) -> None:
    """Copy ``parameters`` into ``model``."""
    state = nnx.state(model)
    names = {canonical_name(path) for path, _ in nnx.to_flat_state(state)}
    assert names == parameters.keys(), names ^ parameters.keys()
    nnx.update(model, _filled(state, parameters))


def parameters_of(state: State) -> Parameters:
    """Return copies of all parameters and running statistics, float32."""
    arrays = canonical_parameters(state.parameters) | canonical_parameters(state.rest)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def load_momentum(state: State, momentum: Parameters) -> State:
    """Return the state with copies of ``momentum`` in its optimizer, as far as it is used."""
    used = used_momentum(state.config.recipe, momentum)
    if not used:
        return state
    buffers = optax.tree.get(state.optimizer, "trace")
    optimizer = optax.tree.set(state.optimizer, trace=_filled(buffers, used))
    return replace(state, optimizer=optimizer)


def momentum_of(state: State) -> Parameters:
    """Return copies of the momentum buffers by parameter name, empty if the recipe has none."""
    arrays = canonical_parameters(optax.tree.get(state.optimizer, "trace", nnx.State({})))
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _filled(tree: nnx.State, arrays: Parameters) -> nnx.State:
    """Return ``tree`` with copies of ``arrays`` in the places that have their names."""

    def fill(path: tuple[Any, ...], variable: nnx.Variable) -> nnx.Variable:
        name = canonical_name(path)
        if name not in arrays:
            return variable
        value = jnp.array(from_canonical(arrays[name]), variable.dtype)
        return variable.replace(value)

    return nnx.map_state(fill, tree)
