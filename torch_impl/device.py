"""Devices, threads, precision and memory in PyTorch: what differs between machines."""

import os
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from common.config import Config, check_precision
from common.errors import InputError
from common.machine.files import compiled_folder
from common.machine.threads import available_cpus
from common.tricks import check_tricks
from torch_impl.launch import start_ranks

COMPILING_PAYS = 6500
"""Steps after which a compiled step has made up for compiling it, measured at batch 32 in bfloat16
on an H200: see docs/PERFORMANCE.md."""


@cache
def device_of(config: Config) -> torch.device:
    """Return the device that ``config`` names, of several that of this process."""
    gpu = torch.cuda.is_available()
    if config.device == "gpu" and not gpu:
        raise InputError("device gpu: PyTorch sees no CUDA device here; use --device cpu")
    if not gpu or config.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", distributed.get_rank() if config.devices > 1 else 0)


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that PyTorch offers on the device of ``config``."""
    if device_of(config).type == "cuda":
        return ("float32", "tf32", "bfloat16", "float64")
    return ("float32", "bfloat16", "float64")


def compiles(config: Config) -> bool:
    """Tell whether a training step is compiled: on one GPU, unless that is turned off."""
    one_gpu = device_of(config).type == "cuda" and config.devices == 1
    return one_gpu and "compile" not in config.without


def keep_compiled() -> None:
    """Let later processes find what this one compiles, unless Inductor's variable says otherwise.

    By default it is in the folder for temporary files. Triton's kernels are kept below the same.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_folder("torch")))


def configure(config: Config) -> None:
    """Set PyTorch's process-wide switches for ``config``; call before any work."""
    check_tricks(config.without, ("torch",))
    keep_compiled()
    start_ranks(config)
    check_precision(config, precisions(config))
    threads = config.threads or len(available_cpus())
    torch.set_num_threads(max(1, threads // config.devices))
    tf32 = config.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not config.deterministic
    torch.use_deterministic_algorithms(config.deterministic)


def effective_config(config: Config, steps: int) -> Config:
    """Return ``config`` as a training of ``steps`` steps is done.

    A short one is not compiled, for it would end before compiling has paid.
    """
    if compiles(config) and steps < COMPILING_PAYS:
        return replace(config, without=(*config.without, "compile"))
    return config


def to_device(array: NDArray, config: Config) -> Tensor:
    """Copy a batch to the device of ``config``, without waiting for the copy to end."""
    tensor = torch.from_numpy(array)
    device = device_of(config)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def to_host(value: Tensor) -> NDArray:
    """Return ``value`` as NumPy, when it has been computed."""
    return value.cpu().numpy()


def synchronize(value: Tensor) -> None:
    """Wait until ``value`` has been computed."""
    if value.is_cuda:
        torch.cuda.synchronize(value.device)


def device_memory_peak(config: Config) -> int | None:
    """Return the device allocator's peak in bytes; None on a CPU."""
    if device_of(config).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return None


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    device, versions = device_of(config), {"torch": torch.__version__}
    with suppress(metadata.PackageNotFoundError):  # Only published weights need it.
        versions["torchvision"] = metadata.version("torchvision")
    return {
        "name": "torch",
        "versions": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": config.precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
