"""Files: each is whole or absent, and what goes wrong with one is an error that names it."""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

from common.errors import InputError


def cache_folder() -> Path:
    """Return the folder for what can be had again: below XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fcn-frameworks"


def compiled_folder(backend: str) -> Path:
    """Return where ``backend`` keeps what it compiles: a folder for each kind of CPU.

    Machines may share the cache folder, and a compiled program needs the CPU it was made for.
    """
    lines = system_lines("/proc/cpuinfo")
    instructions = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return cache_folder() / backend / hashlib.sha256(instructions.encode()).hexdigest()[:12]


def system_lines(path: str | Path) -> list[str]:
    """Return the lines of a file in which the system tells of itself; none where it has none."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return []


def is_at(path: Path, descriptor: int) -> bool:
    """Tell whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut, where the file system offers that.

    Network shares may know no sync of a folder. The files in it are synced all the same.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def open_new(path: Path) -> BinaryIO:
    """Open a new file for writing; what lay at ``path`` is removed.

    A link that somebody put there is removed too, and what it points to stays as it is.
    """
    try:
        return path.open("xb")
    except FileExistsError:
        path.unlink()
        return path.open("xb")


def open_own(path: Path, append: bool = False) -> IO[bytes]:
    """Open a file for writing, or to go on with it, unless its name is a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    mode, more = ("ab", os.O_APPEND) if append else ("wb", os.O_TRUNC)
    return os.fdopen(os.open(path, flags | more, 0o666), mode)


def inside(folder: Path, name: str) -> Path:
    """Return the file ``name`` of ``folder``, which a document or a list names.

    Raises:
        InputError: If it lies elsewhere, by its name or by a link.
    """
    path = folder / name
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except (OSError, RuntimeError, ValueError):  # Links in a circle, or a NUL in the name.
        pass
    raise InputError(f"{name!r}: leads out of {folder}: only files inside it are read")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system in the block into an InputError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_bytes(path: Path, data: bytes, make_folder: bool = True) -> None:
    """Write ``data`` to ``path``: beside it, synced and renamed.

    Args:
        path: The file.
        data: All of it.
        make_folder: Make the folders above it; otherwise one that somebody removed stays away.

    Raises:
        InputError: Naming the file, if it cannot be written; a previous file is then unchanged.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_new(beside) as file:
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


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as ``write_bytes`` does, in UTF-8; file names that are not are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_json(text: str | bytes) -> Any:
    """Return the value of JSON text, strictly: every number in it is finite.

    Raises:
        ValueError: For text that is not JSON, NaN, an infinity, or a number too large for a float.
    """

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is not a number")

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
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {what}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not {what} ({error})") from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; a number that is not finite is an error."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return ``value`` as the text of a JSON file."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def json_digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a value as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
