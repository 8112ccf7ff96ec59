"""What the processes of a group check of each other, simulated by threads of one process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError
from common.machine.group import EQUAL, Group, Together, group_environment
from common.recipes import make_recipe

BATCH, STEPS = 6, 5
"""Of an epoch; the data set has a remainder beyond its whole batches."""
ARRAYS = {"weight": np.float32([[1, 2], [3, 4]]), "the momentum of weight": np.float32([5e-3, -6])}


def order_of(epoch: int, seed: int = 0) -> NDArray[np.int64]:
    images = np.random.default_rng((seed, epoch)).permutation(BATCH * STEPS + 4)
    return images[: BATCH * STEPS].reshape(STEPS, BATCH)


class Sum:
    """A backend's sum over as many threads."""

    def __init__(self, count: int) -> None:
        self.rows, self.barrier = list[Any]([None] * count), Barrier(count, timeout=20)

    def of(self, rank: int) -> Callable[[NDArray], NDArray]:
        def add(values: NDArray) -> NDArray:
            assert values.dtype == np.float32 and values.ndim == 1
            self.rows[rank] = values
            self.barrier.wait()
            total = np.sum(self.rows, axis=0)
            self.barrier.wait()
            return total

        return add


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def train(work: Callable[[Together, int], None], workers: int = 2, **orders: Any) -> list[str]:
        """Let each of the processes work; return what each was refused for, or nothing."""
        config = Config(make_recipe("modern", batch_size=BATCH), workers=workers)
        total, processes = Sum(workers), []
        for rank in range(workers):
            addresses = tuple(f"host:{number}" for number in range(workers))
            for name, value in group_environment(Group(rank, addresses)).items():
                monkeypatch.setenv(name, value)
            order = orders.get(f"order_{rank}", order_of)
            processes.append(Together(config, total.of(rank), order))

        def errors(rank: int) -> str:
            try:
                work(processes[rank], rank)
            except InputError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(errors, range(workers)))

    return train


def part(step: int, rank: int, workers: int = 2) -> NDArray[np.int64]:
    """Return the images that are a process's in a step."""
    return np.split(order_of(step // STEPS)[step % STEPS], workers)[rank]


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("first", [0, 2, STEPS])
@pytest.mark.parametrize("last", [2 * STEPS, 2 * STEPS - 1])
def test_processes_that_share_each_batch_may_go_on(
    group: Callable[..., list[str]], workers: int, first: int, last: int
) -> None:
    """From the middle of an epoch too, and to a last step in the middle of one."""

    def train(process: Together, rank: int) -> None:
        process.start(first, ARRAYS)
        for step in range(first, last):
            process.note_step(step, part(step, rank, workers))
            if step + 1 in (STEPS, last):
                process.end_epoch(step // STEPS, step + 1)
                # The last bits of unequal hosts.
                off = 1 + rank * EQUAL / 100
                process.compare({k: v * np.float32(off) for k, v in ARRAYS.items()}, "")

    assert group(train, workers) == [""] * workers


def planted(process: Together, rank: int, steps: dict[int, NDArray], first: int) -> None:
    """Train the second epoch, on other images than the order says in some steps."""
    process.start(first, ARRAYS)
    for step in range(first, 2 * STEPS):
        process.note_step(step, steps.get(step, part(step, rank)))
    process.end_epoch(1, 2 * STEPS)


@pytest.mark.parametrize("first", [STEPS, STEPS + 2])
def test_two_processes_on_one_part_are_named(group: Callable[..., list[str]], first: int) -> None:
    both = {step: part(step, 0) for step in range(first, 2 * STEPS)}
    errors = group(lambda process, rank: planted(process, rank, both, first))
    assert errors == 2 * [
        f"--workers 2: in step {first} (epoch 2) process 1 trained on the images of process 0, "
        "where each image of an epoch has to be trained on once, by one process"
    ]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (part(9, 1), "the images of step 9, so it has skipped a batch"),
        (part(6, 1), "the images of step 6, so it has repeated a batch"),
        (part(2, 1), "images that the order of its seed and its data does not have there"),
    ],
)
def test_other_images_under_the_number_of_a_step_are_named(
    group: Callable[..., list[str]], images: NDArray, words: str
) -> None:
    def train(process: Together, rank: int) -> None:
        planted(process, rank, {8: images} if rank else {}, 6)

    for error in group(train):
        assert f"in step 8 (epoch 2) process 1 trained on {words}, where" in error


def test_an_order_of_another_seed_on_one_host_is_refused(group: Callable[..., list[str]]) -> None:
    def train(process: Together, rank: int) -> None:
        process.start(0, ARRAYS)
        for step, images in enumerate(order_of(0, seed=rank)):
            process.note_step(step, np.split(images, 2)[rank])
        process.end_epoch(0, STEPS)

    first, second = group(train, order_1=lambda epoch: order_of(epoch, seed=1))
    assert "(epoch 1) process 1 trained on images that the order" in first
    assert "(epoch 1) process 0 trained on images that the order" in second


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1, 3], "process 1 did step 3 where step 2 was due: it has skipped a batch, so its"),
        ([0, 1, 1], "process 1 did step 1 where step 2 was due: it has repeated a batch, so its"),
        ([0, 1, 2, 3], "process 1 ends epoch 1 after 4 of 5 steps: it has skipped a batch, so its"),
    ],
)
def test_a_process_out_of_step_is_named_before_a_sum(
    group: Callable[..., list[str]], steps: list[int], message: str
) -> None:
    """Its sum would be added to what the others still do."""

    def train(process: Together, rank: int) -> None:
        process.start(0, ARRAYS)
        for step in steps if rank else ():
            process.note_step(step, part(step, rank))
        if rank:
            process.end_epoch(0, STEPS)

    first, second = group(train)
    assert first == "" and second.startswith(f"--workers 2: {message}")


def test_processes_that_start_from_other_checkpoints_are_refused(
    group: Callable[..., list[str]],
) -> None:
    assert group(lambda process, rank: process.start(7 + rank, ARRAYS)) == 2 * [
        "--workers 2: process 0 to 1 start from step 7, 8, where all have to start from one: let "
        "every host see the same checkpoint"
    ]
    other = {**ARRAYS, "weight": ARRAYS["weight"] + np.float32([[0, 0], [0, 0.5]])}
    assert group(lambda process, rank: process.start(7, other if rank else ARRAYS)) == 2 * [
        "--workers 2: weight of process 1 is not that of process 0 at the start: let every host "
        "see the same weights"
    ]


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_without_a_mean_of_the_gradients_is_named(
    group: Callable[..., list[str]], name: str
) -> None:
    def compare(process: Together, rank: int) -> None:
        process.start(0, ARRAYS)
        array = ARRAYS[name] * np.float32(1.1 if rank == 2 else 1)
        process.compare({**ARRAYS, name: array}, "after step 3: their gradients are not added")

    assert group(compare, 3) == 3 * [
        f"--workers 3: {name} of process 2 is not that of process 0 after step 3: their gradients "
        "are not added"
    ]
