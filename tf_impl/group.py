"""The processes of a training with several workers, in TensorFlow."""

import json
import os
from functools import cache

import tensorflow as tf
from numpy.typing import NDArray

from common.config import Config
from common.machine.group import group_of


def join_group(config: Config) -> None:
    """Make this process one of its group, if it has one; returns when all have come."""
    if config.workers == 1:
        return
    group = group_of(config)
    cluster = {"worker": group.addresses}
    task = {"type": "worker", "index": group.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    group_strategy()


@cache
def group_strategy() -> tf.distribute.Strategy:
    """Return the strategy of all processes; TensorFlow makes it before it has devices."""
    return tf.distribute.MultiWorkerMirroredStrategy()


@cache
def group_reduce() -> tf.types.experimental.PolymorphicFunction:
    """Return the strategy's reduction as a graph, which is traced once for values of one shape."""
    return tf.function(group_strategy().reduce)


def sum_over_group(values: NDArray) -> NDArray:
    """Return the sum of float32 ``values`` over the processes."""
    return group_reduce()(tf.distribute.ReduceOp.SUM, tf.constant(values), axis=None).numpy()
