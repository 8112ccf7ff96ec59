"""Pascal VOC2012's classes and colours."""

import functools

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOID = 255
"""Label of the borders and difficult regions that belong to no class."""
VOID_COLOR = (224, 224, 192)


def _colors(count: int) -> NDArray[np.uint8]:
    """Return VOC's colour map: the bits of an index, three at a time, from the top of R, G, B."""
    index = np.arange(count)
    colors = np.zeros((count, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= ((index >> (3 * level + channel)) & 1).astype(np.uint8) << (
                7 - level
            )
    return colors


COLORS = _colors(len(CLASSES))
"""uint8 [21, 3], RGB of each class (the development kit's VOClabelcolormap)."""
LABELS = {*range(len(CLASSES)), VOID}
LABEL_COLORS = {tuple(map(int, color)) for color in (*COLORS, VOID_COLOR)}
"""RGB of each class and of void."""


@functools.cache
def palette() -> bytes:
    """Return the 256 RGB triples of a VOC mask's palette; entry 255 is the void colour."""
    colors = _colors(256)
    colors[VOID] = VOID_COLOR
    return colors.tobytes()


def index_to_rgb(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours, uint8 [..., 3], of labels 0..20 and 255, uint8 [...]."""
    return np.frombuffer(palette(), np.uint8).reshape(256, 3)[labels]


def class_name(label: int) -> str:
    """Return the name of a class, 0..20, or of void, 255."""
    return "void" if label == VOID else CLASSES[label]


GREY_WEIGHTS = ((0.299, 0.587, 0.114), (0.2125, 0.7154, 0.0721), (1 / 3, 1 / 3, 1 / 3))
"""Of red, green and blue in the grey of ITU-R BT.601 (Pillow, OpenCV), of BT.709, and in a mean."""


def grey_values() -> list[set[int]]:
    """Return the greys that VOC's colours become in each way, give or take the rounding."""
    colors = np.array(sorted(LABEL_COLORS))
    weights = [*GREY_WEIGHTS, *(weights[::-1] for weights in GREY_WEIGHTS[:2])]
    return [
        {int(np.floor(grey)) + more for grey in colors @ np.array(weight) for more in (0, 1)}
        for weight in weights
    ]


@functools.cache
def _table() -> NDArray[np.uint8]:
    """Return the class of each of the 256^3 colours; 254 where there is none."""
    table = np.full(256**3, 254, np.uint8)
    table[_packed(COLORS)] = np.arange(len(CLASSES))
    table[_packed(np.array(VOID_COLOR, np.uint8))] = VOID
    return table


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    packed = rgb[..., 0].astype(np.intp)
    for channel in (1, 2):
        packed <<= 8
        packed |= rgb[..., channel]
    return packed


def rgb_to_index(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the labels, uint8 [...], of VOC's colours, uint8 [..., 3].

    Raises:
        InputError: Naming the first colour that is neither a class's nor void.
    """
    labels = _table()[_packed(rgb)]
    if (labels == 254).any():
        color = tuple(int(value) for value in rgb[labels == 254][0])
        raise InputError(f"colour {color} belongs to no VOC class")
    return labels
