"""Images and label maps on disk. Pillow is imported inside functions: a worker may lack it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.data.voc import CLASSES, VOID, palette, rgb_to_index
from common.errors import InputError
from common.machine.files import write_file

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
def _opened(path: Path, *formats: str) -> Iterator[Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=formats) as image:
            yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not in the format {' or '.join(formats)}") from None
    except Exception as error:
        # Decoders raise OSError, ValueError, SyntaxError and their own for a broken file.
        raise InputError(f"{path}: not a complete, readable image ({error})") from error


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8."""
    # Pillow would decode the whole PNG to look for EXIF at its end.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


def _upright(image: Image) -> Image:
    """Return the image as its EXIF orientation turns it."""
    from PIL import ImageOps

    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width as ``read_image`` and ``read_label`` give them, from the header."""
    with _opened(path, "JPEG", "PNG") as image:
        width, height = image.size
        return (width, height) if _orientation(image) in SIDEWAYS else (height, width)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a JPEG or PNG as RGB, uint8 [H, W, 3].

    Grey of 8 or 16 bits, palette, RGBA (its alpha left out) and CMYK are converted; an EXIF
    orientation is applied.

    Raises:
        InputError: Naming the file, if it is absent, truncated or no image.
    """
    with _opened(path, "JPEG", "PNG") as image:
        picture = _upright(image)
        if picture.mode.startswith("I"):
            # Pillow would clip 16 bits at 255; the upper eight bits are the picture.
            return np.repeat((np.array(picture) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if picture.mode == "RGB":
            return np.array(picture)  # convert() would make one more copy.
        # Alpha is left out, so a transparent palette entry is a colour like any other.
        picture.info.pop("transparency", None)
        return np.array(picture.convert("RGB"))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Read a label map from a PNG, uint8 [H, W] of 0..20 and 255.

    A palette or 8-bit grey file holds the labels themselves, an RGB one VOC's colours. An EXIF
    orientation is applied, as it is to images.

    Raises:
        InputError: Naming the file, if its mode is another, a value or colour is no label, or its
            palette shows a label in the colour of another class.
    """
    with _opened(path, "PNG") as image:
        if image.mode not in ("P", "L", "RGB"):
            raise InputError(
                f"{path}: mode {image.mode}: a label map must be a palette, grey or RGB image"
            )
        picture = _upright(image)
        array = np.array(picture)
        if picture.mode == "RGB":
            try:
                return rgb_to_index(array)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
        # Less 21, the labels 0..20 and 255 wrap around to the largest bytes: one pass finds a wrong
        # one. np.unique sorts, so it is left to the error message.
        if (array - np.uint8(len(CLASSES))).min() < VOID - len(CLASSES):
            wrong = [value for value in np.unique(array) if len(CLASSES) <= value < VOID]
            raise InputError(
                f"{path}: label {wrong[0]} is neither 0..{len(CLASSES) - 1} nor {VOID}"
            )
        if picture.mode == "P":
            _check_palette(path, picture, array)
        return array


def _check_palette(path: Path, picture: Image, labels: NDArray[np.uint8]) -> None:
    """Refuse a palette that an image program has sorted: its indices are no labels."""
    colors = bytes(picture.getpalette() or ())
    if palette().startswith(colors):
        return
    voc = np.frombuffer(palette(), np.uint8).reshape(256, 3)
    own = np.frombuffer(colors, np.uint8).reshape(-1, 3)
    for value in np.unique(labels):
        if value >= len(own):
            continue
        label = int((voc == own[value]).all(1).argmax())
        # 0 stands for black, which many palettes have, and for a colour that no label has.
        if label not in (0, value) and (label < len(CLASSES) or label == VOID):
            raise InputError(
                f"{path}: its palette gives index {value} the colour of label {label}; "
                "save it with VOC's palette or as RGB"
            )


def label_image(labels: NDArray[np.uint8]) -> Image:
    """Return Pillow's palette image, in VOC's colours, of a label map, uint8 [H, W]."""
    from PIL import Image

    assert labels.dtype == np.uint8 and labels.ndim == 2, (labels.dtype, labels.shape)
    image = Image.fromarray(labels)
    image.putpalette(palette())
    return image


def write_label(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map, uint8 [H, W], as a palette PNG in VOC's colours."""
    write_file(path, lambda file: label_image(labels).save(file, "PNG"))


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an image, uint8 [H, W, 3], in the format of the path's suffix."""
    from PIL import Image

    kind = Image.registered_extensions()[path.suffix.lower()]
    write_file(path, lambda file: Image.fromarray(rgb).save(file, kind))
