"""Prediction of images of any size: whole where they fit, else in tiles that overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.crops import merge_tiles, pad_to, tiles
from common.recipes import STRIDE

T = TypeVar("T")

TILES_PER_BATCH = 2
"""Tiles of one shape that are predicted at once. On two CPU cores a pixel of 384x512 takes MXNet
0.75 and TensorFlow 0.96 of what it takes one by one; four at once take PyTorch and MXNet longer."""


@dataclass
class Tiled(Generic[T]):
    """An image whose tiles are being predicted: its size, where they lie, and their logits."""

    size: tuple[int, int]
    companion: T
    offsets: list[tuple[int, int]]
    logits: list[NDArray[np.float32]] = field(default_factory=list)


def tile_for(size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """Return the tile for an image of ``size``: as large as that, or ``largest``.

    Sides are rounded up to the network's stride: few shapes, each of which is compiled once.
    """
    height, width = (
        min(-(-side // STRIDE) * STRIDE, bound) for side, bound in zip(size, largest, strict=True)
    )
    return height, width


def predict_tiled(
    items: Iterable[tuple[NDArray[np.uint8], T]],
    largest: tuple[int, int],
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> Iterator[tuple[NDArray[np.float32], T]]:
    """Yield each image's logits, float32 [H, W, C], with what came beside the image.

    Tiles of one shape share batches, also across images, so images come out in the order in which
    they are finished. The last batch of each shape is filled up: a shape is compiled only once.

    Args:
        items: Images uint8 [H, W, 3] of any size, each with a companion that is passed through.
        largest: The largest tile's height and width in pixels, multiples of 32.
        predict_batch: uint8 [N, h, w, 3] to logits float32 [N, h, w, C].

    Source:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
        section 4: whole images; Dive into Deep Learning, "Fully Convolutional Networks:
        Prediction": areas that cover an image that is too large.
    """
    waiting: dict[tuple[int, int], list[tuple[Tiled[T], NDArray[np.uint8]]]] = {}
    for image, companion in items:
        size = (image.shape[0], image.shape[1])
        tile = tile_for(size, largest)
        padded = pad_to(image, tile)
        offsets = tiles((padded.shape[0], padded.shape[1]), tile)
        tiled = Tiled(size, companion, offsets)
        queue = waiting.setdefault(tile, [])
        for top, left in offsets:
            queue.append((tiled, padded[top : top + tile[0], left : left + tile[1]]))
            if len(queue) == TILES_PER_BATCH:
                yield from _finished(queue, predict_batch)
    for queue in waiting.values():
        if queue:
            yield from _finished(queue, predict_batch)


def _finished(
    queue: list[tuple[Tiled[T], NDArray[np.uint8]]],
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> Iterator[tuple[NDArray[np.float32], T]]:
    """Predict a batch of tiles, empty the queue, and yield the images that are complete."""
    inputs = [part for _, part in queue]
    filler = [np.zeros_like(inputs[0])] * (TILES_PER_BATCH - len(inputs))
    logits = predict_batch(np.stack(inputs + filler))
    for (tiled, _), part in zip(queue, logits, strict=False):
        tiled.logits.append(part)
        if len(tiled.logits) == len(tiled.offsets):
            yield merge_tiles(tiled.logits, tiled.offsets, tiled.size), tiled.companion
    queue.clear()
