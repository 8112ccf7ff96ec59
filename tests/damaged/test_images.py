"""Images and label maps that were damaged: decoded whole, as another decoder does, or refused."""

import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from common.classes import VOC, VOID
from common.data.formats import png
from common.data.images import image_size, read_image
from common.data.masks import read_label
from common.errors import InputError
from tests.damaged.damage import check_line, damage, damaged_bytes
from tests.data.png_files import chunk, png_file
from tests.machine.memory import within

HEIGHT, WIDTH = 13, 9
LARGEST = 10**6
DEPTHS = [(png.GREY, 1), (png.GREY, 2), (png.GREY, 4), (png.GREY, 8), (png.GREY, 16),
          (png.RGB, 8), (png.RGB, 16), (png.INDEXED, 1), (png.INDEXED, 2), (png.INDEXED, 4),
          (png.INDEXED, 8), (png.GREY_ALPHA, 8), (png.GREY_ALPHA, 16), (png.RGBA, 8),
          (png.RGBA, 16)]  # fmt: skip


def png_files() -> list[bytes]:
    """Return a PNG of each depth, colour type and order of rows; all but some grey hold labels."""
    generator, files = np.random.default_rng(0), []
    for (color, depth), interlaced in product(DEPTHS, (False, True)):
        labels = generator.integers(0, min(21, 2**depth), (HEIGHT, WIDTH), np.uint8)
        samples = labels[..., None].astype(np.uint16)
        if color in (png.RGB, png.RGBA):
            samples = VOC.to_rgb(labels).astype(np.uint16) * (257 if depth == 16 else 1)
        if color in (png.GREY_ALPHA, png.RGBA):
            opaque = np.full((HEIGHT, WIDTH, 1), 2**depth - 1, np.uint16)
            samples = np.concatenate([samples, opaque], 2)
        colors = np.frombuffer(VOC.palette, np.uint8).reshape(-1, 3)[: 2**depth]
        extra = {"palette": colors, "alpha": b"\xff"} if color == png.INDEXED else {}
        files.append(png_file(samples, depth=depth, color=color, interlaced=interlaced, **extra))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = chunk(b"eXIf", exif.tobytes()[6:])
    files.append(files[6][:33] + turned + files[6][33:])
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"text")) + chunk(b"pHYs", bytes(9))
    files.append(files[10][:33] + text + files[10][33:])
    files.append(files[20][:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + files[20][33:])
    return files


def with_sums(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a PNG file whose chunks are damaged within, so that all checksums are right."""
    parts = [(kind, bytearray(content)) for kind, content in png.chunks(data)]
    which = int(generator.integers(0, len(parts)))
    kind, content = parts[which]
    match int(generator.integers(0, 6)):
        case 0:
            del parts[which]
        case 1:
            parts.insert(int(generator.integers(0, len(parts) + 1)), parts[which])
        case 2:
            parts.insert(int(generator.integers(0, len(parts) + 1)), parts.pop(which))
        case 3 if kind == b"IDAT":  # Two chunks with another between them.
            half = len(content) // 2
            text = (b"tEXt", bytearray(b"note\0text"))
            parts[which : which + 1] = [(kind, content[:half]), text, (kind, content[half:])]
        case 4 if kind == b"IDAT":
            rows = bytearray(zlib.decompress(content))
            damage(rows, generator)
            content[:] = zlib.compress(rows)
        case _:
            damage(content, generator)
    return (
        png.SIGNATURE + b"".join(chunk(kind, bytes(content)) for kind, content in parts)
    ) + chunk(b"IEND", b"")


def unfiltered(rows: bytes, height: int, size: int, step: int) -> NDArray[np.uint8]:
    """Return rows of ``size`` bytes with their filters undone; ``step`` bytes are a pixel."""
    lines, above = [], bytearray(size)
    for number in range(height):
        start = number * (size + 1)
        kind, line = rows[start], bytearray(rows[start + 1 : start + 1 + size])
        assert kind <= 4
        for place in range(size):
            left = line[place - step] if place >= step else 0
            corner = above[place - step] if place >= step else 0
            guess = left + above[place] - corner
            paeth = min((left, above[place], corner), key=lambda value: abs(guess - value))
            more = (0, left, above[place], (left + above[place]) // 2, paeth)[kind]
            line[place] = (line[place] + more) & 255
        lines.append(line)
        above = line
    return np.frombuffer(b"".join(lines), np.uint8).reshape(height, size)


def decoded(data: bytes) -> tuple[png.Header, NDArray[np.int64], NDArray[np.uint8]]:
    """Return the header of a PNG file, its samples [H, W, C] and its palette, as the standard says.

    Raises:
        Exception: If it breaks one of the standard's rules that concern the pixels.
    """
    parts, place = [], 8
    while place < len(data) and (not parts or parts[-1][0] != b"IEND"):
        (length,) = struct.unpack_from(">I", data, place)
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert len(content) == length or kind == b"IEND"
        parts.append((kind, content))
        place += length + 12
    header = png.Header(*struct.unpack(">IIBBxxB", parts[0][1]))
    assert parts[0][0] == b"IHDR" and parts[0][1][10:12] == b"\0\0" and parts[-1][0] == b"IEND"
    assert (header.color, header.depth) in DEPTHS
    kinds = [kind for kind, _ in parts]
    colors = dict(parts).get(b"PLTE", b"")
    assert kinds.count(b"PLTE") == (1 if colors or header.color == png.INDEXED else 0)
    assert not colors or kinds.index(b"PLTE") < kinds.index(b"IDAT")
    rows = zlib.decompress(b"".join(content for kind, content in parts if kind == b"IDAT"))
    channels = png.CHANNELS[header.color]
    bits = header.depth * channels
    samples = np.zeros((header.height, header.width, channels), np.int64)
    for left, top, right, down in png.PASSES if header.interlaced else [(0, 0, 1, 1)]:
        part = samples[top::down, left::right]
        if not part.size:
            continue
        size = -(-part.shape[1] * bits // 8)
        lines = unfiltered(rows, len(part), size, max(1, bits // 8))
        rows = rows[len(part) * (size + 1) :]
        places = np.unpackbits(lines, axis=1)[:, : part.shape[1] * bits]
        weights = 1 << np.arange(header.depth - 1, -1, -1)
        part[...] = (places.reshape(*part.shape, header.depth) * weights).sum(-1)
    assert not rows
    return header, samples, np.frombuffer(colors, np.uint8).reshape(-1, 3)


def picture(data: bytes) -> NDArray[np.uint8]:
    """Return the picture [H, W, 3] of a PNG file."""
    header, samples, colors = decoded(data)
    if header.color == png.INDEXED:
        return colors[samples[..., 0]]
    samples = samples >> 8 if header.depth == 16 else samples * 255 // (2**header.depth - 1)
    return np.broadcast_to(samples[..., :3] if samples.shape[2] > 2 else samples[..., :1],
                           (*samples.shape[:2], 3)).astype(np.uint8)  # fmt: skip


def labels_of(data: bytes) -> NDArray[np.uint8]:
    """Return the labels [H, W] of a PNG file."""
    header, samples, _ = decoded(data)
    if header.color in (png.GREY_ALPHA, png.RGBA):
        assert (samples[..., -1] == 255).all()
        samples = samples[..., :-1]
    if samples.shape[2] == 1:
        assert {int(value) for value in np.unique(samples)} <= VOC.labels
        return samples[..., 0].astype(np.uint8)
    labels = np.array([*range(21), VOID], np.uint8)
    equal = (samples[:, :, None] == VOC.to_rgb(labels)).all(-1)
    assert equal.any(-1).all()
    return labels[equal.argmax(-1)]


def outcome(read: Callable[..., NDArray], path: Path) -> NDArray | None:
    """Return what is read of a file, or None if it is refused in one line; nothing else happens."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return within(32 * 2**20, lambda: read(path, largest=LARGEST))
        except InputError as error:
            check_line(str(error).replace(str(path), "PATH"))
            return None


def turns(array: NDArray) -> Iterator[NDArray]:
    """Yield the eight ways in which an EXIF orientation may turn an image."""
    for number in range(4):
        yield np.rot90(array, number)
        yield np.rot90(array[::-1], number)


COUNTS = pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.release)])
"""Of each file, damaged outside its checksums and within."""


@COUNTS
@pytest.mark.parametrize("read, right", [(read_image, picture), (read_label, labels_of)])
def test_a_damaged_png_is_read_as_the_standard_says_or_refused(
    count: int, read: Callable, right: Callable, tmp_path: Path
) -> None:
    path, accepted = tmp_path / "a.png", 0
    for number, whole in enumerate(png_files()):
        generator = np.random.default_rng(number)
        inside = (with_sums(whole, generator) for _ in range(count))
        for data in [whole, *damaged_bytes(whole, count, number), *inside]:
            path.write_bytes(data)
            array = outcome(read, path)
            if array is None:
                assert data != whole or (read is read_label and decoded(whole)[0].depth == 16)
                continue
            accepted += 1
            assert any(np.array_equal(array, turned) for turned in turns(right(data))), number
            assert image_size(path) == array.shape[:2]
    assert count < accepted < 33 * count


def jpeg_files(path: Path) -> list[bytes]:
    """Return JPEG files of each kind, of a picture without mid-grey."""
    generator, files = np.random.default_rng(0), []
    y, x = np.mgrid[:40, :56]
    rgb = np.stack([150 + y * 2, 250 - x, 160 + (y + x)], -1) + generator.integers(
        -9, 9, (40, 56, 1)
    )
    image = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    modes = [image, image.convert("L"), image.convert("CMYK")]
    for mode, progressive, restart in product(modes, (False, True), (0, 1)):
        for subsampling in (0, 2) if mode.mode == "RGB" else (0,):
            mode.save(path, progressive=progressive, restart_marker_rows=restart,
                      subsampling=subsampling)  # fmt: skip
            files.append(path.read_bytes())
    return files


def has_grey(picture: NDArray[np.uint8]) -> bool:
    """Tell whether a picture has a mid-grey block, which is what a missing one becomes."""
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // 8, 8, width // 8, 8, 3)[:, 2:6, :, 2:6]
    return bool(((blocks == 127) | (blocks == 128)).all((1, 3, 4)).any())


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.release)])
def test_a_damaged_jpeg_is_what_the_library_says_or_refused(count: int, tmp_path: Path) -> None:
    path, accepted = tmp_path / "a.jpg", 0
    files = jpeg_files(path)
    for number, whole in enumerate(files):
        for data in [whole, *damaged_bytes(whole, count, number)]:
            path.write_bytes(data)
            array = outcome(read_image, path)
            if array is None:
                assert data != whole
                continue
            accepted += 1
            with Image.open(path) as image:
                theirs = np.array(image.convert("RGB"))
            assert any(np.array_equal(array, turned) for turned in turns(theirs))
            if data.startswith(whole[: whole.index(b"\xff\xda") + 14]):  # Tables may make grey.
                assert not has_grey(array), number
    assert count < accepted < len(files) * count


def test_a_jpeg_that_ends_early_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path, generator = tmp_path / "a.jpg", random.Random(0)
    for whole in jpeg_files(path):
        path.write_bytes(whole)
        right, start = read_image(path), whole.index(b"\xff\xda")
        for length in generator.sample(range(start + 14, len(whole) - 2), 60):
            path.write_bytes(whole[:length] + b"\xff\xd9")
            array = outcome(read_image, path)
            # What the last block lacks cannot be told from what it is.
            if array is not None:
                np.testing.assert_array_equal(array[:31], right[:31])
                np.testing.assert_array_equal(array[:, :47], right[:, :47])
