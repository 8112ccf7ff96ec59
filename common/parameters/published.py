"""Weights that others publish: fetched once, checked, and kept in a cache folder."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.machine.download import fetch
from common.machine.files import cache_folder, file_digest, reading_json, write_json, writing
from common.parameters.foreign import publisher_of

PUBLISHED = {
    "torchvision:resnet18": ("torch", "resnet18"),
    "gluon:resnet18_v1": ("mxnet", "resnet18_v1"),
    "gluon:resnet18_v2": ("mxnet", "resnet18_v2"),
}
"""Name on the command line -> the backend that knows it, and its name there."""

IMAGENET = {"resnet18_v1": "torchvision:resnet18", "resnet18_v2": "gluon:resnet18_v2"}
"""Backbone -> the published weights that ``imagenet`` stands for."""


def published_file(name: str) -> Path:
    """Return the file of the published weights ``name``, downloaded unless it is in the cache.

    The digest that the publisher states checks the first download. Its whole SHA-256 is then
    recorded in ``<name>.json`` beside it and checks every later use.

    Raises:
        InputError: If the framework that knows the publisher is not installed, the download fails,
            or the bytes have another digest.
    """
    folder = cache_folder()
    record_path = folder / f"{name.replace(':', '-')}.json"
    with _only_process(folder):
        record = _read_record(record_path)
        known = record if record is not None else publisher_of(*PUBLISHED[name])
        path = fetch(
            known["url"],
            folder / known["file"],
            sha256=known.get("sha256"),
            sha1=known.get("sha1"),
            member=known["member"],
            progress=sys.stderr.isatty(),
        )
        if record is None:
            write_json(record_path, {**known, "sha256": file_digest(path)})
    return path


def _read_record(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with reading_json(path, "a record of a download: remove it") as record:
        return {key: record[key] for key in ("url", "file", "member", "sha256")}


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Let one process at a time into ``folder``: replicas start together and need the same file."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
