"""Canonical parameters to PyTorch's and back, by copy."""

import numpy as np
import torch
from numpy.typing import NDArray

from common.parameters.names import Parameters, used_momentum
from torch_impl.model import FCN
from torch_impl.state import State


def from_canonical(array: NDArray) -> NDArray:
    """Return ``array`` in this framework's layout: PyTorch's is the canonical one."""
    return array


def to_canonical(array: NDArray) -> NDArray:
    """Undo ``from_canonical``."""
    return array


def load_parameters(model: FCN, parameters: Parameters) -> None:
    """Copy ``parameters`` into ``model``."""
    tensors = {name: torch.tensor(from_canonical(array)) for name, array in parameters.items()}
    # A norm's step counter is PyTorch's own and serves only averages without a momentum.
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    assert not missing and not unexpected, (missing, unexpected)


def parameters_of(state: State) -> Parameters:
    """Return copies of all parameters and running statistics, float32."""
    return {
        name: np.array(to_canonical(tensor.numpy(force=True)), np.float32, order="C")
        for name, tensor in state.model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def load_momentum(state: State, momentum: Parameters) -> State:
    """Return the state with copies of ``momentum`` in its optimizer, as far as it is used."""
    used = used_momentum(state.config.recipe, momentum)
    for name, parameter in state.model.named_parameters():
        if name in used:
            buffer = torch.tensor(from_canonical(used[name])).to(parameter)
            state.optimizer.state[parameter]["momentum_buffer"] = buffer
    return state


def momentum_of(state: State) -> Parameters:
    """Return copies of the momentum buffers by parameter name, empty if the recipe has none."""
    buffers = {}
    for name, parameter in state.model.named_parameters():
        buffer = state.optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            array = to_canonical(buffer.numpy(force=True))
            buffers[name] = np.array(array, np.float32, order="C")
    return buffers
