"""What Pillow does not tell of a JPEG file: whether the data of its picture are all there."""

import io
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

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


def is_cut_short(pixels: NDArray[np.uint8], jpeg: bytes) -> bool:
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
