"""What Pillow does not tell of a PNG file: how its samples are stored, and whether all are there.

Pillow stretches grey samples of 1, 2 and 4 bits to 8, drops half of those of 16 bits in colour, and
leaves rows that the file lacks black.

Source:
    W3C, "Portable Network Graphics (PNG) Specification", sections 5 (chunks), 7 and 8 (rows).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, INDEXED, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types."""
CHANNELS = {GREY: 1, RGB: 3, INDEXED: 1, GREY_ALPHA: 2, RGBA: 4}
PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""Of an interlaced file: first column and row, and the steps to the next."""
PIECE = 2**20


@dataclass(frozen=True)
class Header:
    """The IHDR chunk: sides in pixels, bits of a sample, colour type."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool

    @property
    def row_bytes(self) -> int:
        """The bytes of all rows, each with the byte of its filter."""
        bits = self.depth * CHANNELS[self.color]
        if not self.interlaced:
            return self.height * (1 + -(-self.width * bits // 8))
        total = 0
        for left, top, right, down in PASSES:
            width, height = -(-(self.width - left) // right), -(-(self.height - top) // down)
            if width > 0 and height > 0:
                total += height * (1 + -(-width * bits // 8))
        return total


def read_header(data: bytes) -> Header:
    """Return the header of a PNG file, of which its first 33 bytes will do.

    Raises:
        ValueError: If it is cut short or no PNG.
    """
    if len(data) < 33 or not data.startswith(SIGNATURE + b"\0\0\0\rIHDR"):
        raise ValueError("has no PNG header")
    width, height, depth, color, *methods, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if color not in CHANNELS:
        raise ValueError(f"colour type {color} is unknown")
    if any(methods) or interlaced > 1:
        raise ValueError("its method of compression, filters or interlacing is unknown")
    return Header(width, height, depth, color, bool(interlaced))


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the type and the content of each chunk of a PNG file, up to its end.

    Raises:
        ValueError: If the file stops before its end.
    """
    view, place = memoryview(data), len(SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, start = data[place + 4 : place + 8], place + 8
        place = start + length + 4
        if kind == b"IEND":
            return
        if place > len(data):
            break
        yield kind, view[start : start + length]
    raise ValueError("the file ends early")


def rows(data: bytes) -> Iterator[bytes]:
    """Yield the decompressed rows of a PNG file in pieces, their filters not undone.

    Raises:
        ValueError: If they are fewer than the header states, or damaged, or if the palette is.
    """
    header = read_header(data)
    missing, has_palette, has_begun = header.row_bytes, False, False
    decompressor = zlib.decompressobj()
    try:
        for kind, content in chunks(data):
            if kind == b"PLTE":
                if has_palette or has_begun or len(content) not in range(3, 769, 3):
                    raise ValueError("its palette is damaged or not where it belongs")
                has_palette = True
            has_begun |= kind == b"IDAT"
            waiting: bytes | memoryview = content if kind == b"IDAT" else b""
            more = bool(waiting)
            while more and not decompressor.eof:
                piece = decompressor.decompress(waiting, PIECE)
                waiting = decompressor.unconsumed_tail
                # A full piece may not be all that the bytes fed so far hold.
                more = bool(waiting) or len(piece) == PIECE
                missing -= len(piece)
                if missing < 0:
                    raise ValueError("has more rows than its header states")
                yield piece
    except zlib.error as error:
        raise ValueError(f"its rows are damaged: {error}") from error
    if missing or not decompressor.eof:
        raise ValueError("its rows end early")
    if header.color == INDEXED and not has_palette:
        raise ValueError("has no palette for the numbers of its pixels")


def check_rows(data: bytes) -> None:
    """Raise ValueError if a PNG file has fewer rows than it states; Pillow leaves those black."""
    for _ in rows(data):
        pass
