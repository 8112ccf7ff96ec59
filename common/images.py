"""Images and label maps on disk. Pillow is imported where it is needed: a worker may lack it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.files import write_bytes
from common.voc import CLASSES, VOID, palette, rgb_to_index

if TYPE_CHECKING:
    from PIL.Image import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
"""ImageNet's mean, RGB in [0, 1], [3]."""
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's standard deviation, RGB in [0, 1], [3]."""

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except Exception as error:
        # Decoders raise OSError, ValueError, SyntaxError and their own for a broken file.
        raise InputError(f"{path}: not a complete, readable image ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width as ``read_image`` would give them, from the file's header."""
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(ORIENTATION) in SIDEWAYS:
            width, height = height, width
        return height, width


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB, uint8 [H, W, 3].

    Grey, palette, RGBA (its alpha left out) and CMYK are converted; an EXIF orientation is applied.

    Raises:
        InputError: Naming the file, if it is absent, truncated or no image.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Read a label map, uint8 [H, W] of 0..20 and 255.

    A palette or grey file holds the labels themselves, an RGB one VOC's colours.

    Raises:
        InputError: Naming the file, if its mode is another or a value is no label.
    """
    with _opened(path) as image:
        if image.mode not in ("P", "L", "RGB"):
            raise InputError(f"{path}: mode {image.mode} is no label map's: palette, grey or RGB")
        array = np.array(image)
    if array.ndim == 3:
        try:
            return rgb_to_index(array)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    wrong = (array >= len(CLASSES)) & (array != VOID)
    if wrong.any():
        raise InputError(f"{path}: label {array[wrong][0]} is neither 0..{len(CLASSES) - 1} nor 255")
    return array


def write_label(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map, uint8 [H, W], as a palette PNG in VOC's colours."""
    from PIL import Image

    image = Image.fromarray(labels)
    image.putpalette(palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an image, uint8 [H, W, 3], in the format of the path's suffix."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, Image.registered_extensions()[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
