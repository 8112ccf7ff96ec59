"""Canonical parameters to MXNet's and back, by copy."""

from mxnet import nd
from numpy.typing import NDArray

from common.parameters.names import Parameters, used_momentum
from mxnet_impl.device import device_of
from mxnet_impl.model import FCN
from mxnet_impl.state import State


def from_canonical(array: NDArray) -> NDArray:
    """Return ``array`` in this framework's layout: MXNet's is the canonical one."""
    return array


def to_canonical(array: NDArray) -> NDArray:
    """Undo ``from_canonical``."""
    return array


def load_parameters(model: FCN, parameters: Parameters) -> None:
    """Copy ``parameters`` into ``model``."""
    named = model.named_parameters()
    assert named.keys() == parameters.keys(), named.keys() ^ parameters.keys()
    for name, parameter in named.items():
        parameter.set_data(nd.array(from_canonical(parameters[name])))


def parameters_of(state: State) -> Parameters:
    """Return copies of all parameters and running statistics, float32."""
    return {
        name: to_canonical(parameter.list_data()[0].asnumpy())
        for name, parameter in state.model.named_parameters().items()
    }


def load_momentum(state: State, momentum: Parameters) -> State:
    """Return the state with copies of ``momentum`` in its optimizer, as far as it is used."""
    used = used_momentum(state.config.recipe, momentum)
    named, buffers = state.model.named_parameters(), state.trainer.optimizer.buffers
    for name, buffer in used.items():
        for device in named[name].list_ctx():
            buffers[name, device] = nd.array(from_canonical(buffer), device)
    return state


def momentum_of(state: State) -> Parameters:
    """Return copies of the momentum buffers by parameter name, empty if the recipe has none."""
    return {
        name: to_canonical(buffer.asnumpy())
        for (name, device), buffer in state.trainer.optimizer.buffers.items()
        if device == device_of(state.config)
    }
