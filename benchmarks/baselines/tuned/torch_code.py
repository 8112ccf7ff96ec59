"""PyTorch's compiler over network and loss; on a GPU with CUDA graphs and autotuned kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import torch_impl
from common.config import Config
from torch_impl import (
    LAYOUT,
    State,
    configure,
    create_state,
    describe,
    device_memory_peak,
    parameters_of,
    precisions,
    synchronize,
    to_canonical,
    to_device,
    to_host,
)
from torch_impl.step import forward, training_loss

__all__ = [
    "LAYOUT",
    "configure",
    "create_state",
    "describe",
    "device_memory_peak",
    "parameters_of",
    "precisions",
    "predict_step",
    "switches",
    "synchronize",
    "to_canonical",
    "to_device",
    "to_host",
    "train_step",
]

MODE = "max-autotune"
"""Of `torch.compile`: everything that it documents, CUDA graphs included."""


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    return {**torch_impl.switches(config), "compile": f"torch.compile, {MODE}"}


@torch.compile(mode=MODE)
def logits_of(state: State, images: Tensor) -> Tensor:
    return forward(state, images)


loss_of = torch.compile(training_loss, mode=MODE)


def train_step(
    state: State, images: Tensor, labels: Tensor, learning_rate: float
) -> tuple[State, Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    state.model.train()
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    loss = loss_of(state, images, labels)
    loss.backward()
    state.optimizer.step()
    return state, loss.detach().clone()


@torch.no_grad()
def predict_step(state: State, images: Tensor) -> Tensor:
    """Return logits [B, H, W, classes]."""
    state.model.eval()
    return logits_of(state, images).permute(0, 2, 3, 1)
