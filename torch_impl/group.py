"""The processes of a training with several devices or workers, in PyTorch."""

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import distributed

from common.config import Config, check_devices
from common.errors import TOLD, InputError
from common.machine.children import ending_with_this
from common.machine.group import group_of, report_late
from common.machine.messages import on_terminal


def start_ranks(config: Config) -> None:
    """Make this process one of ``config.devices`` ranks: start them by torchrun, or join them."""
    if config.devices == 1 or distributed.is_initialized():
        return
    gpu = torch.cuda.is_available() and config.device != "cpu"
    if gpu:
        check_devices(config, torch.cuda.device_count(), "GPU", "PyTorch")
    if not distributed.is_torchelastic_launched():
        # What runs in a notebook is no module either, though `-m` has started its kernel.
        if sys.modules["__main__"].__spec__ is None or "-m" not in sys.orig_argv:
            raise InputError(
                f"--devices {config.devices}: PyTorch has a process for each device: start this "
                f"script by `torchrun --nproc-per-node {config.devices}`, not by `python`; a "
                "notebook computes on one device"
            )
        with on_terminal():
            sys.exit(run_ranks(config.devices, sys.orig_argv[sys.orig_argv.index("-m") :]))
    os.environ.pop(TOLD, None)
    sys.excepthook = report_late
    distributed.init_process_group("nccl" if gpu else "gloo")
    if distributed.get_world_size() != config.devices:
        raise InputError(
            f"--devices {config.devices}: torchrun started {distributed.get_world_size()} "
            "processes; start as many as --devices says"
        )


def run_ranks(count: int, module_and_options: list[str]) -> int:
    """Run a module in ``count`` processes, of which only the first is heard; return the status."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[TOLD] = "1"  # The first rank begins with what this process has said.
    logging.disable(logging.ERROR)  # A failure is reported below, in one line.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `fcn train` passes on what it hears.
        os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM"
    with tempfile.TemporaryDirectory() as logs:
        to_files = ",".join(f"{rank}:3" for rank in range(1, count))
        options = ["--standalone", f"--nproc-per-node={count}", "--no-python"]
        options += ["--log-dir", logs, "--redirects", to_files]
        # So that a rank ends with this process even if that is killed.
        options += ending_with_this([sys.executable, *module_and_options])
        try:
            torchrun.run(torchrun.parse_args(options))
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            status = max(failure.exitcode, 1)
            if rank == 0 and failure.exitcode > 0:
                return status
            text = "".join(log.read_text() for log in Path(logs).glob(f"*/*/{rank}/stderr.log"))
            lines = [line for line in text.splitlines() if line.strip()]
            how = failure.signal_name() if failure.exitcode < 0 else f"status {status}"
            last = f": {lines[-1].removeprefix('error: ')}" if lines else ""
            print(f"error: process {rank} of {count} ended ({how}){last}", file=sys.stderr)
            return status
        except SignalException:
            return 130  # The first rank has said how to go on.
    return 0


def join_group(config: Config) -> None:
    """Make this process one of its group, if it has one; returns when all have come."""
    if config.workers == 1 or distributed.is_initialized():
        return
    group = group_of(config)
    gpu = torch.cuda.is_available() and config.device != "cpu"
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo",
        init_method=f"tcp://{group.addresses[0]}",
        rank=group.rank,
        world_size=config.workers,
    )


def sum_over_group(values: NDArray) -> NDArray:
    """Return the sum of float32 ``values`` over the processes."""
    total = torch.tensor(values)
    distributed.all_reduce(total)
    return total.numpy()
