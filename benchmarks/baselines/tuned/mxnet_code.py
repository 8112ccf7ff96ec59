"""MXNet's static shapes, and cuDNN's fastest kernels whatever workspace they take, on a GPU."""

from __future__ import annotations

import os
from typing import Any

import mxnet_impl
from common.config import Config
from common.errors import InputError
from common.parameters.names import Parameters
from mxnet_impl import (
    LAYOUT,
    State,
    describe,
    device_memory_peak,
    loss_operation,
    parameters_of,
    precisions,
    predict_step,
    synchronize,
    to_canonical,
    to_device,
    to_host,
    train_step,
    upsample_operation,
)
from mxnet_impl.device import device_of

__all__ = [
    "LAYOUT",
    "configure",
    "create_state",
    "describe",
    "device_memory_peak",
    "loss_operation",
    "parameters_of",
    "precisions",
    "predict_step",
    "switches",
    "synchronize",
    "to_canonical",
    "to_device",
    "to_host",
    "train_step",
    "upsample_operation",
]


def configure(config: Config) -> None:
    """Set MXNet's process-wide switches for ``config``; call before any work.

    Raises:
        InputError: On a CPU, where the default has every switch that is faster.
    """
    os.environ["MXNET_CUDNN_AUTOTUNE_DEFAULT"] = "2"
    mxnet_impl.configure(config)
    if device_of(config).device_type == "cpu":
        raise InputError(
            "on a CPU static shapes, the one switch that the default leaves out, make "
            "reading the running statistics a race"
        )


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    return {**mxnet_impl.switches(config), "compile": "hybridize, static_alloc, static_shape"}


def create_state(config: Config, parameters: Parameters) -> State:
    """Return the default's state, its blocks compiled for one shape."""
    state = mxnet_impl.create_state(config, parameters)
    for block in (state.model, state.loss):
        block.hybridize(static_alloc=True, static_shape=True)
    return state
