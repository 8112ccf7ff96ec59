"""State in, state out: one training, evaluation or prediction step in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from common.config import Config
from common.parameters.names import Parameters, trainable_names, weight_decays
from torch_impl.device import compiles, device_of
from torch_impl.loss import cross_entropy
from torch_impl.model import FCN, create_model
from torch_impl.weights import load_momentum, load_parameters


@dataclass
class State:
    """A network and its optimizer. ``train_step`` changes it in place: use what it returns.

    ``replica`` is the network itself, or DistributedDataParallel around it.
    """

    config: Config
    model: FCN
    replica: nn.Module
    optimizer: SGD


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model = create_model(config)
    load_parameters(model, parameters)
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    model.to(device_of(config), dtype)
    decays = weight_decays(config.recipe)
    # A group is updated by a few kernels, however many parameters it has.
    by_decay: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name in decays:
            by_decay.setdefault(decays[name], []).append(parameter)
    groups = [{"params": group, "weight_decay": decay} for decay, group in by_decay.items()]
    for name in set(dict(model.named_parameters())) - set(trainable_names(config.recipe)):
        model.get_parameter(name).requires_grad_(False)
    optimizer = SGD(groups, config.recipe.learning_rate, config.recipe.momentum)
    # Every rank's running statistics are overwritten by the first's before each step.
    replica = DistributedDataParallel(model) if config.devices > 1 else model
    state = State(config, model, replica, optimizer)
    if momentum is not None:
        load_momentum(state, momentum)
    return state


def forward(state: State, images: Tensor) -> Tensor:
    """Return logits in float32 (float64 in a proof), whatever the network computes in."""
    bfloat16 = state.config.precision == "bfloat16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = state.replica(images) if state.model.training else state.model(images)
    return logits.float() if bfloat16 else logits


def shard(batch: Tensor, config: Config) -> Tensor:
    """Return this rank's part of a batch."""
    return batch.chunk(config.devices)[distributed.get_rank()] if config.devices > 1 else batch


def reduce_loss(loss: Tensor, config: Config) -> Tensor:
    """Return the whole batch's loss from every rank's part."""
    if config.devices > 1:
        distributed.all_reduce(loss)
        if config.recipe.loss_reduction == "mean":
            loss /= config.devices
    return loss


def batch_loss(state: State, logits: Tensor, labels: Tensor) -> Tensor:
    config, recipe = state.config, state.config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def training_loss(state: State, images: Tensor, labels: Tensor) -> Tensor:
    return batch_loss(state, forward(state, images), labels)


@cache
def compiled_loss() -> Callable[[State, Tensor, Tensor], Tensor]:
    """Return ``training_loss`` with its gradient fused by Inductor and replayed as a CUDA graph.

    An eager step takes 1.86 of the time (batch 32, bfloat16, H200), 89 % of it in its kernels: the
    gain is in fewer, fused ones and in the graphs. At batch 8 it waits for Python.
    """
    return torch.compile(training_loss, mode="reduce-overhead", dynamic=False)


def train_step(
    state: State, images: Tensor, labels: Tensor, learning_rate: float
) -> tuple[State, Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    state.model.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    images, labels = shard(images, state.config), shard(labels, state.config)
    loss_of = compiled_loss() if compiles(state.config) else training_loss
    loss = loss_of(state, images, labels)
    # DistributedDataParallel averages the ranks' gradients; a summed loss wants their sum.
    summed = state.config.recipe.loss_reduction == "sum"
    (loss * state.config.devices if summed else loss).backward()
    state.optimizer.step()
    # Copied, because the next replay of a graph writes where this one did.
    return state, reduce_loss(loss.detach().clone(), state.config)


def classes_of(logits: Tensor) -> Tensor:
    """Return the first of each pixel's largest logits [B, classes, H, W] as uint8 [B, H, W]."""
    # `argmax` takes 14 ms where this takes 8 (two images of 384x512 on two CPU cores).
    return logits.max(1).indices.to(torch.uint8)


@torch.no_grad()
def eval_step(state: State, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    state.model.eval()
    logits = forward(state, images)
    return batch_loss(state, logits, labels), classes_of(logits)


@torch.no_grad()
def predict_step(state: State, images: Tensor) -> Tensor:
    """Return logits [B, H, W, classes]."""
    state.model.eval()
    return forward(state, images).permute(0, 2, 3, 1)


@torch.no_grad()
def classify_step(state: State, images: Tensor) -> Tensor:
    """Return the predicted classes, uint8 [B, H, W]."""
    state.model.eval()
    return classes_of(forward(state, images))
