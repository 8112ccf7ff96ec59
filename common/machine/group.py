"""The processes of one training: what each of them is told, and the proof that they are together.

``fcn train --workers`` starts them. Each finds in two environment variables which of them it is and
where the others are; its framework then joins them by its own means.
"""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError

RANK, ADDRESSES = "RANK", "FCN_GROUP"
"""Environment variables: the number of the process, and the addresses of all, split by commas."""
CLUSTER = "FCN_CLUSTER"
"""Environment variable: the address of the cluster, for the command that goes on with a training;
not set where the training has a cluster of its own."""
CAUSE_SECONDS = 3
"""How long a process waits for the end of another that has failed before it reports its own."""


class Group(NamedTuple):
    """The processes of a training.

    Attributes:
        rank: The number of this process, from 0.
        addresses: ``HOST:PORT`` of each, where its framework may listen.
    """

    rank: int
    addresses: tuple[str, ...]


def group_environment(group: Group) -> dict[str, str]:
    """Return the variables that tell a process of its group."""
    return {RANK: str(group.rank), ADDRESSES: ",".join(group.addresses)}


def group_of(config: Config) -> Group:
    """Return the group that this process is told of; without workers it is alone.

    Raises:
        InputError: If the group has another size than ``config`` says.
    """
    if config.workers == 1:
        return Group(0, ("",))
    addresses = tuple(filter(None, os.environ.get(ADDRESSES, "").split(",")))
    if len(addresses) != config.workers:
        raise InputError(
            f"--workers {config.workers}: this process is one of {max(1, len(addresses))}: "
            "start the training by `fcn train`, which starts as many as --workers says"
        )
    return Group(int(os.environ[RANK]), addresses)


def report_late(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a process of several and end it, unless it is ended before.

    The cause may be that another has failed; who started them then ends all.
    """
    time.sleep(CAUSE_SECONDS)
    sys.__excepthook__(kind, error, trace)
    end_at_once(1)


def end_at_once(status: int) -> None:
    """End this process of a group; at a usual end some frameworks wait for the others."""
    if ADDRESSES in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def check_group(config: Config, sum_over_group: Callable[[NDArray], NDArray]) -> None:
    """Let every process of the group count the others.

    A framework that has not joined its group trains alone, and says nothing.

    Args:
        config: Its workers are expected.
        sum_over_group: Of a backend: float32 [N] -> the sum over all processes, [N].

    Raises:
        InputError: If a process is missing, or is there twice.
    """
    if config.workers == 1:
        return
    own = np.eye(config.workers, dtype=np.float32)[group_of(config).rank]
    counts = [round(count) for count in sum_over_group(own).tolist()]
    if counts != [1] * config.workers:
        raise InputError(
            f"--workers {config.workers}: the processes do not train together: a sum over them "
            f"counts {', '.join(map(str, counts))} of process 0 to {config.workers - 1}, "
            "where each has to count once"
        )
