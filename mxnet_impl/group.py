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

BUFFERS: dict[str, nd.NDArray] = {}
"""What is added over the processes, under the name that it has in the store."""


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


def add_over_group(arrays: dict[str, nd.NDArray]) -> None:
    """Replace each array by its sum over the processes, without waiting for it.

    A server may answer a later request first, and MXNet's engine orders only what uses the same
    array. So a pull that is under way may be answered with the sum of a later push. That is why a
    name has one buffer, its sum is one request, and a Trainer, whose first step pulls parameters
    while gradients are pushed, has no store.
    """
    store = group_store()
    new = {name: nd.zeros_like(array) for name, array in arrays.items() if name not in BUFFERS}
    if new:
        store.init(list(new), list(new.values()))
        BUFFERS.update(new)
    for name, array in arrays.items():
        BUFFERS[name][:] = array
        store.pushpull(name, BUFFERS[name], out=array)


def sum_over_group(values: NDArray) -> NDArray:
    """Return the sum of float32 ``values`` over the processes."""
    total = nd.array(values)
    add_over_group({f"sum of {values.shape}": total})
    return total.asnumpy()
