"""Gluon's weight files: MXNet's list of named arrays, read in NumPy, without MXNet.

The format is that of ``NDArray::Save`` in MXNet 1.9.1 (``src/ndarray/ndarray.cc``), little-endian::

    file   = u64 0x112, u64 reserved, u64 count, count arrays, u64 count, count names
    name   = u64 length, bytes
    array  = u32 magic, [i32 storage], shape, [context, i32 type, values]
    shape  = i32 dimensions, that many i64; the oldest have u32 dimensions for a magic, and u32 each
    context = i32 kind of device, i32 its number

Without NumPy's shapes an array of no dimension has no values and ends there. With them, after the
third magic, it is a number, and an unknown shape has -1 dimensions.
"""

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.parameters.tensors import TensorFile, shaped, widened

MAGIC = 0x112
SHAPES_OF_64_BITS, WITH_STORAGE, WITH_NUMPY_SHAPES = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DENSE = 0
MOST_DIMENSIONS = 32
TYPES = (
    *("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"),
    *("int16", "uint16", "uint32", "uint64", "bfloat16"),
)
"""Names of the types in the order of MXNet's numbers; mshadow's ``base.h``."""


class _Damaged(ValueError):
    """What is wrong with the bytes, for the end of a message."""


class _Cursor:
    """Takes bytes from the front of a file; none beyond its end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data, self.position = path, memoryview(data), 0

    def take(self, count: int) -> memoryview:
        left = len(self.data) - self.position
        if count > left:
            raise _Damaged(
                f"{count:,} bytes are stated at byte {self.position:,}, {left:,} are left"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def numbers(self, form: str) -> tuple[int, ...]:
        form = f"<{form}"
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def number(self, form: str) -> int:
        return self.numbers(form)[0]


def read_gluon(path: Path, data: bytes) -> TensorFile:
    """Return the arrays of a ``.params`` file by their own names.

    Args:
        path: For messages.
        data: The file's bytes. The arrays take no more memory than twice of them.

    Raises:
        InputError: If it is not complete, has sparse arrays or arrays without values, or no names.
    """
    cursor = _Cursor(path, data)
    try:
        magic, _, count = cursor.numbers("QQQ")
        if magic != MAGIC:
            raise _Damaged(f"it begins with {magic:#x}, expected {MAGIC:#x}")
        arrays = [_array(cursor) for _ in range(count)]
        names = [_name(cursor) for _ in range(cursor.number("Q"))]
        if left := len(data) - cursor.position:
            raise _Damaged(f"{left:,} bytes follow its end")
        if names and len(names) != len(arrays):
            raise _Damaged(f"{len(arrays)} arrays and {len(names)} names")
        if len(set(names)) < len(names):
            raise _Damaged("two arrays have one name")
    except _Damaged as problem:
        raise InputError(
            f"{path}: not a complete MXNet weight file: {problem}; save or fetch it again"
        ) from problem
    if not names:
        raise InputError(
            f"{path}: a list of {len(arrays)} MXNet arrays without names: save the network with "
            "net.save_parameters(FILE)"
        )
    tensors = {name: array for name, (array, _) in zip(names, arrays, strict=True)}
    types = {name: kind for name, (_, kind) in zip(names, arrays, strict=True)}
    return TensorFile(tensors, types, {})


def _name(cursor: _Cursor) -> str:
    text = bytes(cursor.take(cursor.number("Q")))
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _Damaged("a name is not UTF-8") from error


def _array(cursor: _Cursor) -> tuple[NDArray, str]:
    shape = _shape(cursor)
    cursor.numbers("ii")  # The device that it was on.
    number = cursor.number("i")
    if number not in range(len(TYPES)):
        raise _Damaged(f"an array is of the unknown type {number}")
    kind = TYPES[number]
    stored = np.dtype(np.uint16 if kind == "bfloat16" else kind)
    values = np.frombuffer(cursor.take(math.prod(shape) * stored.itemsize), stored)
    array = shaped(cursor.path, values, shape)
    return (widened(array) if kind == "bfloat16" else array), kind


def _shape(cursor: _Cursor) -> tuple[int, ...]:
    magic = cursor.number("I")
    if magic in (WITH_STORAGE, WITH_NUMPY_SHAPES):
        storage = cursor.number("i")
        if storage != DENSE:
            raise _Damaged("it has a sparse array: save dense ones, array.tostype('default')")
    modern = magic in (SHAPES_OF_64_BITS, WITH_STORAGE, WITH_NUMPY_SHAPES)
    dimensions = cursor.number("i") if modern else magic
    if dimensions == (-1 if magic == WITH_NUMPY_SHAPES else 0):
        raise _Damaged("an array has no values: initialise the network before it is saved")
    if not 0 <= dimensions <= MOST_DIMENSIONS:
        raise _Damaged(f"an array has {dimensions:,} dimensions")
    shape = cursor.numbers(f"{dimensions}{'q' if modern else 'I'}")
    if min(shape, default=0) < 0:
        raise _Damaged(f"an array has the shape {shape}")
    return shape
