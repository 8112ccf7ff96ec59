"""Writes MXNet's list of arrays in each of its versions, for tests of the reader."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"]
MAGICS = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}


def encode(arrays: dict[str, NDArray], versions: int | Sequence[int] = 2) -> bytearray:
    """Return the file of ``arrays``, in one version or in one for each array."""
    return _parts(arrays, versions)[0]


def same_but_for_devices(arrays: dict[str, NDArray], versions: Sequence[int], data: bytes) -> bool:
    """Tell whether ``data`` is the file of ``arrays``, whatever devices and reserved bytes say."""
    expected, ignored = _parts(arrays, versions)
    if len(expected) != len(data):
        return False
    for place in ignored:
        expected[place : place + 8] = data[place : place + 8]
    return bytes(expected) == data


def _parts(
    arrays: dict[str, NDArray], versions: int | Sequence[int]
) -> tuple[bytearray, list[int]]:
    if isinstance(versions, int):
        versions = [versions] * len(arrays)
    file, ignored = bytearray(struct.pack("<QQQ", 0x112, 0, len(arrays))), [8]
    for array, version in zip(arrays.values(), versions, strict=True):
        if version:
            file += struct.pack("<I", MAGICS[version])
        if version >= 2:
            file += struct.pack("<i", 0)
        sides = "q" if version else "I"
        file += struct.pack(f"<i{array.ndim}{sides}", array.ndim, *array.shape)
        ignored.append(len(file))
        file += struct.pack("<iii", 1, 0, TYPES.index(str(array.dtype))) + array.tobytes()
    file += struct.pack("<Q", len(arrays))
    for name in arrays:
        text = name.encode()
        file += struct.pack("<Q", len(text)) + text
    return file, ignored


def some_arrays() -> dict[str, NDArray]:
    generator = np.random.default_rng(0)
    return {
        f"layer.{kind}": generator.integers(0, 2, (2, 3)[: 1 + place % 2]).astype(kind)
        for place, kind in enumerate(TYPES)
    }
