"""State in, state out: one training, evaluation or prediction step in MXNet Gluon."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from mxnet import autograd, nd, symbol
from mxnet.gluon import Parameter, Trainer, nn
from mxnet.gluon.utils import split_and_load

from common.config import Config
from common.parameters.names import BATCH_NORM_MOMENTUM, Parameters, weight_decays
from mxnet_impl.device import devices_of
from mxnet_impl.group import add_over_group
from mxnet_impl.loss import Loss, scalar
from mxnet_impl.model import FCN, create_model
from mxnet_impl.state import SGD, State
from mxnet_impl.weights import load_momentum, load_parameters


def create_optimizer(config: Config, model: FCN) -> Trainer:
    """Return SGD over what ``config`` trains: decay is added to the gradient, then momentum."""
    decays, named = weight_decays(config.recipe), model.named_parameters()
    for name, parameter in named.items():
        if name in decays:
            parameter.wd_mult = decays[name]
        else:
            parameter.grad_req = "null"
    sgd = SGD(list(decays), config.recipe.momentum)
    store = "device" if config.devices > 1 else None
    return Trainer([named[name] for name in decays], sgd, kvstore=store, update_on_kvstore=False)


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model, loss = create_model(config), Loss(config)
    load_parameters(model, parameters)
    for block in (model, loss):
        # Not with static_shape: its backward pass moves the running statistics without telling the
        # engine, so that reading them is a race.
        block.hybridize()
    state = State(config, model, loss, create_optimizer(config, model))
    return state if momentum is None else load_momentum(state, momentum)


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
    device = images.context
    if device.device_type == "gpu":
        yield
        return
    moving = [(variance.data(device), n) for variance, n in variances(state.model, images.shape)]
    before = [variance.copy() for variance, _ in moving]
    yield
    for (variance, n), old in zip(moving, before, strict=True):
        # The move m old + (1 - m) biased becomes m old + (1 - m) biased n / (n - 1).
        variance += (variance - (1 - BATCH_NORM_MOMENTUM) * old) / (n - 1)


def forward(state: State, images: nd.NDArray, training: bool) -> nd.NDArray:
    """Return logits in float32, whatever the network computes in."""
    with autograd.train_mode() if training else autograd.predict_mode():
        return state.model(images)


def batch_loss(state: State, logits: nd.NDArray, labels: nd.NDArray) -> nd.NDArray:
    """Return the loss of a batch as the recipe defines it."""
    return state.loss(logits, labels)


def loss_and_gradients(state: State, images: nd.NDArray, labels: nd.NDArray) -> nd.NDArray:
    """Return the training loss of a batch, and leave its gradients in the parameters."""
    with unbiased_variances(state, images):
        with autograd.record():
            loss = batch_loss(state, forward(state, images, training=True), labels)
        loss.backward()
    return loss


def data_parallel(state: State, images: nd.NDArray, labels: nd.NDArray) -> nd.NDArray:
    """Do ``loss_and_gradients`` on each device's part of a batch, and reduce what it gives.

    Of the devices' gradients the trainer takes the sum, of the processes' they are it.
    """
    devices = devices_of(state.config)
    parts = zip(split_and_load(images, devices), split_and_load(labels, devices), strict=True)
    # None waits for the one before: MXNet only queues what is to be computed.
    losses = [loss_and_gradients(state, *part) for part in parts]
    loss = sum(loss.as_in_context(devices[0]) for loss in losses)
    if state.config.workers > 1:
        named = state.model.named_parameters()
        gradients = {name: named[name].grad() for name in state.trainer.optimizer.names}
        add_over_group({"loss": loss, **gradients})
    mean = state.config.recipe.loss_reduction == "mean"
    return loss / state.config.replicas if mean else loss


def train_step(
    state: State, images: nd.NDArray, labels: nd.NDArray, learning_rate: float
) -> tuple[State, nd.NDArray]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    config = state.config
    compute = data_parallel if config.replicas > 1 else loss_and_gradients
    loss = compute(state, images, labels)
    state.trainer.set_learning_rate(learning_rate)
    # It divides the gradients, which are sums over the replicas, by the number that it is given.
    state.trainer.step(config.replicas if config.recipe.loss_reduction == "mean" else 1)
    return state, scalar(loss)


def classes_of(logits: nd.NDArray) -> nd.NDArray:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return logits.argmax(-1).astype("uint8")


def eval_step(
    state: State, images: nd.NDArray, labels: nd.NDArray
) -> tuple[nd.NDArray, nd.NDArray]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = forward(state, images, training=False)
    return scalar(batch_loss(state, logits, labels)), classes_of(logits)


def predict_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return logits [B, H, W, classes]."""
    return forward(state, images, training=False)


def classify_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(forward(state, images, training=False))
