"""Prediction of images of any size: whole where they fit, else in tiles that overlap."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.data.crops import merge_tiles, pad_to, tiles
from common.recipes import STRIDE

T = TypeVar("T")

LOOK_AHEAD = 4
"""Images that are decoded while others are predicted: the next two batches."""
TILES_PER_BATCH = 2
"""Tiles of one shape that are predicted at once: on a CPU some frameworks take longer one by one,
others with four."""


@dataclass
class Tiled(Generic[T]):
    """An image whose tiles are being predicted: its size, their places, and their predictions.

    The prediction of a single tile is a label map, uint8 [h, w]; those of several tiles are logits,
    float32 [h, w, C].
    """

    size: tuple[int, int]
    companion: T
    offsets: list[tuple[int, int]]
    parts: list[NDArray] = field(default_factory=list)

    def labels(self) -> NDArray[np.uint8]:
        """Return the image's label map, uint8 [H, W], when all parts are there."""
        if len(self.offsets) == 1:
            return self.parts[0][: self.size[0], : self.size[1]]
        return merge_tiles(self.parts, self.offsets, self.size).argmax(-1).astype(np.uint8)


def tile_for(size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """Return the tile for an image of ``size``: as large as the image, but at most ``largest``.

    Sides are rounded up to the network's stride, so that few shapes have to be compiled.
    """
    height, width = (
        min(-(-side // STRIDE) * STRIDE, bound) for side, bound in zip(size, largest, strict=True)
    )
    return height, width


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield ``items`` in their order, while a thread makes the next ones."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, source, end) for _ in range(LOOK_AHEAD))
        while (item := coming.popleft().result()) is not end:
            coming.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]


def predict_tiled(
    items: Iterable[tuple[NDArray[np.uint8], T]],
    largest: tuple[int, int],
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    classify_batch: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> Iterator[tuple[NDArray[np.uint8], T]]:
    """Yield each image's label map, uint8 [H, W], with the image's companion.

    Tiles of one shape share batches, also across images, so images come out in the order in which
    they are finished. The last batch of each shape is filled up, so that a shape is compiled once.
    An image that is one tile comes from the device as its label map, a byte a pixel. The logits of
    several tiles are averaged where these overlap, and then the largest is chosen.

    Args:
        items: Images uint8 [H, W, 3] of any size, each with a companion that is passed through.
        largest: The largest tile's height and width in pixels, multiples of 32.
        predict_batch: uint8 [N, h, w, 3] to logits float32 [N, h, w, C].
        classify_batch: uint8 [N, h, w, 3] to the first of the largest logits, uint8 [N, h, w].

    Source:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
        section 4: whole images; Dive into Deep Learning, "Fully Convolutional Networks:
        Prediction": areas that cover an image that is too large.
    """
    waiting: dict[tuple[tuple[int, int], bool], list[tuple[Tiled[T], NDArray[np.uint8]]]] = {}
    for image, companion in ahead(items):
        size = (image.shape[0], image.shape[1])
        tile = tile_for(size, largest)
        padded = pad_to(image, tile)
        offsets = tiles((padded.shape[0], padded.shape[1]), tile)
        tiled = Tiled(size, companion, offsets)
        whole = len(offsets) == 1
        queue = waiting.setdefault((tile, whole), [])
        for top, left in offsets:
            queue.append((tiled, padded[top : top + tile[0], left : left + tile[1]]))
            if len(queue) == TILES_PER_BATCH:
                yield from _finished(queue, classify_batch if whole else predict_batch)
    for (_, whole), queue in waiting.items():
        if queue:
            yield from _finished(queue, classify_batch if whole else predict_batch)


def _finished(
    queue: list[tuple[Tiled[T], NDArray[np.uint8]]],
    compute: Callable[[NDArray[np.uint8]], NDArray],
) -> Iterator[tuple[NDArray[np.uint8], T]]:
    """Compute a batch of tiles, empty the queue, and yield the images that are complete."""
    inputs = [part for _, part in queue]
    filler = [np.zeros_like(inputs[0])] * (TILES_PER_BATCH - len(inputs))
    for (tiled, _), part in zip(queue, compute(np.stack(inputs + filler)), strict=False):
        tiled.parts.append(part)
        if len(tiled.parts) == len(tiled.offsets):
            yield tiled.labels(), tiled.companion
    queue.clear()
