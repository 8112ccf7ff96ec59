"""Prediction of images of any size: tiles, batched across images, averaged where they overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.crops import merge_tiles, pad_to, tiles

T = TypeVar("T")

TILES_PER_BATCH = 4
"""A 375x500 image, VOC's usual size, has four tiles of 320x480."""


def predict_tiled(
    items: Iterable[tuple[NDArray[np.uint8], T]],
    tile: tuple[int, int],
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> Iterator[tuple[NDArray[np.float32], T]]:
    """Yield each image's logits, float32 [H, W, C], with what came beside the image.

    Tiles of successive images share batches and the last batch is filled up, so that
    ``predict_batch`` sees one shape only and compiles once.

    Args:
        items: Images uint8 [H, W, 3] of any size, each with a companion that is passed through.
        tile: Height and width of a tile in pixels, multiples of 32.
        predict_batch: uint8 [N, h, w, 3] to logits float32 [N, h, w, C].

    Source:
        Dive into Deep Learning, "Fully Convolutional Networks: Prediction", on larger images.
    """
    waiting: deque[tuple[tuple[int, int], list[tuple[int, int]], T]] = deque()
    inputs: list[NDArray[np.uint8]] = []
    outputs: deque[NDArray[np.float32]] = deque()

    def run() -> None:
        filler = [np.zeros_like(inputs[0])] * (TILES_PER_BATCH - len(inputs))
        outputs.extend(predict_batch(np.stack(inputs + filler))[: len(inputs)])
        inputs.clear()

    def finished() -> Iterator[tuple[NDArray[np.float32], T]]:
        while waiting and len(outputs) >= len(waiting[0][1]):
            size, offsets, companion = waiting.popleft()
            parts = [outputs.popleft() for _ in offsets]
            yield merge_tiles(parts, offsets, size), companion

    for image, companion in items:
        size = (image.shape[0], image.shape[1])
        padded = pad_to(image, tile)
        offsets = tiles((padded.shape[0], padded.shape[1]), tile)
        waiting.append((size, offsets, companion))
        for top, left in offsets:
            inputs.append(padded[top : top + tile[0], left : left + tile[1]])
            if len(inputs) == TILES_PER_BATCH:
                run()
        yield from finished()
    if inputs:
        run()
    yield from finished()
