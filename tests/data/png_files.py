"""PNG files of every depth, colour type and order of rows, written without Pillow."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.data.formats.png import CHANNELS, PASSES


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk with its length and its checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def packed(samples: NDArray, depth: int) -> bytes:
    """Return rows of samples [H, W, C] as bytes, each row with a filter byte of zero."""
    lines = []
    for row in samples:
        values = row.ravel()
        if depth == 16:
            data = values.astype(">u2").tobytes()
        elif depth == 8:
            data = values.astype(np.uint8).tobytes()
        else:
            bits = (values[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            data = np.packbits(bits.astype(np.uint8)).tobytes()
        lines.append(b"\0" + data)
    return b"".join(lines)


def png_file(
    samples: NDArray,
    *,
    depth: int = 8,
    color: int = 0,
    interlaced: bool = False,
    palette: Sequence[Sequence[int]] | None = None,
    alpha: bytes = b"",
    rows: bytes | None = None,
) -> bytes:
    """Return a PNG file of samples [H, W] or [H, W, C], or with other ``rows`` than theirs."""
    samples = samples.reshape(*samples.shape[:2], CHANNELS[color])
    height, width = samples.shape[:2]
    if rows is None:
        parts = [samples[top::down, left::right] for left, top, right, down in PASSES]
        whole = [part for part in parts if part.size] if interlaced else [samples]
        rows = b"".join(packed(part, depth) for part in whole)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    content = chunk(b"IHDR", header)
    if palette is not None:
        content += chunk(b"PLTE", np.array(palette, np.uint8).tobytes())
    if alpha:
        content += chunk(b"tRNS", alpha)
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content
