"""Devices, threads, precision and memory in PyTorch: what differs between machines."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from common.config import Config, check_precision
from common.errors import InputError
from common.machine.files import compiled_folder
from common.machine.threads import available_cpus
from common.tricks import check_tricks


def device_of(config: Config) -> torch.device:
    """Return the device that ``config`` names."""
    gpu = torch.cuda.is_available()
    if config.device == "gpu" and not gpu:
        raise InputError("device gpu: PyTorch sees no CUDA device here; use --device cpu")
    if not gpu or config.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", distributed.get_rank() if config.devices > 1 else 0)


def start_ranks(config: Config) -> None:
    """Make this process one of ``config.devices`` ranks: start them by torchrun, or join them."""
    if config.devices == 1 or distributed.is_initialized():
        return
    gpu = torch.cuda.is_available() and config.device != "cpu"
    if gpu and torch.cuda.device_count() < config.devices:
        raise InputError(f"devices {config.devices}: only {torch.cuda.device_count()} GPUs here")
    if not distributed.is_torchelastic_launched():
        sys.exit(run_ranks(config.devices, sys.orig_argv[sys.orig_argv.index("-m") :]))
    sys.excepthook = report_late
    distributed.init_process_group("nccl" if gpu else "gloo")
    if distributed.get_world_size() != config.devices:
        raise InputError(
            f"devices {config.devices}: torchrun started {distributed.get_world_size()}"
        )


def run_ranks(count: int, module_and_options: list[str]) -> int:
    """Run a module in ``count`` processes, of which only the first is heard; return the status."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # What the launcher says of a failure is said here, in a line.
    with tempfile.TemporaryDirectory() as logs:
        to_files = ",".join(f"{rank}:3" for rank in range(1, count))
        options = ["--standalone", f"--nproc-per-node={count}"]
        options += ["--log-dir", logs, "--redirects", to_files, *module_and_options]
        try:
            torchrun.run(torchrun.parse_args(options))
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            status = max(failure.exitcode, 1)
            if rank == 0 and failure.exitcode > 0:
                return status
            text = "".join(log.read_text() for log in Path(logs).glob(f"*/*/{rank}/stderr.log"))
            said = [line for line in text.splitlines() if line.strip()]
            how = failure.signal_name() if failure.exitcode < 0 else f"status {status}"
            last = f": {said[-1].removeprefix('error: ')}" if said else ""
            print(f"error: process {rank} of {count} ended ({how}){last}", file=sys.stderr)
            return status
        except SignalException:
            raise KeyboardInterrupt from None
    return 0


def report_late(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print a rank's traceback, unless torchrun ends it before: another one's end was the cause."""
    time.sleep(2)
    sys.__excepthook__(kind, error, trace)


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


def torchvision_version() -> dict[str, str]:
    """Return the version of torchvision where it is installed: only published weights need it."""
    try:
        return {"torchvision": metadata.version("torchvision")}
    except metadata.PackageNotFoundError:
        return {}


def describe(config: Config) -> dict[str, Any]:
    """Return versions, device and effective switches, for a run's manifest."""
    device = device_of(config)
    return {
        "name": "torch",
        "versions": {"torch": torch.__version__, **torchvision_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": config.precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
