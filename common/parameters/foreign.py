"""What only a framework knows: how to read its weight files, and where it publishes them.

The framework runs in its own process, so that a training in one framework reads files of another.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.backends import check_backend
from common.errors import InputError

READERS = {".pth": "torch", ".params": "mxnet"}
"""Suffix of a framework's own weight file -> the backend whose ``foreign`` module reads it."""


def convert(source: Path, target: Path) -> None:
    """Let the framework that wrote ``source`` turn it into safetensors at ``target``.

    Raises:
        InputError: If the framework is not installed, or refuses the file.
    """
    _ask(READERS[source.suffix], str(source), str(target))


def publisher_of(backend: str, network: str) -> dict[str, Any]:
    """Return where a framework publishes the weights of one of its networks.

    Returns:
        ``url``; ``file``, the name to keep it under; the digest that the publisher states, as
        ``sha256`` (perhaps only its first digits) or ``sha1``; and ``member``, the name of the file
        within the archive at ``url``, or None if the file itself is there.
    """
    return json.loads(_ask(backend, "--publisher", network))


def _ask(backend: str, *arguments: str) -> str:
    """Return what a backend's ``foreign`` module prints; its last error line is the InputError."""
    check_backend(backend)
    module = f"{backend}_impl.foreign"
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"{module} failed"]
        raise InputError(lines[-1].removeprefix("error: "))
    return result.stdout
