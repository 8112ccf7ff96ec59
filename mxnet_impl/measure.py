"""What a benchmark measures beside whole steps: parts of one, the machine's rates, a trace."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mxnet import autograd, nd, profiler
from mxnet.gluon import HybridBlock
from numpy.typing import NDArray

from common.config import Config
from mxnet_impl.device import device_of, to_device
from mxnet_impl.loss import Loss, scalar
from mxnet_impl.model import create_model
from mxnet_impl.state import State
from mxnet_impl.step import loss_and_gradients
from mxnet_impl.weights import from_canonical


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    gpu = device_of(config).device_type == "gpu"
    return {
        "compile": "hybridize",
        "layout": "NCHW",
        "upsampling": create_model(config).transpose_conv.upsampling,
        "tf32": os.environ.get("NVIDIA_TF32_OVERRIDE") == "1" if gpu else None,
        "autotune": os.environ.get("MXNET_CUDNN_AUTOTUNE_DEFAULT", "1") != "0" if gpu else None,
    }


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias), as the network computes it."""
    layer = create_model(config).transpose_conv
    layer.hybridize()
    return layer_operation(layer, config, weight, bias)


def layer_operation(
    layer: HybridBlock, config: Config, weight: NDArray, bias: NDArray
) -> Callable[..., Any]:
    """Return what ``upsample_operation`` does, for a layer of any origin."""
    layer.weight.set_data(to_device(from_canonical(weight), config))
    layer.bias.set_data(to_device(bias, config))

    def step(x: nd.NDArray, gradient: nd.NDArray) -> tuple[nd.NDArray, ...]:
        if x.grad is None:
            x.attach_grad()
        with autograd.record():
            y = layer(x)
        y.backward(gradient)
        return y, x.grad, layer.weight.grad(), layer.bias.grad()

    return step


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits), as a training computes it."""
    block = Loss(config)
    block.hybridize()

    def step(logits: nd.NDArray, labels: nd.NDArray) -> tuple[nd.NDArray, ...]:
        if logits.grad is None:
            logits.attach_grad()
        with autograd.record():
            loss = block(logits, labels)
        loss.backward()
        return scalar(loss), logits.grad

    return step


def backward_step(
    state: State, images: nd.NDArray, labels: nd.NDArray
) -> tuple[State, nd.NDArray, dict[str, nd.NDArray]]:
    """Forward, loss and backward of a batch on one device, without the update.

    Returns the next state, whose running statistics have moved, the loss, and the gradient of each
    trained parameter by canonical name, until the next step.
    """
    loss = loss_and_gradients(state, images, labels)
    named = state.model.named_parameters()
    return state, scalar(loss), {name: named[name].grad() for name in state.trainer.optimizer.names}


def matrix_product(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that multiplies two square matrices in the precision of ``config``."""
    a = nd.random.uniform(shape=(size, size), ctx=device_of(config))
    if config.precision == "bfloat16":  # Of which `dot` does not know.
        a = nd.amp_cast(a, "bfloat16")
        return lambda: nd.FullyConnected(a, a, num_hidden=size, no_bias=True)
    return lambda: nd.dot(a, a)


def stream(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that reads a square float32 matrix and writes its negative."""
    a = nd.ones((size, size), ctx=device_of(config))
    # Into memory that is there: to get new pages from the system takes several times as long.
    negative = nd.zeros_like(a)
    return lambda: nd.negative(a, out=negative)


@contextmanager
def trace(folder: Path) -> Iterator[None]:
    """Leave MXNet's own record of the operations within in ``folder``."""
    profiler.set_config(profile_all=True, filename=str(folder / "trace.json"))
    profiler.set_state("run")
    try:
        yield
    finally:
        profiler.set_state("stop")
        profiler.dump()
