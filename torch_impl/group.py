"""The processes of a training with several workers, in PyTorch."""

import torch
from numpy.typing import NDArray
from torch import distributed

from common.config import Config
from common.group import group_of


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
