"""What the proof of equal work looks at: every layer's output and every gradient, as NumPy."""

from dataclasses import replace
from functools import partial

from mxnet import autograd, nd
from mxnet.gluon import Block
from numpy.typing import NDArray

from common.parameters.names import layer_names, trainable_names
from mxnet_impl.model import create_model
from mxnet_impl.state import State
from mxnet_impl.step import batch_loss, forward
from mxnet_impl.weights import load_parameters, parameters_of, to_canonical

HEAD = ("up", "sum", "transpose_conv")
"""How the names of layers begin that take and give channels last."""


def layer_outputs(state: State, images: nd.NDArray, training: bool) -> dict[str, NDArray]:
    """Return name -> output [B, H, W, C] of every layer, in forward order; ``state`` stays."""
    probe, outputs = _copy(state), {}

    def record(name: str, module: object, inputs: object, output: nd.NDArray) -> None:
        outputs[name] = nd.amp_cast(output, "float32").asnumpy()  # NumPy has no bfloat16.
        if not name.startswith(HEAD):  # Which have the layout of the logits.
            outputs[name] = outputs[name].transpose(0, 2, 3, 1)

    names = layer_names(state.config.recipe.network)
    for name in names:
        _layer(probe.model, name).register_forward_hook(partial(record, name))
    forward(probe, images, training)
    return {name: outputs[name] for name in names}


def gradients(
    state: State, images: nd.NDArray, labels: nd.NDArray
) -> tuple[float, dict[str, NDArray]]:
    """Return the training loss and gradients by name; ``state`` stays."""
    probe = _copy(state)
    with autograd.record():
        loss = batch_loss(probe, forward(probe, images, training=True), labels)
    loss.backward()
    named = probe.model.named_parameters()
    return loss.asscalar().item(), {
        name: to_canonical(named[name].grad().asnumpy())
        for name in trainable_names(state.config.recipe)
    }


def _copy(state: State) -> State:
    """Return ``state`` with a network of its own, whose layers can be watched: not compiled."""
    model = create_model(state.config)
    load_parameters(model, parameters_of(state))
    return replace(state, model=model)


def _layer(block: Block, name: str) -> Block:
    """Return the layer of that canonical name within ``block``."""
    for part in name.split("."):
        block = block[int(part)] if part.isdigit() else getattr(block, part)
    return block
