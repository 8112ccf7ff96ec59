"""XLA's switches for NVIDIA GPUs, as JAX's page "GPU performance tips" lists them."""

from __future__ import annotations

import os

import jax_impl
from common.config import Config
from common.errors import InputError
from jax_impl import (
    LAYOUT,
    create_state,
    describe,
    device_memory_peak,
    loss_operation,
    parameters_of,
    precisions,
    predict_step,
    switches,
    synchronize,
    to_canonical,
    to_device,
    to_host,
    train_step,
    upsample_operation,
)

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

FLAGS = "--xla_gpu_triton_gemm_any=true --xla_gpu_enable_latency_hiding_scheduler=true"


def configure(config: Config) -> None:
    """Set JAX's process-wide switches for ``config``; call before any work.

    Raises:
        InputError: On a CPU, for which nothing is documented beyond the default.
    """
    # XLA reads them when it is first asked for a device.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()
    jax_impl.configure(config)
    if device_memory_peak(config) is None:
        raise InputError("no switch is documented for a CPU that the default leaves out")
