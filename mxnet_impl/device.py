"""Devices, threads, precision and memory in MXNet: what differs between machines."""

import os
from functools import cache
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import nd
from numpy.typing import NDArray

from common.config import Config, check_devices, check_precision, computes_on_gpu
from common.errors import InputError
from common.machine.group import check_group
from common.machine.threads import cpu_count
from common.tricks import check_tricks
from mxnet_impl.group import join_group, sum_over_group


@cache
def device_of(config: Config) -> mx.Context:
    """Return the device that ``config`` names, the first of several."""
    gpu = computes_on_gpu(config, mx.context.num_gpus() > 0, "MXNet")
    return mx.gpu() if gpu else mx.cpu()


def devices_of(config: Config) -> list[mx.Context]:
    """Return the devices that share a batch; MXNet has any number of CPUs."""
    kind = device_of(config).device_type
    if kind == "gpu":
        check_devices(config, mx.context.num_gpus(), "GPU", "MXNet")
    return [mx.Context(kind, index) for index in range(config.devices)]


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that MXNet offers on the device of ``config``."""
    # Not float64: its batch norm keeps float32 parameters.
    if device_of(config).device_type == "gpu":
        return ("float32", "tf32")
    return ("float32", "bfloat16") if multiplies_bfloat16() else ("float32",)


@cache
def multiplies_bfloat16() -> bool:
    """Return whether MXNet's oneDNN has bfloat16 on this CPU, for which it needs AVX-512.

    MXNet asks NumPy for the type by a name that ml_dtypes gives it, which came with JAX, TensorFlow
    or ONNX if it is here.
    """
    try:
        import ml_dtypes  # noqa: F401

        a = nd.amp_cast(nd.ones((1, 1), ctx=mx.cpu()), "bfloat16")
        nd.amp_cast(nd.FullyConnected(a, a, num_hidden=1, no_bias=True), "float32").asnumpy()
    except (ImportError, mx.MXNetError):
        return False
    return True


def configure(config: Config) -> None:
    """Set MXNet's process-wide switches for ``config``; call before any work."""
    check_tricks(config.without, ("mxnet",))
    devices_of(config)
    join_group(config)
    check_group(config, sum_over_group)
    check_precision(config, precisions(config))
    if config.threads and config.threads != threads_in_use():
        raise InputError(
            f"--threads {config.threads}: MXNet reads OMP_NUM_THREADS when it is imported, and "
            f"found {threads_in_use()}; set the variable before that"
        )
    # MXNet has no switch of its own; CUDA's libraries read this one when the device is first used.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if config.precision == "tf32" else "0"
    os.environ["MXNET_ENFORCE_DETERMINISM"] = str(int(config.deterministic))


def threads_in_use() -> int:
    """Return the number of threads that MXNet's import found: half the CPUs if none was set."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, cpu_count() // 2))


def to_device(array: NDArray, config: Config) -> nd.NDArray:
    """Copy a batch to the device of ``config``, without waiting for the copy to end."""
    # On a CPU the array itself, for the copy by `nd.array` is slow. It gets a view, because MXNet
    # marks what it gets as read-only.
    view = nd.from_numpy(np.ascontiguousarray(array).view(), zero_copy=True)
    return view.as_in_context(device_of(config))


def to_host(value: nd.NDArray) -> NDArray:
    """Return ``value`` as NumPy, when it has been computed."""
    return value.asnumpy()


def synchronize(value: nd.NDArray) -> None:
    """Wait until ``value`` has been computed, and the update that may run on behind a loss."""
    nd.waitall()


def device_memory_peak(config: Config) -> int | None:
    """Return the device allocator's peak in bytes: None, on a GPU too."""
    # MXNet tells what is free on the whole card, where other processes have their share.
    return None


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    device = device_of(config)
    return {
        "name": "mxnet",
        "versions": {"mxnet": mx.__version__},
        "device": str(device) if device.device_type == "gpu" else "cpu",
        "threads": threads_in_use(),
        "precision": config.precision,
        "deterministic": os.environ.get("MXNET_ENFORCE_DETERMINISM") == "1",
    }
