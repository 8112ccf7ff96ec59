"""The reference's answers, kept in the cache folder by a digest of all that they depend on.

That is the inputs and the code: every module of this project that the computing one imports, itself
or through others. A change of any of them makes the answers anew.
"""

import ast
import inspect
import io
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.machine.files import cache_folder, write_bytes
from common.machine.locks import locked
from common.recipes import PRESETS

PROJECT = Path(__file__).parents[2]
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What reading a damaged archive raises."""
KEPT_BYTES = 2 * 2**30
"""Room of the folder; the files that were not used for longest go first."""


def answer(
    kind: str,
    identity: object,
    inputs: Mapping[str, NDArray],
    compute: Callable[[], Mapping[str, NDArray]],
    code: Callable[..., object] | None = None,
) -> Path:
    """Return the ``.npz`` with the arrays that ``compute`` returns, computed unless it is there.

    Args:
        kind: Of the question; begins the file's name.
        identity: What the answers depend on beside ``inputs``, as JSON's types.
        inputs: The arrays that they depend on.
        compute: Called without arguments.
        code: A function of the module whose imports hold all the code that they depend on; by
            default ``compute``.
    """
    source = inspect.getsourcefile(code or compute)
    digest = sha256(digest_of_code(Path(source or "").resolve()))
    digest.update(json.dumps([kind, identity]).encode())
    for name, array in sorted(inputs.items()):
        digest.update(f"\0{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    path = cache_folder() / "references" / f"{kind}-{digest.hexdigest()[:32]}.npz"
    if is_whole(path):
        return path
    with locked(path.with_suffix(".lock"), f"{path}: is being computed", wait=True):
        if not is_whole(path):  # Another process may have made it meanwhile.
            buffer = io.BytesIO()
            np.savez(buffer, allow_pickle=False, **compute())
            write_bytes(path, buffer.getvalue())
            _make_room(path)
    return path


def is_whole(path: Path) -> bool:
    """Return whether a file of answers is there and undamaged; it then counts as used now."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip() is not None
        os.utime(path)  # To touch it would make an empty one of a file that was just removed.
    except FileNotFoundError:
        return False
    except (OSError, *UNREADABLE):
        damaged = True
    if damaged:
        print(f"{path}: is damaged: its answers are computed anew", file=sys.stderr)
    return not damaged


@cache
def digest_of_code(path: Path) -> bytes:
    """Return a digest of a file, of all of this project that it imports, and of the presets."""
    files = [*sorted(sources(path)), *sorted(PRESETS.iterdir())]
    digests = [sha256(file.read_bytes()).digest() for file in files]
    return sha256(b"".join(digests)).digest()


def sources(path: Path) -> set[Path]:
    """Return a file and those of this project that it imports, itself or through others."""
    files, ahead = {path}, [path]
    while ahead:
        further = set(imported(ahead.pop())) - files
        files |= further
        ahead += further
    return files


def imported(path: Path) -> Iterator[Path]:
    """Yield the files of this project that a file names in its imports, packages included."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: relative imports are not followed"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                place = PROJECT.joinpath(*parts[:end])
                candidates = place.with_suffix(".py"), place / "__init__.py"
                yield from (file for file in candidates if file.is_file())


def _make_room(newest: Path) -> None:
    """Remove the files that were not used for longest, never ``newest``, until the rest fits.

    Other processes remove files too, and take them into use meanwhile: these are kept.
    """
    found: list[tuple[int, int, Path]] = []
    for path in newest.parent.glob("*.npz"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, path))
    room = KEPT_BYTES
    for used, size, path in sorted(found, reverse=True):
        room -= size
        if room < 0 and path != newest:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime_ns == used:
                    path.unlink()
