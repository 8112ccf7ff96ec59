"""Images on disk. Pillow is imported inside functions: a worker may lack it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.formats import png
from common.data.formats.jpeg import is_cut_short
from common.data.shards.files import File, Member
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
def opened(path: File, *formats: str, largest: int) -> Iterator[tuple[Image, IO[bytes]]]:
    """Open an image file, of which only the header is read so far; yield its stream too.

    Args:
        path: The file.
        formats: Pillow's names of those that are allowed.
        largest: Pixels that the image may have.

    Raises:
        InputError: Naming the file, if it is absent, no image, or too large. An error of the block
            becomes one too.
    """
    from PIL import Image, UnidentifiedImageError

    if path.exists() and not path.is_file():  # Of a pipe the end may never come.
        raise InputError(f"{path}: is a folder or a device, not a file")
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit cannot be stated; this one is checked below.
    try:
        with path.open("rb") as stream, Image.open(stream, formats=formats) as image:
            width, height = image.size
            check_size(path, (height, width), largest)
            yield image, stream
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        what = f"not in the format {' or '.join(formats)}{_what_it_is(path)}"
        raise InputError(f"{path}: {what}") from None
    except Exception as error:
        # Decoders raise OSError, ValueError, SyntaxError and their own for a broken file.
        raise InputError(f"{path}: not a complete, readable image ({error})") from error


def check_size(path: File, size: tuple[int, int], largest: int) -> None:
    """Raise InputError if an image of this height and width has more pixels than ``largest``."""
    height, width = size
    if width * height > largest:
        raise InputError(
            f"{path}: has {height:,}x{width:,} pixels, more than {largest:,}: make it "
            f"smaller, or allow it with --max-pixels {width * height}"
        )


OTHER_KINDS = {
    rb"": ": it is empty",
    rb"\xff\xd8\xff.*": ": it is a JPEG, which has changed the labels: take the original label "
    "map; converting this file to PNG does not bring them back",
    rb"RIFF....WEBP.*": ": it is a WebP image, convert it",
    rb"GIF8.*": ": it is a GIF, convert it",
    rb"BM.*": ": it is a BMP image, convert it",
    rb"(II\*\0|MM\0\*).*": ": it is a TIFF image, convert it",
    rb"....ftyp(hei|hev|mif1|avif).*": ": it is a HEIF or AVIF image, convert it",
    rb"version https://git-lfs.*": ": it is a Git LFS pointer, and `git lfs pull` fetches the file",
    rb"\s*<.*": ": it is HTML or XML, as a failed download leaves, so fetch it again",
}
"""How a file begins that is often taken for an image -> what to say of it."""


def whole(stream: IO[bytes]) -> bytes:
    """Return all bytes of a stream, and leave it where it is."""
    place = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(place)
    return data


def _what_it_is(path: File) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    for pattern, words in OTHER_KINDS.items():
        if re.fullmatch(pattern, start, re.DOTALL):
            return words
    return ""


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


def image_size(path: File, largest: int = LARGEST) -> tuple[int, int]:
    """Return height and width as ``read_image`` and ``read_label`` give them, from the header.

    Of a file in a shard they stand in the index.
    """
    if isinstance(path, Member):
        check_size(path, path.size, largest)
        return path.size
    with opened(path, "JPEG", "PNG", largest=largest) as (image, _):
        width, height = image.size
        return (width, height) if orientation(image) in SIDEWAYS else (height, width)


def is_sideways(path: File) -> bool:
    """Tell whether an image file's EXIF orientation swaps its height and width."""
    with opened(path, "JPEG", "PNG", largest=sys.maxsize) as (image, _):
        return orientation(image) in SIDEWAYS


def read_image(path: File, largest: int = LARGEST) -> NDArray[np.uint8]:
    """Read a JPEG or PNG as RGB, uint8 [H, W, 3].

    Grey of 8 or 16 bits, palette, RGBA (its alpha left out) and CMYK are converted; an EXIF
    orientation is applied.

    Args:
        path: The file.
        largest: Pixels that it may have; a larger one is refused before it is decoded.

    Raises:
        InputError: Naming the file, if it is absent, truncated, too large or no image.
    """
    with opened(path, "JPEG", "PNG", largest=largest) as (image, stream):
        data = whole(stream)
        if image.format == "PNG":
            png.check_rows(data)
        picture = upright(image)  # By the same header as its size: a PNG may have EXIF at its end.
        pixels = np.array(image)
        if image.format != "PNG" and is_cut_short(pixels, data):
            raise ValueError("its data end early")
        if image.mode == "P":  # Pillow makes a colour that the palette lacks black.
            count = len(dict(png.chunks(data))[b"PLTE"]) // 3
            if (number := pixels.max()) >= count:
                raise ValueError(f"uses colour {number}, but its palette ends at {count - 1}")
        if picture.mode.startswith("I"):
            # Pillow would clip 16 bits at 255; the upper eight bits are the picture.
            return np.repeat((np.array(picture) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if picture.mode == "RGB":  # convert() would make one more copy.
            return pixels if picture is image else np.array(picture)
        # Alpha is left out, so a transparent palette entry is a colour like any other.
        picture.info.pop("transparency", None)
        return np.array(picture.convert("RGB"))


def resize_image(
    rgb: NDArray[np.uint8],
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    part: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Return an image, uint8 [H, W, 3], resized by Pillow's bilinear filter, or a part of that.

    The filter is a triangle as wide as two pixels of the smaller of the two images.

    Args:
        rgb: The image.
        size: Height and width that the whole of it gets.
        corner: Top and left of the part in the resized image; it lies inside.
        part: Its height and width; by default all.
    """
    from PIL import Image

    (height, width), (top, left), old = part or size, corner, rgb.shape
    down, right = old[0] / size[0], old[1] / size[1]
    box = (
        left * right,
        top * down,
        min((left + width) * right, old[1]),
        min((top + height) * down, old[0]),
    )
    image = Image.fromarray(rgb)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write an image, uint8 [H, W, 3], in the format of the path's suffix."""
    from PIL import Image

    kind = Image.registered_extensions()[path.suffix.lower()]
    write_file(path, lambda file: Image.fromarray(rgb).save(file, kind))
