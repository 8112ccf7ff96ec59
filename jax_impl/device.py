"""Devices, threads, precision and memory in JAX: what differs between machines."""

from __future__ import annotations

import os
from typing import Any

import flax
import jax
import jaxlib
import optax
from jax import Array
from numpy.typing import NDArray

from common.config import Config, check_precision
from common.errors import InputError
from common.threads import available_cpus

DETERMINISTIC = " --xla_gpu_deterministic_ops=true"


def device_of(config: Config) -> jax.Device:
    """Return the device that ``config`` names."""
    gpu = jax.default_backend() == "gpu"
    if config.device == "gpu" and not gpu:
        raise InputError("device gpu: JAX sees no CUDA device here; use --device cpu")
    return jax.devices("gpu" if gpu and config.device != "cpu" else "cpu")[0]


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that JAX offers on the device of ``config``."""
    if device_of(config).platform == "gpu":
        return ("float32", "tf32", "bfloat16", "float64")
    return ("float32", "bfloat16", "float64")


def configure(config: Config) -> None:
    """Set JAX's process-wide switches for ``config``; call before any work."""
    if config.devices > 1:
        raise InputError("--devices: the JAX backend trains on one device so far")
    # XLA reads both when its first device is asked for.
    if config.threads:
        os.environ["PJRT_NPROC"] = str(config.threads)
    if config.deterministic:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + DETERMINISTIC
    check_precision(config, precisions(config))
    matmul = "tensorfloat32" if config.precision == "tf32" else "highest"
    jax.config.update("jax_default_matmul_precision", matmul)
    jax.config.update("jax_enable_x64", config.precision == "float64")


def to_device(array: NDArray, config: Config) -> Array:
    """Copy a batch to the device of ``config``, without waiting for the copy to end."""
    return jax.device_put(array, device_of(config))


def to_host(value: Array) -> NDArray:
    """Return ``value`` as NumPy, when it has been computed."""
    return jax.device_get(value)


def synchronize(value: Array) -> None:
    """Wait until ``value`` has been computed."""
    value.block_until_ready()


def device_memory_peak(config: Config) -> int | None:
    """Return the device allocator's peak in bytes; None on a CPU."""
    device = device_of(config)
    if device.platform == "gpu":
        return device.memory_stats()["peak_bytes_in_use"]
    return None


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    modules = (jax, jaxlib, flax, optax)
    return {
        "name": "jax",
        "versions": {module.__name__: module.__version__ for module in modules},
        "device": device_of(config).device_kind,
        "threads": int(os.environ.get("PJRT_NPROC", len(available_cpus()))),
        "precision": config.precision,
        "deterministic": "deterministic" in os.environ.get("XLA_FLAGS", ""),
    }
