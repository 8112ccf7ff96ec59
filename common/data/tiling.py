"""Prediction of images of any size: whole where they fit, else in tiles that overlap.

Of one view of an image or of several, whose probabilities are averaged.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.data.crops import pad_to, resize_logits, scaled_size, tile_for, tile_offsets
from common.data.images import resize_image

T = TypeVar("T")

LOOK_AHEAD = 4
"""Images that are decoded while others are predicted: the next two batches."""
TILES_PER_BATCH = 2
"""Tiles of one shape that are predicted at once: on a CPU some frameworks take longer one by one,
others with four."""
PIXELS_AT_ONCE = 2_000_000
"""Of the images whose views share batches: the probabilities of all of them may have to wait for
a view of the same shape, some 16 bytes a class and pixel."""


class Tiled(Generic[T]):
    """An image whose tiles are being predicted, and its label map as far as that is done.

    A row of pixels is done when no tile to come covers it. The sums of logits that are not done are
    of as many rows as a tile has: beside image and label map, an image in several tiles takes
    4 * classes * (height of a tile) * (width of the image) bytes, which is 43 KB for each pixel of
    its width with 21 classes and 512x512 tiles.

    Attributes:
        companion: What came with the image.
        result: The labels, uint8 [H, W], or, unless they are to be chosen, the logits, float32
            [H, W, C].
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        companion: T,
        tile: tuple[int, int],
        chooses: bool = True,
    ) -> None:
        self._image, self.companion, self._tile, self._chooses = image, companion, tile, chooses
        self._size = height, width = image.shape[:2]
        self.result: NDArray = np.empty((height, width) if chooses else (0,), np.uint8)
        self._tops = tile_offsets(max(height, tile[0]), tile[0])
        self._lefts = tile_offsets(max(width, tile[1]), tile[1])
        self._added = 0
        self._sums: NDArray[np.float32] | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether the image is a single tile, whose prediction is the result."""
        return len(self._tops) == len(self._lefts) == 1

    @property
    def is_done(self) -> bool:
        """Tell whether all tiles have been added."""
        return self._added == len(self._tops) * len(self._lefts)

    def parts(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the tiles of the image, uint8 [h, w, 3], row by row."""
        for top in self._tops:
            for left in self._lefts:
                rows, columns = slice(top, top + self._tile[0]), slice(left, left + self._tile[1])
                yield pad_to(self._image[rows, columns], self._tile)

    def add(self, part: NDArray) -> None:
        """Add a tile's prediction, in the order of ``parts``.

        Args:
            part: A label map, uint8 [h, w], of a whole image whose labels are to be chosen; else
                logits, float32 [h, w, C].
        """
        height, width = self._size
        if not self._chooses and self._added == 0:
            self.result = np.empty((height, width, part.shape[-1]), np.float32)
        if self.is_whole:
            self.result[:] = part[:height, :width]
            self._added += 1
            return
        if self._sums is None:
            width = self._lefts[-1] + self._tile[1]
            self._sums = np.zeros((self._tile[0], width, part.shape[-1]), np.float32)
        row, column = divmod(self._added, len(self._lefts))
        left = self._lefts[column]
        self._sums[:, left : left + self._tile[1]] += part
        self._added += 1
        if column == len(self._lefts) - 1:
            self._finish_rows(row, self._sums)

    def _finish_rows(self, row: int, sums: NDArray[np.float32]) -> None:
        """Finish the pixels that only tiles up to this row of them cover; move the others up."""
        (height, width), top = self._size, self._tops[row]
        bottom = self._tops[row + 1] if row + 1 < len(self._tops) else top + self._tile[0]
        counts = np.multiply.outer(
            _times_covered(self._tops, self._tile[0])[top:bottom],
            _times_covered(self._lefts, self._tile[1]),
        )
        done = sums[: bottom - top]
        done /= counts[..., None]
        done = done[: height - top, :width]
        self.result[top:bottom] = done.argmax(-1) if self._chooses else done
        for line in range(bottom - top, self._tile[0]):
            sums[line - (bottom - top)] = sums[line]
        sums[self._tile[0] - (bottom - top) :] = 0


def _times_covered(starts: list[int], length: int) -> NDArray[np.float32]:
    """Return how many tiles cover each pixel along one side."""
    counts = np.zeros(starts[-1] + length, np.float32)
    for start in starts:
        counts[start : start + length] += 1
    return counts


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
    classify_batch: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    done: Callable[[int], object] | None = None,
) -> Iterator[tuple[NDArray, T]]:
    """Yield each image's label map, uint8 [H, W], with the image's companion.

    Tiles of one shape share batches, also across images, so images come out in the order in which
    they are finished. The last batch of each shape is filled up, so that a shape is compiled once.
    An image that is one tile comes from the device as its label map, a byte a pixel. The logits of
    several tiles are averaged where these overlap, and then the largest is chosen.

    Args:
        items: Images uint8 [H, W, 3] of any size, each with a companion that is passed through.
        largest: The largest tile's height and width in pixels, multiples of 32.
        predict_batch: uint8 [N, h, w, 3] to logits float32 [N, h, w, C].
        classify_batch: uint8 [N, h, w, 3] to the first of the largest logits, uint8 [N, h, w]; None
            to yield each image's logits, float32 [H, W, C], in place of its label map.
        done: Called with the number of tiles that have been predicted since the last time.

    Source:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
        section 4: whole images; Dive into Deep Learning, "Fully Convolutional Networks:
        Prediction": areas that cover an image that is too large.
    """
    waiting: dict[tuple[tuple[int, int], bool], list[tuple[Tiled[T], NDArray[np.uint8]]]] = {}
    for image, companion in ahead(items):
        tile = tile_for((image.shape[0], image.shape[1]), largest)
        tiled = Tiled(image, companion, tile, classify_batch is not None)
        queue = waiting.setdefault((tile, tiled.is_whole), [])
        for part in tiled.parts():
            queue.append((tiled, part))
            if len(queue) == TILES_PER_BATCH:
                compute = (tiled.is_whole and classify_batch) or predict_batch
                yield from _finished(queue, compute, done)
    for (_, whole), queue in waiting.items():
        if queue:
            yield from _finished(queue, (whole and classify_batch) or predict_batch, done)


def _finished(
    queue: list[tuple[Tiled[T], NDArray[np.uint8]]],
    compute: Callable[[NDArray[np.uint8]], NDArray],
    done: Callable[[int], object] | None,
) -> Iterator[tuple[NDArray, T]]:
    """Compute a batch of tiles, empty the queue, and yield the images that are complete."""
    inputs = [part for _, part in queue]
    filler = [np.zeros_like(inputs[0])] * (TILES_PER_BATCH - len(inputs))
    outputs = compute(np.stack(inputs + filler))
    if done is not None:
        done(len(inputs))
    for (tiled, _), part in zip(queue, outputs, strict=False):
        tiled.add(part)
        if tiled.is_done:
            yield tiled.result, tiled.companion
    queue.clear()


class Views(Generic[T]):
    """An image several views of which are being predicted, and their probabilities so far.

    Beside the image it takes some 16 bytes a class and pixel while a view is added.

    Attributes:
        companion: What came with the image.
    """

    def __init__(self, size: tuple[int, int], companion: T, count: int) -> None:
        self._size, self.companion, self._left = size, companion, count
        self._sum: NDArray[np.float32] | None = None

    @property
    def is_done(self) -> bool:
        """Tell whether all views have been added."""
        return self._left == 0

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Return the first of each pixel's largest mean probabilities, uint8 [H, W]."""
        assert self._sum is not None
        return self._sum.argmax(-1).astype(np.uint8)

    def add(self, logits: NDArray[np.float32], flip: bool) -> None:
        """Add a view's probabilities.

        Args:
            logits: float32 [h, w, C].
            flip: The view is mirrored.
        """
        whole = resize_logits(logits[:, ::-1] if flip else logits, self._size)
        shares = whole - whole.max(-1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= shares.sum(-1, keepdims=True)
        if self._sum is None:
            self._sum = shares
        else:
            self._sum += shares
        self._left -= 1


View = tuple[NDArray[np.uint8], tuple[Views[T], bool]]
"""A view of an image, with what its prediction is added to, and whether it is mirrored."""


def predict_views(
    items: Iterable[tuple[NDArray[np.uint8], T]],
    largest: tuple[int, int],
    predict_batch: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    views: Sequence[tuple[float, bool]],
    done: Callable[[int], object] | None = None,
) -> Iterator[tuple[NDArray[np.uint8], T]]:
    """Yield each image's label map, uint8 [H, W], of its mean probabilities, with its companion.

    Args:
        items: As of ``predict_tiled``.
        largest: Likewise.
        predict_batch: Likewise.
        views: The scale of each, and whether it is mirrored.
        done: As of ``predict_tiled``.

    Source:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", section 4.1.
    """

    def viewed(group: Sequence[tuple[NDArray[np.uint8], T]]) -> Iterator[View[T]]:
        for image, companion in group:
            size = image.shape[0], image.shape[1]
            mean = Views(size, companion, len(views))
            for scale, flip in views:
                view = resize_image(image, scaled_size(size, scale)) if scale != 1 else image
                yield view[:, ::-1] if flip else view, (mean, flip)

    for group in grouped(ahead(items)):
        outputs = predict_tiled(viewed(group), largest, predict_batch, None, done)
        for logits, (mean, flip) in outputs:
            mean.add(logits, flip)
            if mean.is_done:
                yield mean.labels, mean.companion


def grouped(
    items: Iterable[tuple[NDArray[np.uint8], T]],
) -> Iterator[list[tuple[NDArray[np.uint8], T]]]:
    """Yield ``items`` in groups of at most ``PIXELS_AT_ONCE``, a larger image alone."""
    group: list[tuple[NDArray[np.uint8], T]] = []
    pixels = 0
    for image, companion in items:
        own = image.shape[0] * image.shape[1]
        if group and pixels + own > PIXELS_AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append((image, companion))
        pixels += own
    if group:
        yield group
