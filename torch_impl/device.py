"""Devices, threads, precision and memory in PyTorch: what differs between machines."""

import os
from contextlib import suppress
from functools import cache
from importlib import metadata
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from common.config import Config, check_precision, computes_on_gpu
from common.machine.files import compiled_folder
from common.machine.group import check_group
from common.machine.threads import cpu_count
from common.tricks import check_tricks
from torch_impl.group import join_group, start_ranks, sum_over_group


@cache
def device_of(config: Config) -> torch.device:
    """Return the device that ``config`` names, of several that of this process."""
    if computes_on_gpu(config, torch.cuda.is_available(), "PyTorch"):
        return torch.device("cuda", distributed.get_rank() if config.devices > 1 else 0)
    return torch.device("cpu")


def precisions(config: Config) -> tuple[str, ...]:
    """Return the arithmetics that PyTorch offers on the device of ``config``."""
    if device_of(config).type == "cuda":
        return ("float32", "tf32", "bfloat16", "float64")
    return ("float32", "bfloat16", "float64")


def compiles(config: Config) -> bool:
    """Return whether a training step is compiled: on one GPU, unless that is turned off."""
    one_gpu = device_of(config).type == "cuda" and config.replicas == 1
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
    join_group(config)
    check_group(config, sum_over_group)
    check_precision(config, precisions(config))
    threads = config.threads or cpu_count()
    torch.set_num_threads(max(1, threads // config.devices))
    tf32 = config.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not config.deterministic
    # Setting it imports PyTorch's compiler, which takes longer than to import PyTorch.
    if torch.are_deterministic_algorithms_enabled() != config.deterministic:
        torch.use_deterministic_algorithms(config.deterministic)


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
