"""The processes of a training with several workers, in MXNet."""

import os
import subprocess
import sys
from functools import cache

import mxnet as mx
from mxnet import nd
from mxnet.kvstore import KVStore
from numpy.typing import NDArray

from common.config import Config
from common.machine.children import ending_with_this
from common.machine.group import group_of

FIRST_KEY = 2**20
"""Of the store's keys the trainer takes the first, one a parameter."""


def join_group(config: Config) -> None:
    """Make this process one of its group, if it has one; returns when all have come.

    The group has a scheduler and servers, which add: processes that do nothing but import MXNet.
    """
    if config.workers == 1:
        return
    group = group_of(config)
    host, _, port = group.addresses[0].rpartition(":")
    os.environ["DMLC_PS_ROOT_URI"], os.environ["DMLC_PS_ROOT_PORT"] = host, port
    os.environ["DMLC_NODE_HOST"] = group.addresses[group.rank].rpartition(":")[0]
    os.environ["DMLC_NUM_WORKER"] = os.environ["DMLC_NUM_SERVER"] = str(config.workers)
    for role in ("server",) if group.rank else ("scheduler", "server"):
        command = ending_with_this([sys.executable, "-m", "mxnet_impl.group"])
        subprocess.Popen(command, env={**os.environ, "DMLC_ROLE": role})
    os.environ["DMLC_ROLE"] = "worker"
    group_store()


@cache
def group_store() -> KVStore:
    """Return the store by which the processes add their arrays."""
    return mx.kvstore.create("dist_sync")


@cache
def key_of(shape: tuple[int, ...]) -> int:
    """Return the store's key of what is added of this shape."""
    key = FIRST_KEY + sum(shape)
    group_store().init(key, nd.zeros(shape))
    return key


def total_of(value: nd.NDArray) -> nd.NDArray:
    """Return the sum of ``value`` over the processes, without waiting for it."""
    total, key = nd.zeros_like(value), key_of(value.shape)
    group_store().push(key, value)
    group_store().pull(key, out=total)
    return total


def sum_over_group(values: NDArray) -> NDArray:
    """Return the sum of float32 ``values`` over the processes."""
    return total_of(nd.array(values)).asnumpy()
