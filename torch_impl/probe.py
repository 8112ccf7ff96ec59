"""What the proof of equal work looks at: every layer's output and every gradient, as NumPy."""

import copy
from dataclasses import replace
from functools import partial

import torch
from numpy.typing import NDArray
from torch import Tensor

from common.parameters.names import layer_names
from torch_impl.state import State
from torch_impl.step import forward, training_loss
from torch_impl.weights import to_canonical


def layer_outputs(state: State, images: Tensor, training: bool) -> dict[str, NDArray]:
    """Return name -> output [B, H, W, C] of every layer, in forward order; ``state`` stays."""
    probe, outputs = _copy(state), {}

    def record(name: str, module: object, inputs: object, output: Tensor) -> None:
        output = output.float() if output.dtype == torch.bfloat16 else output
        outputs[name] = output.permute(0, 2, 3, 1).cpu().numpy()

    names = layer_names(state.config.recipe.network)
    for name in names:
        probe.model.get_submodule(name).register_forward_hook(partial(record, name))
    with torch.no_grad():
        forward(probe, images, training)
    return {name: outputs[name] for name in names}


def gradients(state: State, images: Tensor, labels: Tensor) -> tuple[float, dict[str, NDArray]]:
    """Return the training loss and gradients by name; ``state`` stays."""
    probe = _copy(state)
    loss = training_loss(probe, images, labels)
    loss.backward()
    return loss.item(), {
        name: to_canonical(parameter.grad.cpu().contiguous().numpy())
        for name, parameter in probe.model.named_parameters()
        if parameter.grad is not None
    }


def _copy(state: State) -> State:
    """Return ``state`` with a network of its own, whose layers can be watched."""
    model = copy.deepcopy(state.model)
    return replace(state, model=model, replica=model)
