"""The processes of one training: what each of them is told, and the proof that they are together.

``fcn train --workers`` starts them. Each finds in two environment variables which of them it is and
where the others are; its framework then joins them by its own means. They check each other by sums
over the group: ``check_group`` before the training, ``Together`` while it goes on.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
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
CAUSE_SECONDS = 15
"""How long a process waits for the end of another that has failed before it reports its own: Ray
needs some seconds to find that a host is lost, more on a busy one."""
JOIN_SECONDS = 300
"""How long a process may take to load its framework and to join its group."""
EQUAL = 1e-3
"""How far, by its norm, an array of a process may be from that of the first. Hosts of two kinds
round differently; without a mean of the gradients the momentum is about as far as it is long."""

Sum = Callable[[NDArray], NDArray]
"""A backend's ``sum_over_group``: float32 [N] -> the sum over all processes, [N]."""


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


def check_group(config: Config, sum_over_group: Sum) -> None:
    """Let every process of the group count the others.

    A framework that has not joined its group trains alone, and says nothing.

    Args:
        config: Its workers are expected.
        sum_over_group: Of the backend.

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


class Together:
    """What a process of several knows of the others: that all of them do one training.

    Every method but ``note_step`` is called by all processes at once. Each raises InputError, which
    names the step and the process.
    """

    def __init__(
        self, config: Config, sum_over_group: Sum, order: Callable[[int], NDArray[np.int64]]
    ) -> None:
        """Note that nothing is done yet.

        Args:
            config: Of the training.
            sum_over_group: Of the backend.
            order: Epoch -> the images of all its steps, [steps of an epoch, batch size].
        """
        self._rank, self._workers = group_of(config).rank, config.workers
        self._sum, self._order = sum_over_group, order
        self._first, self._images = 0, list[NDArray[np.int64]]()

    def start(self, step: int, arrays: Mapping[str, NDArray]) -> None:
        """Let all processes see that they start from the same step and the same arrays.

        The checkpoint that they go on from may be another one on another host.
        """
        steps = self._of_all(np.array([step])).ravel().tolist()
        if len(set(steps)) > 1:
            raise self._error(
                f"process 0 to {self._workers - 1} start from step "
                f"{', '.join(f'{each:g}' for each in steps)}, where all have to start from one: "
                "let every host see the same checkpoint"
            )
        self._first = step
        self.compare(arrays, "at the start: let every host see the same weights")

    def note_step(self, step: int, images: NDArray[np.int64]) -> None:
        """Note that this process has done a step, on these images."""
        due = self._first + len(self._images)
        if step != due:
            raise self._out_of_step(f"did step {step} where step {due} was due", step > due)
        self._images.append(images)

    def end_epoch(self, epoch: int, steps: int) -> None:
        """Let all processes see that each image of an epoch's batches was one process's, once.

        Args:
            epoch: Counted from 0.
            steps: That are done when it ends; its last ones may be left out.
        """
        done = self._first + len(self._images)
        if done != steps:
            # A sum now would be added to what others still do.
            what = f"ends epoch {epoch + 1} after {done} of {steps} steps"
            raise self._out_of_step(what, done < steps)
        order = self._order(epoch).astype(np.float32)
        begin, parts = epoch * len(order), order.reshape(len(order), self._workers, -1)
        expected = parts[self._first - begin : steps - begin]
        actual = self._of_all(np.array(self._images)).swapaxes(0, 1)
        wrong = np.argwhere((actual != expected).any(axis=2))
        if len(wrong):
            number, rank = wrong[0]
            step = self._first + int(number)
            where = np.argwhere((parts == actual[number, rank]).all(axis=2)).tolist()
            raise self._error(
                f"in step {step} (epoch {epoch + 1}) process {rank} trained on "
                f"{_in_words(where, begin, step)}, where each image of an epoch has to be trained "
                "on once, by one process"
            )
        self._first, self._images = steps, []

    def compare(self, arrays: Mapping[str, NDArray], when: str) -> None:
        """Let all processes see that they have the same arrays, but for their last bits.

        Of each array they compare its product with a random one, always the same.

        Args:
            arrays: Trained parameters, and what an optimizer keeps of their gradients.
            when: The end of the message.
        """
        generator = np.random.default_rng(0)
        products = [
            generator.standard_normal(array.size, np.float32) @ array.ravel()
            for array in arrays.values()
        ]
        norms = np.array([np.linalg.norm(array) for array in arrays.values()])
        all_products = self._of_all(np.array(products))
        far = abs(all_products - all_products[0]) > EQUAL * norms
        if far.any():
            rank = int(far.any(axis=1).argmax())
            name = list(arrays)[int(far[rank].argmax())]
            raise self._error(f"{name} of process {rank} is not that of process 0 {when}")

    def _of_all(self, own: NDArray) -> NDArray[np.float32]:
        """Return this array of each process, [processes, ...]."""
        rows = np.zeros((self._workers, *own.shape), np.float32)
        rows[self._rank] = own
        return np.asarray(self._sum(rows.ravel())).reshape(rows.shape)

    def _out_of_step(self, what: str, skipped: bool) -> InputError:
        how = "skipped" if skipped else "repeated"
        return self._error(
            f"process {self._rank} {what}: it has {how} a batch, so its gradients are added to "
            "those of another one"
        )

    def _error(self, text: str) -> InputError:
        return InputError(f"--workers {self._workers}: {text}")


def _in_words(where: list[list[int]], begin: int, step: int) -> str:
    """Return in words where some images stand in the order: step, counted from begin, and part."""
    for other, rank in where:
        if begin + other == step:
            return f"the images of process {rank}"
        how = "skipped" if begin + other > step else "repeated"
        return f"the images of step {begin + other}, so it has {how} a batch"
    return "images that the order of its seed and its data does not have there"
