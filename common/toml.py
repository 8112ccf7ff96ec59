"""TOML files that a user writes: read within a limit, each error a line that names the file."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from common.errors import InputError

T = TypeVar("T")

MOST_BYTES = 2**20
"""Of a file; the longest kind, 255 classes, takes some 15,000."""


def read_toml(path: Path, what: str, form: str, make: Callable[[Mapping[str, Any]], T]) -> T:
    """Return what ``make`` makes of the values in a TOML file.

    Args:
        path: The file.
        what: What it should be, in words: "class list".
        form: What is expected in it, for the error.
        make: Its InputError gets the file's name.

    Raises:
        InputError: Naming the file, if it cannot be read, is no TOML, or ``make`` raises.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InputError(f"has more than {MOST_BYTES} bytes: {form}")
        return make(tomllib.loads(data.decode("utf-8-sig")))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such {what}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a {what} in TOML ({error}): {form}") from error


def quoted(text: str) -> str:
    """Return printable text as a TOML string, which has JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)
