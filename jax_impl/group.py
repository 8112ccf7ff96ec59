"""The processes of a training with several workers, in JAX."""

import jax
from jax.experimental.multihost_utils import process_allgather
from numpy.typing import NDArray

from common.config import Config
from common.machine.group import group_of


def join_group(config: Config) -> None:
    """Make this process one of its group, if it has one; returns when all have come."""
    if config.workers == 1 or jax.distributed.is_initialized():
        return
    group = group_of(config)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(group.addresses[0], config.workers, group.rank)


def sum_over_group(values: NDArray) -> NDArray:
    """Return the sum of float32 ``values`` over the processes."""
    return process_allgather(values).reshape(-1, *values.shape).sum(0)
