"""The batch plan, a pure function of seed, epoch and data set, and the loader that follows it."""

import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.crops import crop_pair, scaled_crop, scaled_size
from common.data.dataset import Dataset
from common.errors import InputError
from common.machine.cgroups import usable_memory
from common.machine.threads import cpu_count
from common.recipes import Recipe

CACHE_MIB = 1280
"""VOC2012's 1464 training images, most of them 375x500, take about 1050 MiB once decoded."""
ALIGNMENT = 64
"""Bytes. On a CPU JAX and TensorFlow use an array without a copy if its address is a multiple."""


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        step: Counted over all epochs, from 0.
        indices: Of the images in the data set, [B]; B is this process's share of the batch.
        images: uint8 [B, H, W, 3], RGB.
        labels: uint8 [B, H, W], classes and 255 for void.
    """

    step: int
    indices: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class EpochPlan:
    """Which images an epoch shows, in which order, and which part of each; arrays [N].

    Attributes:
        scales: By which each image is resized before the part is cut; None for none.
    """

    indices: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    flips: NDArray[np.bool_]
    batches_per_epoch: int
    scales: NDArray[np.float64] | None = None


def plan_epoch(
    dataset: Dataset, recipe: Recipe, seed: int, epoch: int, training: bool
) -> EpochPlan:
    """Return an epoch's plan; an incomplete last batch is left out.

    Training shuffles, crops at random, and scales images and flips half of the crops if the recipe
    says so. A scaled image that is smaller than the crop stands in the crop's upper left.
    Validation keeps the list's order and the same crops in every epoch, so that a curve changes
    only with the model.

    Raises:
        InputError: If a batch is larger than the data set, or a crop than one of its images.
    """
    count = len(dataset.names)
    batches = count // recipe.batch_size
    if batches == 0:
        raise InputError(
            f"--batch-size {recipe.batch_size} is larger than the {count} images of "
            f"{dataset.split} in {dataset.root}: choose a smaller one"
        )
    stream = (seed, epoch, 0) if training else (seed, 0, 1)
    generator = np.random.default_rng(stream)
    order = generator.permutation(count) if training else np.arange(count)
    indices = order[: batches * recipe.batch_size]
    sizes, scales, corners = np.array(dataset.sizes)[indices], None, generator
    if training and recipe.scales_images:
        # Scales and corners are of a stream of their own, and the corners of the images as they are
        # are drawn too: so the order and the mirrored crops are the same as without scales.
        generator.integers(0, np.maximum(sizes - np.array(recipe.crop), 0) + 1)
        corners = np.random.default_rng((seed, epoch, 2))
        scales = corners.uniform(*recipe.random_scale, len(indices))
        sizes = np.array([scaled_size(s, f) for s, f in zip(sizes.tolist(), scales, strict=True)])
        sizes = np.maximum(sizes, recipe.crop)
    room = sizes - np.array(recipe.crop)
    if room.min() < 0:
        name = dataset.names[indices[room.min(axis=1).argmin()]]
        raise InputError(
            f"--crop {recipe.crop[0]}x{recipe.crop[1]} is larger than image {name} of "
            f"{dataset.split} in {dataset.root}: choose a smaller one"
        )
    tops, lefts = corners.integers(0, room + 1).T
    flips = generator.random(len(indices)) < 0.5 if training and recipe.flip else indices < 0
    return EpochPlan(indices, tops, lefts, flips, batches, scales)


def aligned_bytes(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array, not yet filled, whose address is a multiple of ``ALIGNMENT``."""
    size = math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].reshape(shape)


class Loader:
    """Decodes, crops and batches in background threads, within a bound of memory.

    Each of the ``workers`` threads makes whole batches: while the caller works on one batch,
    ``workers`` others are ready or being made. The threads end with the epoch. Decoded images are
    kept for the next epoch while there is room, the first ones rather than the last: in a cycle,
    the least recently used image is the one that is needed next.

    So beside the kept images there are at most ``1 + workers`` batches, among them the caller's,
    and in each thread an image being decoded: up to 16 bytes a pixel, for Pillow's images, NumPy's
    copies and colour look-ups.

    A batch's arrays are new and never written to again, so that a framework may use them without a
    copy. A framework that runs behind its caller keeps the batches of the steps it has not done, up
    to ``common.run.runs.READ_EVERY`` of them, beside these.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        *,
        workers: int = 2,
        cache_limit: int = 2**28,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Make a loader that has decoded nothing.

        Args:
            dataset: The images; plans are of the same one.
            recipe: Its batch size and its crop are used.
            workers: Threads.
            cache_limit: Bytes that kept images may take.
            part: Which of how many equal parts of every batch is made, counted from 0.
        """
        self.dataset, self.recipe, self.workers = dataset, recipe, workers
        number, parts = part
        self._size = recipe.batch_size // parts
        self._first = number * self._size
        self._cache_limit = cache_limit
        self._cache: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._cache_bytes = 0
        self._lock = threading.Lock()

    def epoch(
        self, plan: EpochPlan, first_step: int, skip: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Yield an epoch's batches in order.

        Args:
            plan: Of ``plan_epoch``.
            first_step: The step of the plan's first batch.
            skip: Batches to leave out at the start, when resuming.
            stop: The first batch to leave out at the end; None for none.

        Raises:
            InputError: Of the file that cannot be read, when its batch is due.
        """
        due = iter(range(skip, plan.batches_per_epoch if stop is None else stop))
        waiting: deque[Future[Batch]] = deque()
        # A thread makes a whole batch: a task for each image would only add handovers.
        with ThreadPoolExecutor(self.workers, thread_name_prefix="loader") as pool:

            def start_next() -> None:
                if (number := next(due, None)) is not None:
                    waiting.append(pool.submit(self._make_batch, plan, number, first_step + number))

            for _ in range(self.workers):
                start_next()
            while waiting:
                batch = waiting.popleft().result()
                start_next()
                yield batch

    def whole_images(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Return each image and its label map as the files have them, for reading only."""
        return map(self._decoded, range(len(self.dataset.names)))

    def _make_batch(self, plan: EpochPlan, number: int, step: int) -> Batch:
        size, (height, width) = self._size, self.recipe.crop
        images = aligned_bytes((size, height, width, 3))
        labels = aligned_bytes((size, height, width))
        start = number * self.recipe.batch_size + self._first
        rows = range(start, start + size)
        for place, row in enumerate(rows):
            image, label = self._decoded(int(plan.indices[row]))
            corner, flip = (int(plan.tops[row]), int(plan.lefts[row])), bool(plan.flips[row])
            if plan.scales is not None:
                scaled = scaled_size(label.shape, float(plan.scales[row]))
                image, label = scaled_crop(image, label, scaled, corner, self.recipe.crop)
                corner = (0, 0)
            crop, labels[place] = crop_pair(image, label, *corner, self.recipe.crop, flip)
            # NumPy copies a mirrored crop pixel by pixel; one channel alone it copies faster.
            # docs/PERFORMANCE.md has the figures.
            for channels in (0, 1, 2) if flip else (slice(None),):
                images[place, ..., channels] = crop[..., channels]
        return Batch(step, plan.indices[rows.start : rows.stop], images, labels)

    def _decoded(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return an image and its label map, which are kept if there is room."""
        pair = self._cache.get(index)
        if pair is not None:
            return pair
        pair = self.dataset.read(index)
        size = sum(array.nbytes for array in pair)
        with self._lock:
            if index not in self._cache and self._cache_bytes + size <= self._cache_limit:
                self._cache[index] = pair
                self._cache_bytes += size
        return pair


def default_cache_mib() -> int:
    """Return ``CACHE_MIB``, or a quarter of the memory that may be used if that is less."""
    return min(CACHE_MIB, usable_memory() // 4 // 2**20)


def loader_for(
    dataset: Dataset, config: Config, beside: int = 0, part: tuple[int, int] = (0, 1)
) -> Loader:
    """Return the loader of a training or a measurement, with as many threads as it computes with.

    Args:
        dataset: The images.
        config: Its recipe, its threads and its bound of the kept images are used.
        beside: Bytes that the images of another loader take; they come off the bound.
        part: As of ``Loader``.
    """
    mib = default_cache_mib() if config.cache_mib is None else config.cache_mib
    return Loader(
        dataset,
        config.recipe,
        workers=config.threads or cpu_count(),
        cache_limit=max(0, mib * 2**20 - beside),
        part=part,
    )
