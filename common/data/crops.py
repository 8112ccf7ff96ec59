"""Crops for training and tiles for prediction."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from common.classes import VOID
from common.data.images import MEAN, resize_image
from common.recipes import STRIDE

PADDING = np.round(MEAN * 255).astype(np.uint8)
"""The colour that extends an image: ImageNet's mean, which normalisation makes almost zero."""


def crop_pair(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    top: int,
    left: int,
    size: tuple[int, int],
    flip: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut the same rectangle from an image [H, W, 3] and its label map [H, W]; maybe mirror both.

    Args:
        top, left: The rectangle's corner in pixels.
        size: Its height and width in pixels; it must lie inside the image.
        flip: Mirror left and right.

    Returns:
        Views, [h, w, 3] and [h, w].
    """
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    image, label = image[rows, columns], label[rows, columns]
    assert label.shape == size, (label.shape, size)
    return (image[:, ::-1], label[:, ::-1]) if flip else (image, label)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return height and width times ``scale``, rounded, at least 1."""
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def scaled_crop(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    scaled: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a rectangle of an image [H, W, 3] and its label map [H, W] in another size.

    The image is resized by Pillow's bilinear filter, the label map by its nearest pixels. Where the
    rectangle reaches beyond them it has ``PADDING``'s colour and void.

    Args:
        scaled: Height and width of the whole image in pixels, once resized.
        corner: Top and left of the rectangle in the resized image.
        size: Height and width of the rectangle in pixels.

    Source:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", section 4.1;
        its code pads with the mean colour and the void label.
    """
    sides = [
        min(side, whole - start) for side, whole, start in zip(size, scaled, corner, strict=True)
    ]
    rows, columns = (
        (2 * np.arange(start, start + side) + 1) * old // (2 * new)
        for start, side, old, new in zip(corner, sides, label.shape, scaled, strict=True)
    )
    labels = np.full(size, VOID, np.uint8)
    labels[: sides[0], : sides[1]] = label[rows[:, None], columns]
    part = resize_image(image, scaled, corner, (sides[0], sides[1]))
    return pad_to(part, size), labels


def resize_logits(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return logits [h, w, C] resized to [H, W, C], bilinearly between the centres of pixels.

    As PyTorch's ``interpolate`` does without ``align_corners`` and ``antialias``.
    """
    for axis, (old, new) in enumerate(zip(logits.shape[:2], size, strict=True)):
        if old == new:
            continue
        places = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
        first = places.astype(np.intp)
        shares = (places - first).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        before = logits.take(first, axis)
        after = logits.take(np.minimum(first + 1, old - 1), axis)
        logits = before + (after - before) * shares
    return logits


def tile_offsets(size: int, tile: int) -> list[int]:
    """Return where tiles of ``tile`` pixels start: as few as cover ``size``, evenly spaced."""
    count = max(1, -(-size // tile))
    return [round(i * (size - tile) / (count - 1)) if count > 1 else 0 for i in range(count)]


def tiles(size: tuple[int, int], tile: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the (top, left) of the tiles that cover an image at least as large as one tile."""
    return [
        (top, left)
        for top in tile_offsets(size[0], tile[0])
        for left in tile_offsets(size[1], tile[1])
    ]


def pad_to(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Extend an image [H, W, 3] below and to the right to at least ``size``.

    The new pixels have ``PADDING``'s colour.
    """
    height, width = image.shape[:2]
    target = (max(height, size[0]), max(width, size[1]))
    if target == (height, width):
        return image
    padded = np.empty((*target, 3), np.uint8)
    padded[:] = PADDING
    padded[:height, :width] = image
    return padded


def by_tiles(
    image: NDArray[np.uint8],
    tile: tuple[int, int],
    compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the logits [H, W, C] of an image: the mean of its tiles' where they overlap.

    Args:
        image: uint8 [H, W, 3].
        tile: Height and width in pixels.
        compute: A tile, uint8 [h, w, 3], to its logits, float32 [h, w, C].
    """
    padded, (height, width) = pad_to(image, tile), tile
    offsets = tiles((padded.shape[0], padded.shape[1]), tile)
    parts = [compute(padded[top : top + height, left : left + width]) for top, left in offsets]
    return merge_tiles(parts, offsets, (image.shape[0], image.shape[1]))


def merge_tiles(
    logits: Sequence[NDArray[np.float32]],
    offsets: Sequence[tuple[int, int]],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the logits [H, W, C] of an image: the mean of its tiles' [h, w, C] where they overlap.

    Args:
        logits: One array a tile.
        offsets: The tiles' (top, left) in pixels.
        size: Height and width of the image; tiles are cut off where they reach beyond it.
    """
    height = max(top + part.shape[0] for part, (top, _) in zip(logits, offsets, strict=True))
    width = max(left + part.shape[1] for part, (_, left) in zip(logits, offsets, strict=True))
    total = np.zeros((height, width, logits[0].shape[-1]), np.float32)
    count = np.zeros((height, width, 1), np.float32)
    for part, (top, left) in zip(logits, offsets, strict=True):
        area = np.s_[top : top + part.shape[0], left : left + part.shape[1]]
        total[area] += part
        count[area] += 1
    total /= count
    return total[: size[0], : size[1]]


def tile_for(size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """Return the tile for an image of ``size``: as large as the image, but at most ``largest``.

    Sides are rounded up to the network's stride, so that few shapes have to be compiled.
    """
    height, width = (
        min(-(-side // STRIDE) * STRIDE, bound) for side, bound in zip(size, largest, strict=True)
    )
    return height, width


def count_tiles(
    size: tuple[int, int], largest: tuple[int, int], views: Sequence[tuple[float, bool]]
) -> int:
    """Return how many tiles are predicted of an image of ``size``, over all ``views`` of it."""
    count = 0
    for scale, _ in views:
        height, width = scaled_size(size, scale) if scale != 1 else size
        tile = tile_for((height, width), largest)
        count += len(tiles((max(height, tile[0]), max(width, tile[1])), tile))
    return count
