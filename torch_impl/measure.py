"""What a benchmark measures beside whole steps: parts of one, the machine's rates, a trace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.config import Config
from torch_impl.device import compiles, device_of
from torch_impl.loss import cross_entropy
from torch_impl.model import create_model
from torch_impl.state import State
from torch_impl.step import loss_and_gradients
from torch_impl.weights import from_canonical

COMPUTE = {"bfloat16": torch.bfloat16, "float64": torch.float64}


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    gpu, model = device_of(config).type == "cuda", create_model(config)
    return {
        "compile": "torch.compile, CUDA graphs: training" if compiles(config) else "eager",
        "layout": "channels last" if model.layout == torch.channels_last else "NCHW",
        "upsampling": model.transpose_conv.upsampling,
        "tf32": torch.backends.cudnn.allow_tf32 if gpu else None,
        "autotune": torch.backends.cudnn.benchmark if gpu else None,
    }


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias), as the network computes it."""
    return layer_operation(create_model(config).transpose_conv, config, weight, bias)


def layer_operation(
    layer: nn.Module, config: Config, weight: NDArray, bias: NDArray
) -> Callable[..., Any]:
    """Return what ``upsample_operation`` does, for a layer of any origin."""
    kernel = from_canonical(weight)
    layer.load_state_dict({"weight": torch.from_numpy(kernel), "bias": torch.from_numpy(bias)})
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    layer.to(device_of(config), dtype)

    def step(x: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        x, gradient = x.to(dtype).requires_grad_(), gradient.to(dtype)
        bfloat16 = config.precision == "bfloat16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
            y = layer(x)
        y = y.float() if bfloat16 else y
        return y.detach(), *torch.autograd.grad(y, (x, layer.weight, layer.bias), gradient)

    return step


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits), as a training computes it."""
    recipe = config.recipe

    def step(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits.requires_grad_()
        loss = cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)
        return loss.detach(), *torch.autograd.grad(loss, logits)

    return step


def backward_step(
    state: State, images: Tensor, labels: Tensor
) -> tuple[State, Tensor, dict[str, Tensor]]:
    """Forward, loss and backward of a batch on one device, without the update.

    Returns the next state, whose running statistics have moved, the loss, and the gradient of each
    trained parameter by canonical name, until the next step.
    """
    loss = loss_and_gradients(state, images, labels)
    named = state.model.named_parameters()
    return state, loss, {name: p.grad for name, p in named if p.grad is not None}


def matrix_product(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that multiplies two square matrices in the precision of ``config``."""
    dtype = COMPUTE.get(config.precision, torch.float32)
    a = torch.rand(size, size, dtype=dtype, device=device_of(config))
    return lambda: a @ a


def stream(config: Config, size: int) -> Callable[[], Any]:
    """Return a function that reads a square float32 matrix and writes its negative."""
    a = torch.ones(size, size, device=device_of(config))
    # Into memory that is there: to get new pages from the system takes several times as long.
    negative = torch.empty_like(a)
    return lambda: torch.neg(a, out=negative)


@contextmanager
def trace(folder: Path) -> Iterator[None]:
    """Leave PyTorch's own record of the operations within in ``folder``."""
    with torch.profiler.profile() as profile:
        yield
    profile.export_chrome_trace(str(folder / "trace.json"))
