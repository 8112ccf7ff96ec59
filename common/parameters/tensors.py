"""What a weight file holds, before anything is known of a network: tensors, types, metadata."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError

TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Name of a type in safetensors -> NumPy's; bfloat16, which NumPy lacks, is read as float32."""


@dataclass(frozen=True)
class TensorFile:
    """The content of a weight file.

    Attributes:
        tensors: By the file's own names.
        types: Name -> type in the file, as NumPy names it, or ``bfloat16``.
        metadata: Strings by name.
        taken_from: Of a PyTorch file, the keys that lead to the tensors, such as ``model``.
    """

    tensors: dict[str, NDArray]
    types: dict[str, str]
    metadata: dict[str, str]
    taken_from: str = ""


def widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 values, given as their bits, in float32: its upper half."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def shaped(path: Path, values: NDArray, shape: Sequence[int]) -> NDArray:
    """Return ``values`` in ``shape``, which has as many.

    Raises:
        InputError: If NumPy has no such shape: one side is 0, another beyond what it counts.
    """
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise InputError(f"{path}: a tensor has the shape {tuple(shape)} ({error})") from error


def read_safetensors(path: Path, data: bytes) -> TensorFile:
    """Return the content of a safetensors file.

    Args:
        path: For messages.
        data: The file's bytes.

    Raises:
        InputError: If it is cut off, its header lies, or a type is not one of ``TYPES``.
    """
    from safetensors import SafetensorError, deserialize

    try:
        entries: Any = deserialize(data)  # type: ignore[no-untyped-call]
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError) as error:
        raise InputError(
            f"{path}: not a complete safetensors file ({error}); save or fetch it again"
        ) from error
    tensors, types = {}, {}
    for name, entry in sorted(entries):
        kind = TYPES.get(entry["dtype"])
        if kind is None:
            raise InputError(
                f"{path}: {name} is of the type {entry['dtype']}, which is not read: save it as "
                "float32"
            )
        values = np.frombuffer(entry["data"], np.uint16 if kind == "bfloat16" else kind)
        types[name] = kind
        tensors[name] = shaped(
            path, widened(values) if kind == "bfloat16" else values, entry["shape"]
        )
    return TensorFile(tensors, types, metadata)
