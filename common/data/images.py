"""Images on disk. Pillow is imported inside functions: a worker may lack it."""

from __future__ import annotations

import io
import re
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
def opened(path: Path, *formats: str, largest: int) -> Iterator[Image]:
    """Open an image file, of which only the header is read so far.

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
        with Image.open(path, formats=formats) as image:
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
        what = f"not in the format {' or '.join(formats)}{_what_it_is(path)}"
        raise InputError(f"{path}: {what}") from None
    except Exception as error:
        # Decoders raise OSError, ValueError, SyntaxError and their own for a broken file.
        raise InputError(f"{path}: not a complete, readable image ({error})") from error


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


def _what_it_is(path: Path) -> str:
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
        data = path.read_bytes()
        if image.format == "PNG":
            png.check_rows(data)
        picture = upright(image)  # By the same header as its size: a PNG may have EXIF at its end.
        pixels = np.array(image)
        if image.format != "PNG" and _is_cut_short(pixels, data):
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


MARKER = re.compile(rb"\xff+[^\x00\xff]")
START, END, SCAN, INTERVAL, RESTART = 0xD8, 0xD9, 0xDA, 0xDD, 0xD0
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Last bytes of a JPEG's markers; there are eight restarts, which take turns."""
MORE = bytes(range(1, 65))


def markers(jpeg: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the last byte, the place and the header of each of a JPEG file's markers, to its end.

    Source:
        ITU-T T.81, "Digital compression and coding of continuous-tone still images", annex B.
    """
    place = 0
    while marker := MARKER.search(jpeg, place):
        kind, place, header = jpeg[marker.end() - 1], marker.end(), b""
        if kind not in range(RESTART, SCAN):
            header = jpeg[place + 2 : place + int.from_bytes(jpeg[place : place + 2], "big")]
            place += 2 + len(header)
        yield kind, marker.start(), header
        if kind == END:
            return


def is_one_piece(jpeg: bytes) -> bool:
    """Tell whether a JPEG file codes its picture in one pass over all components, unbroken."""
    components = 0
    for kind, _, header in markers(jpeg):
        if kind == INTERVAL:
            return False
        if kind in FRAMES:
            components = header[5]
        if kind == SCAN:
            return header[0] == components and header[-3:] == b"\0\x3f\0"
    return False


def made_longer(jpeg: bytes) -> bytes | None:
    """Return a JPEG file with more data at each place where those of its picture should end.

    None if a coefficient of a component is missing, or a restart is, as far as the headers tell.
    """
    missing: set[tuple[int, int]] = set()
    restarts: int | None = None  # None where no data of the picture are.
    parts, copied = [], 0
    for kind, place, header in markers(jpeg):
        if restarts is not None:
            parts += [jpeg[copied:place], MORE]
            copied = place
            if kind in range(RESTART, START):
                if kind - RESTART != restarts % 8:
                    return None
                restarts += 1
            else:  # As if another restart were due.
                parts += [bytes([0xFF, RESTART + restarts % 8]), MORE]
                restarts = None
        if kind in FRAMES:
            missing = {(name, k) for name in header[6::3] for k in range(64)}
        elif kind == SCAN:
            restarts = 0
            *names, first, last, bits = header[1::2][: header[0]] + header[-3:]
            if bits & 15 == 0:
                missing -= {(name, k) for name in names for k in range(first, last + 1)}
    return None if missing else b"".join([*parts, jpeg[copied:]])


def _is_cut_short(pixels: NDArray[np.uint8], jpeg: bytes) -> bool:
    """Tell whether a JPEG's data end before its picture does.

    libjpeg only warns, which Pillow does not pass on: it makes blocks that are missing mid-grey,
    and leaves those of a later pass as they were. So the data of an image that has such a block,
    or several passes, are made longer, which changes nothing in a whole one. Only an end within
    the very last block is not seen.
    """
    from PIL import Image

    if is_one_piece(jpeg) and not _has_grey_block(pixels):
        return False
    if (longer := made_longer(jpeg)) is None:
        return True
    with Image.open(io.BytesIO(longer)) as image:
        return bool((np.array(image) != pixels).any())


def _has_grey_block(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a block of 8x8 pixels may be mid-grey, by two in it, or the corner is."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    samples = pixels[3::8, 3::8], pixels[4::8, 4::8], pixels[-1:, -1:]
    first, second, corner = (((each == 127) | (each == 128)).all(-1) for each in samples)
    height, width = second.shape  # A block at the edge may have the first alone.
    return bool(corner.any() or (first[:height, :width] & second).any())


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
