"""State in, state out: one training, evaluation or prediction step in MXNet Gluon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from mxnet import autograd, nd, optimizer, symbol
from mxnet.gluon import HybridBlock, Parameter, Trainer, nn

from common.config import Config
from common.parameters import BATCH_NORM_MOMENTUM, Parameters, trainable_names, weight_decays
from common.recipes import Recipe
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

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.void, self.reduction = recipe.void, recipe.loss_reduction

    def hybrid_forward(self, F: ModuleType, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, self.void, self.reduction)


class SGD(optimizer.Optimizer):
    """buffer = momentum * buffer + gradient + decay * weight;  weight -= rate * buffer.

    PyTorch's form: Gluon's own SGD has the learning rate inside the buffer.
    """

    def __init__(self, names: list[str], momentum: float) -> None:
        # A parameter's own factor is its whole decay.
        super().__init__(wd=1.0)
        self.names, self.momentum = names, momentum
        self.buffers: dict[str, nd.NDArray] = {}

    def create_state(self, index: int, weight: nd.NDArray) -> nd.NDArray | None:
        if not self.momentum:
            return None
        return self.buffers.setdefault(self.names[index], nd.zeros_like(weight))

    def update(
        self, index: int, weight: nd.NDArray, grad: nd.NDArray, state: nd.NDArray | None
    ) -> None:
        rate, decay = self._get_lr(index), self._get_wd(index)
        if state is None:
            nd.sgd_update(weight, grad, out=weight, lr=rate, wd=decay)
            return
        # At a rate of -1 MXNet's kernel leaves PyTorch's buffer in ``state``. The weight that it
        # would make goes over the gradient, which is spent.
        nd.sgd_mom_update(weight, grad, state, out=grad, lr=-1, momentum=self.momentum, wd=decay)
        nd.sgd_update(weight, state, out=weight, lr=rate, wd=0)


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model, loss = create_model(config), Loss(config.recipe)
    load_parameters(model, parameters)
    for block in (model, loss):
        # Without static_shape: its backward pass does not tell the engine that it moves the running
        # statistics, so that reading them is a race. It is no faster here.
        block.hybridize(static_alloc=True)
    decays = weight_decays(config.recipe)
    named = model.named_parameters()
    for name, parameter in named.items():
        if name in decays:
            parameter.wd_mult = decays[name]
        elif parameter.grad_req != "null":
            parameter.grad_req = "null"
    names = trainable_names(config.recipe)
    sgd = SGD(names, config.recipe.momentum)
    trainer = Trainer([named[name] for name in names], sgd, kvstore=None)
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
def unbiased_variances(model: FCN, images: nd.NDArray) -> Iterator[None]:
    """Make the moves of the running variances unbiased, as cuDNN does and MXNet on a CPU does not.

    There the backward pass moves them, so this surrounds it.
    """
    if images.context.device_type == "gpu":
        yield
        return
    moving = [(parameter.data(), n) for parameter, n in variances(model, images.shape)]
    before = [variance.copy() for variance, _ in moving]
    yield
    # A compiled network's backward pass moves them without telling the engine: seen to be raced.
    nd.waitall()
    for (variance, n), old in zip(moving, before, strict=True):
        # The move m old + (1 - m) biased becomes m old + (1 - m) biased n / (n - 1).
        variance += (variance - (1 - BATCH_NORM_MOMENTUM) * old) / (n - 1)


def scalar(loss: nd.NDArray) -> nd.NDArray:
    """Return ``loss`` as the kind of array of MXNet's that ``float`` takes, without waiting."""
    return loss.as_np_ndarray()


def train_step(
    state: State, images: nd.NDArray, labels: nd.NDArray, learning_rate: float
) -> tuple[State, nd.NDArray]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    state.trainer.set_learning_rate(learning_rate)
    with unbiased_variances(state.model, images):
        with autograd.record():
            loss = state.loss(state.model(images), labels)
        loss.backward()
    state.trainer.step(1)
    return state, scalar(loss)


def eval_step(
    state: State, images: nd.NDArray, labels: nd.NDArray
) -> tuple[nd.NDArray, nd.NDArray]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = state.model(images)
    return scalar(state.loss(logits, labels)), logits.argmax(-1).astype("uint8")


def predict_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return logits [B, H, W, classes]."""
    return state.model(images)
