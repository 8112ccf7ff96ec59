"""Images on disk. Pillow is imported inside functions: a worker may lack it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data import png
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

LARGEST = Config.max_pixels
"""Pixels of the largest image that is read unless the user says otherwise, with --max-pixels."""


@contextmanager
def opened(path: Path, *formats: str, largest: int, data: bytes | None = None) -> Iterator[Image]:
    """Open an image file, of which only the header is read so far.

    Args:
        path: The file.
        formats: Pillow's names of those that are allowed.
        largest: Pixels that the image may have.
        data: The file's bytes where they have been read.

    Raises:
        InputError: Naming the file, if it is absent, no image, or too large. An error of the block
            becomes one too.
    """
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit cannot be stated; this one is checked below.
    try:
        with Image.open(path if data is None else io.BytesIO(data), formats=formats) as image:
            width, height = image.size
            if width * height > largest:
                raise InputError(
                    f"{path}: has {height:,}x{width:,} pixels, more than {largest:,}: make it "
                    f"smaller, or allow it with --max-pixels {width * height}"
                )
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


def orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8."""
    # Pillow would decode the whole PNG to look for EXIF at its end.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return int(image.getexif().get(ORIENTATION, 1))


def upright(image: Image) -> Image:
    """Return the image as its EXIF orientation turns it."""
    from PIL import ImageOps

    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def image_size(path: Path, largest: int = LARGEST) -> tuple[int, int]:
    """Return height and width as ``read_image`` and ``read_label`` give them, from the header."""
    with opened(path, "JPEG", "PNG", largest=largest) as image:
        width, height = image.size
        return (width, height) if orientation(image) in SIDEWAYS else (height, width)


def is_sideways(path: Path) -> bool:
    """Tell whether an image file's EXIF orientation swaps its height and width."""
    with opened(path, "JPEG", "PNG", largest=sys.maxsize) as image:
        return orientation(image) in SIDEWAYS


def read_image(path: Path, largest: int = LARGEST) -> NDArray[np.uint8]:
    """Read a JPEG or PNG as RGB, uint8 [H, W, 3].

    Grey of 8 or 16 bits, palette, RGBA (its alpha left out) and CMYK are converted; an EXIF
    orientation is applied.

    Args:
        path: The file.
        largest: Pixels that it may have; a larger one is refused before it is decoded.

    Raises:
        InputError: Naming the file, if it is absent, truncated, too large or no image.
    """
    with opened(path, "JPEG", "PNG", largest=largest) as image:
        if image.format == "PNG":
            png.check_rows(path.read_bytes())
        elif _is_cut_short(image, path):
            raise ValueError("its data end early")
        picture = upright(image)
        if picture.mode.startswith("I"):
            # Pillow would clip 16 bits at 255; the upper eight bits are the picture.
            return np.repeat((np.array(picture) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if picture.mode == "RGB":
            return np.array(picture)  # convert() would make one more copy.
        # Alpha is left out, so a transparent palette entry is a colour like any other.
        picture.info.pop("transparency", None)
        return np.array(picture.convert("RGB"))


def _is_cut_short(jpeg: Image, path: Path) -> bool:
    """Tell whether a JPEG's end marker comes before its last block.

    libjpeg makes blocks that are missing mid-grey and only warns, which Pillow does not pass on. So
    the data of an image that ends in this grey are made longer, which changes nothing in a whole
    one.
    """
    from PIL import Image

    corner = (jpeg.width - 1, jpeg.height - 1)
    if not set(jpeg.crop((*corner, jpeg.width, jpeg.height)).tobytes()) <= {127, 128}:
        return False
    start, marker, end = path.read_bytes().rpartition(b"\xff\xd9")
    with Image.open(io.BytesIO(start + bytes(1024) + marker + end)) as longer:
        return bool((np.array(longer) != np.array(jpeg)).any())


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an image, uint8 [H, W, 3], in the format of the path's suffix."""
    from PIL import Image

    kind = Image.registered_extensions()[path.suffix.lower()]
    write_file(path, lambda file: Image.fromarray(rgb).save(file, kind))
