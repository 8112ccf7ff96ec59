"""State in, state out: one training, evaluation or prediction step in PyTorch."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from common.config import Config
from common.parameters.names import Parameters, weight_decays
from torch_impl.device import compiles, device_of
from torch_impl.loss import cross_entropy
from torch_impl.model import FCN, create_model
from torch_impl.state import State
from torch_impl.weights import load_momentum, load_parameters


def create_optimizer(config: Config, model: FCN) -> SGD:
    """Return SGD over what ``config`` trains: decay is added to the gradient, then momentum."""
    decays = weight_decays(config.recipe)
    # A group is updated by a few kernels, however many parameters it has.
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in decays)
        if name in decays:
            groups.setdefault(decays[name], []).append(parameter)
    return SGD(
        [{"params": group, "weight_decay": decay} for decay, group in groups.items()],
        config.recipe.learning_rate,
        config.recipe.momentum,
    )


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model = create_model(config)
    load_parameters(model, parameters)
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    model.to(device_of(config), dtype)
    optimizer = create_optimizer(config, model)
    # Every rank's running statistics are overwritten by the first's before each step.
    replica = DistributedDataParallel(model) if config.replicas > 1 else model
    state = State(config, model, replica, optimizer)
    return state if momentum is None else load_momentum(state, momentum)


def forward(state: State, images: Tensor, training: bool) -> Tensor:
    """Return logits in float32 (float64 in a proof), whatever the network computes in."""
    state.model.train(training)
    network = state.replica if training else state.model
    bfloat16 = state.config.precision == "bfloat16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = network(images)
    return logits.float() if bfloat16 else logits


def batch_loss(state: State, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a batch as the recipe defines it."""
    config, recipe = state.config, state.config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def training_loss(state: State, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a batch in training: what is compiled of a step."""
    return batch_loss(state, forward(state, images, training=True), labels)


@cache
def compiled_loss() -> Callable[[State, Tensor, Tensor], Tensor]:
    """Return ``training_loss`` with its gradient fused by Inductor and replayed as a CUDA graph.

    An eager step has more kernels, which read and write more memory, and at small batches the GPU
    waits for Python. docs/PERFORMANCE.md has the figures.
    """
    return torch.compile(training_loss, mode="reduce-overhead", dynamic=False)


def loss_and_gradients(state: State, images: Tensor, labels: Tensor) -> Tensor:
    """Return the training loss of a batch, and leave its gradients in the parameters."""
    state.optimizer.zero_grad(set_to_none=True)
    compute = compiled_loss() if compiles(state.config) else training_loss
    loss = compute(state, images, labels)
    # DistributedDataParallel averages the ranks' gradients; a summed loss wants their sum.
    summed = state.config.recipe.loss_reduction == "sum"
    (loss * state.config.replicas if summed else loss).backward()
    # Copied, because the next replay of a graph writes where this one did.
    return loss.detach().clone()


def data_parallel(state: State, images: Tensor, labels: Tensor) -> Tensor:
    """Do ``loss_and_gradients`` on each device's part of a batch, and reduce what it gives."""
    # A worker has one device, and its own part of the batch already.
    devices = state.config.devices
    rank = distributed.get_rank() % devices
    loss = loss_and_gradients(state, images.chunk(devices)[rank], labels.chunk(devices)[rank])
    distributed.all_reduce(loss)
    return loss / state.config.replicas if state.config.recipe.loss_reduction == "mean" else loss


def train_step(
    state: State, images: Tensor, labels: Tensor, learning_rate: float
) -> tuple[State, Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    compute = data_parallel if state.config.replicas > 1 else loss_and_gradients
    loss = compute(state, images, labels)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    return state, loss


def classes_of(logits: Tensor) -> Tensor:
    """Return the first of each pixel's largest logits [B, classes, H, W] as uint8 [B, H, W]."""
    # `max` finds the same index as `argmax`, faster over an axis that is not the last in memory.
    return logits.max(1).indices.to(torch.uint8)


@torch.no_grad()
def eval_step(state: State, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = forward(state, images, training=False)
    return batch_loss(state, logits, labels), classes_of(logits)


@torch.no_grad()
def predict_step(state: State, images: Tensor) -> Tensor:
    """Return logits [B, H, W, classes]."""
    return forward(state, images, training=False).permute(0, 2, 3, 1)


@torch.no_grad()
def classify_step(state: State, images: Tensor) -> Tensor:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(forward(state, images, training=False))
