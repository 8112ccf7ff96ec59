"""State in, state out: one training, evaluation or prediction step in MXNet Gluon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from mxnet import Context, autograd, nd, optimizer, symbol
from mxnet.gluon import HybridBlock, Parameter, Trainer, nn
from mxnet.gluon.utils import split_and_load

from common.config import Config
from common.parameters.names import BATCH_NORM_MOMENTUM, Parameters, trainable_names, weight_decays
from mxnet_impl.device import devices_of
from mxnet_impl.loss import cross_entropy
from mxnet_impl.model import FCN, Tensor, create_model
from mxnet_impl.weights import load_momentum, load_parameters


@dataclass
class State:
    """A network and its optimizer. ``train_step`` changes it in place: use what it returns."""

    config: Config
    model: FCN
    loss: Loss
    optimizer: SGD
    trainer: Trainer


class Loss(HybridBlock):
    """The recipe's loss, compiled."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def hybrid_forward(self, F: ModuleType, logits: Tensor, labels: Tensor) -> Tensor:
        recipe = self.config.recipe
        without = self.config.without
        return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, without)


class SGD(optimizer.Optimizer):
    """buffer = momentum * buffer + gradient + decay * weight;  weight -= rate * buffer.

    PyTorch's form: Gluon's own SGD has the learning rate inside the buffer.
    """

    def __init__(self, names: list[str], momentum: float) -> None:
        # A parameter's own factor is its whole decay.
        super().__init__(wd=1.0)
        self.names, self.momentum = names, momentum
        self.buffers: dict[tuple[str, Context], nd.NDArray] = {}

    def create_state(self, index: int, weight: nd.NDArray) -> nd.NDArray | None:
        if not self.momentum:
            return None
        key = self.names[index], weight.context
        return self.buffers.setdefault(key, nd.zeros_like(weight))

    def update(
        self, index: int, weight: nd.NDArray, grad: nd.NDArray, state: nd.NDArray | None
    ) -> None:
        rate, decay, scale = self._get_lr(index), self._get_wd(index), self.rescale_grad
        if state is None:
            nd.sgd_update(weight, grad, out=weight, lr=rate, wd=decay, rescale_grad=scale)
            return
        # At a rate of -1 MXNet's kernel leaves PyTorch's buffer in ``state``. The weight that it
        # would make goes over the gradient, which is spent.
        options = {"momentum": self.momentum, "wd": decay, "rescale_grad": scale}
        nd.sgd_mom_update(weight, grad, state, out=grad, lr=-1, **options)
        nd.sgd_update(weight, state, out=weight, lr=rate, wd=0)


def compile_options(config: Config) -> dict[str, bool]:
    """Return how blocks are compiled."""
    # Where the C library keeps memory, a step without static_alloc takes as long (1.01 of the time;
    # batch 8, two cores of an AMD EPYC) and 0.2 GiB less; elsewhere it keeps a block's memory.
    # Without static_shape: its backward pass does not tell the engine that it moves the running
    # statistics, so that reading them is a race. It is no faster here.
    return {"static_alloc": "static-alloc" not in config.without}


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model, loss = create_model(config), Loss(config)
    load_parameters(model, parameters)
    for block in (model, loss):
        block.hybridize(**compile_options(config))
    decays = weight_decays(config.recipe)
    named = model.named_parameters()
    for name, parameter in named.items():
        if name in decays:
            parameter.wd_mult = decays[name]
        elif parameter.grad_req != "null":
            parameter.grad_req = "null"
    names = trainable_names(config.recipe)
    sgd = SGD(names, config.recipe.momentum)
    store = "device" if config.devices > 1 else None
    trained = [named[name] for name in names]
    trainer = Trainer(trained, sgd, kvstore=store, update_on_kvstore=False)
    state = State(config, model, loss, sgd, trainer)
    if momentum is not None:
        load_momentum(state, momentum)
    return state


@lru_cache(maxsize=8)
def variances(model: FCN, images: tuple[int, ...]) -> list[tuple[Parameter, int]]:
    """Return each norm's running variance and how many values a channel has in such a batch."""
    norms: list[nn.BatchNorm] = []
    model.apply(lambda block: norms.append(block) if isinstance(block, nn.BatchNorm) else None)
    layers = model(symbol.var("images")).get_internals()
    shapes = dict(zip(layers.list_outputs(), layers.infer_shape(images=images)[1], strict=True))
    outputs = [shapes[f"{norm.name}_fwd_output"] for norm in norms]
    return [
        (norm.running_var, b * h * w) for norm, (b, _, h, w) in zip(norms, outputs, strict=True)
    ]


@contextmanager
def unbiased_variances(state: State, images: nd.NDArray) -> Iterator[None]:
    """Make the moves of the running variances unbiased, as cuDNN does and MXNet on a CPU does not.

    There the backward pass moves them, so this surrounds it.
    """
    if images.context.device_type == "gpu":
        yield
        return
    share = (images.shape[0] // state.config.devices, *images.shape[1:])
    # The first device's, which count; the others' are never read.
    moving = [(parameter.list_data()[0], n) for parameter, n in variances(state.model, share)]
    before = [variance.copy() for variance, _ in moving]
    yield
    for (variance, n), old in zip(moving, before, strict=True):
        # The move m old + (1 - m) biased becomes m old + (1 - m) biased n / (n - 1).
        variance += (variance - (1 - BATCH_NORM_MOMENTUM) * old) / (n - 1)


def batch_gradients(
    state: State, model: FCN, images: nd.NDArray, labels: nd.NDArray
) -> tuple[nd.NDArray, int]:
    """Leave the gradients of each device's share of a batch in ``model``.

    Returns:
        The batch's loss, and the number by which the sum over devices of the gradients has to be
        divided.
    """
    devices = devices_of(state.config)
    shares = zip(split_and_load(images, devices), split_and_load(labels, devices), strict=True)
    with autograd.record():
        losses = [state.loss(model(x), y) for x, y in shares]
    autograd.backward(losses)
    divisor = len(losses) if state.config.recipe.loss_reduction == "mean" else 1
    return sum(loss.as_in_context(devices[0]) for loss in losses) / divisor, divisor


def scalar(loss: nd.NDArray) -> nd.NDArray:
    """Return ``loss`` as MXNet's other kind of array, which ``float`` takes, without waiting."""
    return loss.as_np_ndarray()


def train_step(
    state: State, images: nd.NDArray, labels: nd.NDArray, learning_rate: float
) -> tuple[State, nd.NDArray]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    state.trainer.set_learning_rate(learning_rate)
    with unbiased_variances(state, images):
        loss, divisor = batch_gradients(state, state.model, images, labels)
    state.trainer.step(divisor)
    return state, scalar(loss)


def classes_of(logits: nd.NDArray) -> nd.NDArray:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return logits.argmax(-1).astype("uint8")


def eval_step(
    state: State, images: nd.NDArray, labels: nd.NDArray
) -> tuple[nd.NDArray, nd.NDArray]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = state.model(images)
    return scalar(state.loss(logits, labels)), classes_of(logits)


def predict_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return logits [B, H, W, classes]."""
    return state.model(images)


def classify_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(state.model(images))
