"""Arrays that take long to compute: kept in the cache folder, within a bound."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.machine.files import cache_folder, write_bytes

KEPT_BYTES = 2 * 2**30
"""Room of the folder; the files that were not used for longest go first."""


def kept(name: str, compute: Callable[[], Mapping[str, NDArray]]) -> Path:
    """Return the ``.npz`` of that name with what ``compute`` makes, computed unless it is there.

    The name has to hold a digest of all that the arrays depend on.
    """
    path = cache_folder() / "references" / f"{name}.npz"
    if path.exists() and zipfile.is_zipfile(path):
        path.touch()
        return path
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **compute())
    write_bytes(path, buffer.getvalue())
    _make_room(path)
    return path


def _make_room(newest: Path) -> None:
    """Remove the files that were not used for longest, never ``newest``, until the rest fits."""
    files = sorted(newest.parent.glob("*.npz"), key=lambda p: p.stat().st_mtime, reverse=True)
    used = 0
    for path in files:
        used += path.stat().st_size
        if used > KEPT_BYTES and path != newest:
            path.unlink(missing_ok=True)
