"""PyTorch's own weight files, and where torchvision publishes some: what only PyTorch knows.

It runs in its own process, so that a training in another framework reads files of it, and so that
its memory can be bounded.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from common.backends import check_backend
from common.errors import InputError
from common.machine.children import ending_with_this
from common.parameters.tensors import TensorFile, read_safetensors

TAKEN_FROM = "taken from"
"""Metadata of what PyTorch converts: the keys that lead to the tensors in its file."""
COPIES, SPARE_BYTES = 4, 2**30
"""Memory that PyTorch may take to convert a file: copies of it unpacked, and some beside them."""
KEPT_BYTES = 2**28
"""Of a file that is kept in memory as it was converted; larger ones are converted each time."""
MOST_PICKLE = 2**24
"""Bytes of the pickle in a PyTorch file, which holds names and shapes: each may become 60 bytes."""


def read_pytorch(path: Path, limit: int) -> TensorFile:
    """Let PyTorch read ``path`` without running code in it.

    Args:
        path: A file that ``kind_of`` calls PyTorch's.
        limit: Bytes that its tensors may take in memory.

    Raises:
        InputError: If PyTorch is not installed or refuses the file, or it expands too far.
    """
    unpacked = unpacked_size(path, limit)
    try:
        check_backend("torch")
    except InputError as error:
        raise InputError(
            f"{path}: is a PyTorch file, which PyTorch has to read: {error}"
        ) from error
    state = path.stat()
    convert = _converted if unpacked <= KEPT_BYTES else _converted.__wrapped__
    content = read_safetensors(
        path, convert(path, unpacked, limit, state.st_ino, state.st_mtime_ns)
    )
    return replace(content, metadata={}, taken_from=content.metadata.get(TAKEN_FROM, ""))


@lru_cache(maxsize=1)  # A study reads its file for each variant; PyTorch takes seconds to start.
def _converted(path: Path, unpacked: int, limit: int, *version: int) -> bytes:
    """Return a PyTorch file as safetensors; ``version`` tells its contents of different times."""
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "converted.safetensors"
        _torch(str(path), str(converted), str(limit), str(COPIES * unpacked + SPARE_BYTES))
        return converted.read_bytes()


def unpacked_size(path: Path, limit: int) -> int:
    """Return the bytes of a PyTorch file's parts, unpacked.

    Raises:
        InputError: If they are more than ``limit``.
    """
    if not zipfile.is_zipfile(path):
        return path.stat().st_size  # A file of PyTorch 1.5 and before is not packed.
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    total = sum(part.file_size for part in parts)
    if total > limit:
        raise InputError(
            f"{path}: expands from {path.stat().st_size / 2**20:,.1f} to {total / 2**20:,.0f} MiB, "
            f"more than the {limit // 2**20:,} MiB that are read; `fcn weights import --max-mib` "
            "reads more"
        )
    for part in parts:
        if part.filename.endswith("data.pkl") and part.file_size > MOST_PICKLE:
            raise InputError(
                f"{path}: its data.pkl, which lists the tensors, has "
                f"{part.file_size / 2**20:,.0f} MiB, more than {MOST_PICKLE // 2**20}: it holds "
                "more than tensors; save net.state_dict() alone"
            )
    return total


def torchvision_url(network: str) -> str:
    """Return where torchvision publishes the weights of one of its networks.

    Raises:
        InputError: If PyTorch is not installed.
    """
    check_backend("torch")
    return _torch("--publisher", network).strip()


def _torch(*arguments: str) -> str:
    """Return what ``torch_impl.foreign`` prints; its last error line is the InputError."""
    module = "torch_impl.foreign"
    command = ending_with_this([sys.executable, "-m", module, *arguments])
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode < 0:
        raise InputError(f"{arguments[0]}: {module} was ended by signal {-result.returncode}")
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"{module} failed"]
        raise InputError(lines[-1].removeprefix("error: "))
    return result.stdout
