"""Files: each is whole or absent, and what goes wrong with one is an error that names it."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from common.errors import InputError


def cache_folder() -> Path:
    """Return the folder for what can be had again: below XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fcn-frameworks"


def compiled_folder(backend: str) -> Path:
    """Return where ``backend`` keeps what it compiles: a folder for each kind of CPU.

    Machines may share the cache folder, and a compiled program needs the CPU it was made for.
    """
    instructions = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        instructions = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return cache_folder() / backend / hashlib.sha256(instructions.encode()).hexdigest()[:12]


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system in the block into an InputError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: beside it, synced and renamed.

    Raises:
        InputError: Naming the file, if it cannot be written; a previous file is then unchanged.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write what ``write`` puts into the file it gets, as ``write_bytes`` does."""
    buffer = io.BytesIO()
    write(buffer)
    write_bytes(path, buffer.getvalue())


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` in UTF-8, as ``write_bytes`` does."""
    write_bytes(path, text.encode())


def read_json(text: str | bytes) -> Any:
    """Return the value of JSON text, strictly: every number in it is finite.

    Raises:
        ValueError: For text that is not JSON, NaN, an infinity, or a number too large for a float.
    """

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is no number")

    def finite(number: str) -> float:
        value = float(number)
        return value if isfinite(value) else refuse(number)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def reading_json(path: Path, what: str) -> Iterator[Any]:
    """Yield the value of a JSON file, ``what`` in words; what the block misses in it is an error.

    Raises:
        InputError: Naming the file, if it cannot be read, is not JSON, or lacks a key or a type
            that the block needs.
    """
    try:
        yield read_json(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not {what} ({error})") from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; a number that is not finite is an error."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
