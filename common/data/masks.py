"""Label maps on disk: PNG files that hold class numbers, or the classes' colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC, VOID, VOID_COLOR, Classes
from common.data.formats import png
from common.data.images import LARGEST, opened, orientation, upright, whole
from common.data.shards.files import File
from common.errors import InputError
from common.machine.files import write_file

if TYPE_CHECKING:
    from PIL.Image import Image

MANY_COLORS = 300
"""Colours of one file above which it is a picture and no label map."""
NEAR = 4
"""How far a colour's channels may be from a class's where a program has rounded them."""


@dataclass(frozen=True)
class Mask:
    """What the file of a label map holds.

    Attributes:
        samples: As stored: numbers, uint8 or uint16 [H, W], or colours, uint8 [H, W, 3].
        palette: The colours that a palette file gives its numbers, uint8 [N, 3]; else None.
        opaque: Of each of these colours, whether it hides what is behind it, [N].
    """

    samples: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    opaque: NDArray[np.bool_] | None = None

    def labels(self, classes: Classes) -> NDArray[np.uint8]:
        """Return the labels, uint8 [H, W] of classes and 255.

        Raises:
            InputError: If a number or colour is no label, or the palette shows a number in the
                colour of another label.
        """
        if self.samples.ndim == 3:
            return classes.from_rgb(self.samples)
        # Less their count, the classes and 255 wrap around to the largest bytes: one pass finds a
        # wrong one. np.unique sorts, so it is left to the error message.
        count = len(classes.names)
        if self.samples.dtype == np.uint16 or (
            (self.samples - np.uint8(count)).min() < VOID - count
        ):
            wrong = self.samples[(self.samples >= count) & (self.samples != VOID)]
            if wrong.size:
                raise InputError(f"label {wrong.min()} is neither 0..{count - 1} nor {VOID}")
        labels = self.samples.astype(np.uint8, copy=False)
        if self.palette is not None and not classes.palette.startswith(self.palette.tobytes()):
            _check_palette(labels, self.palette, classes)
        if self.opaque is not None and not self.opaque.all():
            _check_transparency(labels, self.opaque)
        return labels

    def values(self, classes: Classes) -> frozenset[tuple[int, ...]]:
        """Return the different numbers or colours, none of a picture or where they are labels."""
        values = self.samples.reshape(-1, self.samples.shape[2] if self.samples.ndim == 3 else 1)
        distinct = np.unique(values, axis=0)
        if len(distinct) > MANY_COLORS:
            return frozenset()
        if self.palette is not None and set(distinct[:, 0].tolist()) <= classes.labels:
            return frozenset()  # It is the palette that is wrong.
        # Three equal channels are one number.
        if (distinct == distinct[:, :1]).all():
            distinct = distinct[:, :1]
        return frozenset(tuple(map(int, value)) for value in distinct)


ADVICE = "save the label map with its classes' palette, as grey or as RGB"


def _check_palette(labels: NDArray[np.uint8], colors: NDArray[np.uint8], classes: Classes) -> None:
    """Refuse a palette that an image program has sorted: its indices are no labels."""
    used = [int(index) for index in _present(labels) if index < len(colors)]
    greys = set(colors[:, 0].tolist()) if (colors == colors[:, :1]).all() else set()
    # Greys that are class numbers; black and white are those of many palettes of two colours.
    numbered = greys <= classes.labels and not greys <= {0, VOID}
    for index in used:
        label = int(colors[index, 0]) if numbered else label_of_color(colors[index], classes)
        # Black stands for background, and in many palettes for what they do not use.
        if label is None or label == index or (label == 0 == label_of_color(colors[0], classes)):
            continue
        raise InputError(
            f"its palette gives index {index} the colour of label {label} "
            f"({classes.name_of(label)}): {ADVICE}"
        )
    white = [index for index in used if index not in (0, VOID) and colors[index].min() == 255]
    if white and label_of_color(colors[0], classes) != 0 and colors[0].min() < 255:
        raise InputError(
            f"its palette gives index {white[0]} white and index 0 a colour: is white the "
            f"background? {ADVICE}"
        )
    if is_color_cube(colors) and (colors[used] != classes.table[used]).any():
        raise InputError(
            f"its palette is an image program's, with even steps of colour that are no classes: "
            f"{ADVICE}"
        )


def _check_transparency(labels: NDArray[np.uint8], opaque: NDArray[np.bool_]) -> None:
    """Refuse a palette that tells its numbers apart by transparency; background may have some."""
    for index in _present(labels):
        if index not in (0, VOID) and index < len(opaque) and not opaque[index]:
            raise InputError(f"its palette makes index {index} transparent: {ADVICE}")


def ramps_and_edges(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return how many pixels of a row lie between their neighbours, as a slope does, and all edges.

    Labels have edges. Slopes come from a change of size, or a compression, that mixes neighbours.
    One row in four is enough to tell.
    """
    labels = labels[::4]
    left, middle, right = labels[:, :-2], labels[:, 1:-1], labels[:, 2:]
    known = (left != VOID) & (middle != VOID) & (right != VOID)
    slopes = ((left < middle) & (middle < right)) | ((left > middle) & (middle > right))
    return int((slopes & known).sum()), int(((left != middle) & known).sum())


def _present(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the different labels, in order; np.unique would sort all pixels."""
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=256))


def label_of_color(color: NDArray[np.uint8], classes: Classes) -> int | None:
    """Return the label that is shown in a colour, or in the nearest that rounding makes of it."""
    known = np.array([*classes.colors, VOID_COLOR], np.int16)
    distances = np.abs(known - color).max(1)
    nearest = int(distances.argmin())
    if distances[nearest] > NEAR:
        return None
    return VOID if nearest == len(classes.names) else nearest


def is_color_cube(colors: NDArray[np.uint8]) -> bool:
    """Tell whether a palette has the 216 colours of the web, or another grid of many colours."""
    distinct = np.unique(colors, axis=0)
    web = (distinct % 51 == 0).all(1).sum() == 216
    sides = [len(np.unique(channel)) for channel in distinct.T]
    return bool(web) or (len(distinct) >= 64 and int(np.prod(sides)) == len(distinct))


def read_mask(path: File, largest: int = LARGEST) -> Mask:
    """Read the samples of a label map's file; an EXIF orientation is applied, as it is to images.

    Args:
        path: The PNG file.
        largest: Pixels that it may have; a larger one is refused before it is decoded.

    Raises:
        InputError: Naming the file, if it is absent, incomplete, too large, of a depth or with a
            transparency that labels cannot have.
    """
    with opened(path, "PNG", largest=largest) as (image, stream):
        data = whole(stream)
        header = png.read_header(data)
        if header.depth == 16 and header.color != png.GREY:
            raise InputError(f"{path}: has 16 bits a channel: save the label map with 8")
        is_plain = header.depth == 8 and header.color in (png.GREY, png.INDEXED)
        samples: NDArray[Any] | None = None
        if is_plain and not header.interlaced and orientation(image) == 1:
            rows = np.frombuffer(b"".join(png.rows(data)), np.uint8)
            rows = rows.reshape(header.height, 1 + header.width)
            # Most files of label maps have no filter: their rows are the samples.
            if not rows[:, 0].any():
                samples = rows[:, 1:].copy()
        else:
            png.check_rows(data)
        if samples is None:
            samples = np.array(upright(image))
        if header.color == png.GREY and header.depth < 8:
            # Pillow stretches the samples; of one bit it makes booleans.
            samples = samples.astype(np.uint8) // {1: 1, 2: 85, 4: 17}[header.depth]
        if header.color == png.INDEXED:
            return Mask(samples, *_palette(data))
        if header.color in (png.GREY_ALPHA, png.RGBA):
            if samples[..., -1].min() < 255:
                raise InputError(
                    f"{path}: has transparent pixels: save the label map without transparency"
                )
            samples = samples[..., 0] if header.color == png.GREY_ALPHA else samples[..., :3]
        return Mask(samples)


def _palette(data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the colours of a PNG file's palette, uint8 [N, 3], and which are opaque, [N]."""
    parts = {kind: bytes(content) for kind, content in png.chunks(data)}
    colors = np.frombuffer(parts.get(b"PLTE", b""), np.uint8)
    colors = colors[: len(colors) // 3 * 3].reshape(-1, 3)
    alpha = np.full(len(colors), 255, np.uint8)
    states = np.frombuffer(parts.get(b"tRNS", b""), np.uint8)[: len(colors)]
    alpha[: len(states)] = states
    return colors, alpha == 255


def read_label(path: File, classes: Classes = VOC, largest: int = LARGEST) -> NDArray[np.uint8]:
    """Read a label map from a PNG, uint8 [H, W] of classes and 255.

    A palette or grey file, of 1 to 16 bits, holds the labels themselves, an RGB one the
    classes' colours.

    Raises:
        InputError: Naming the file, as ``read_mask`` and ``Mask.labels`` do.
    """
    mask = read_mask(path, largest)
    try:
        return mask.labels(classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def label_image(labels: NDArray[np.uint8], classes: Classes) -> Image:
    """Return Pillow's palette image, in the classes' colours, of a label map, uint8 [H, W]."""
    from PIL import Image

    assert labels.dtype == np.uint8 and labels.ndim == 2, (labels.dtype, labels.shape)
    image = Image.fromarray(labels)
    image.putpalette(classes.palette)
    return image


def write_label(path: Path, labels: NDArray[np.uint8], classes: Classes = VOC) -> None:
    """Write a label map, uint8 [H, W], as a palette PNG in the classes' colours."""
    write_file(path, lambda file: label_image(labels, classes).save(file, "PNG"))


@cache  # The recipes of a study have the same label maps, most of them.
def any_void(paths: tuple[File, ...], classes: Classes, largest: int) -> bool:
    """Return whether any label map has a void pixel. Raises as ``read_label`` does."""
    return any(VOID in read_label(path, classes, largest) for path in paths)
