"""The files of a packed data set: where each stands in its shard, and how it is read.

A packed data set has the folder ``shards`` in place of VOC's two folders of files. In it are ZIP
archives whose files are stored as they are, not compressed, and an index, which names the place and
the SHA-256 of each. So a file is read by one call, whatever is before it, and any program for ZIP
archives unpacks all of them.
"""

import hashlib
import io
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from common.errors import InputError
from common.machine.files import reading_json

IMAGES, LABELS, SHARDS = "JPEGImages", "SegmentationClass", "shards"
INDEX = "index.json"
FORMAT = 1
"""Of the index; a program reads the one that it knows."""
SHARD_NAME = re.compile(r"[0-9]{5,10}\.zip", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
ADVICE = "copy the folder shards anew, or pack the data set again"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a shard. It is read as a ``Path`` is, and nothing is kept open in between.

    Attributes:
        shard: The archive.
        path: Its path in the data set, such as ``JPEGImages/a.jpg``; never one of the file system.
        start, length: Where its bytes stand in the archive.
        size: Height and width in pixels.
        digest: SHA-256 of its bytes.
    """

    shard: Path
    path: str
    start: int
    length: int
    size: tuple[int, int]
    digest: bytes

    def __str__(self) -> str:
        return f"{self.shard}/{self.path}"

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self.path)

    def is_file(self) -> bool:
        """Return that it is no folder and no device."""
        return True

    def exists(self) -> bool:
        """Return that the index names it."""
        return True

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return its bytes as a file."""
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Return its bytes, checked.

        Raises:
            InputError: If the shard cannot be read, or has other bytes than the index says.
        """
        try:
            # A descriptor of its own, so that threads and processes share no place in the file.
            descriptor = os.open(self.shard, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                data = os.pread(descriptor, self.length, self.start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InputError(f"{self.shard}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).digest() != self.digest:
            raise InputError(
                f"{self}: its bytes are not those that {INDEX} names, so the shard is damaged or "
                f"of another data set: {ADVICE}"
            )
        return data


File = Path | Member
"""An image's file or a label map's, by itself or in a shard."""


def file_bytes(file: File) -> bytes:
    """Return a file's bytes.

    Raises:
        InputError: Naming the file, if it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error


def is_packed(root: Path) -> bool:
    """Tell whether the images of a data set are in shards; a folder of files has precedence."""
    return (root / SHARDS).exists() and not (root / IMAGES).exists()


def packed_files(root: Path) -> dict[str, Member]:
    """Return the files of a packed data set by their paths in it.

    Only the index is read. That each shard is there and as long as it should be is looked up.

    Raises:
        InputError: If the index cannot be read or contradicts itself, or a shard is missing or of
            another length.
    """
    index = root / SHARDS / INDEX
    if index.exists() and not index.is_file():
        raise InputError(f"{index}: is a folder or a device, not a file")
    with reading_json(index, "the index of a packed data set") as document:
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}, and this program reads {FORMAT}")
        lengths: dict[Path, int] = {}
        files: dict[str, Member] = {}
        for record in document["shards"]:
            shard = root / SHARDS / _matching(record["file"], SHARD_NAME)
            if shard in lengths:
                raise ValueError(f"names {shard.name} twice")
            lengths[shard] = _number(record["bytes"], 1)
            for member in _members(shard, lengths[shard], record["files"]):
                if member.path in files:
                    raise ValueError(f"names {member.path} twice")
                files[member.path] = member
    for shard, length in lengths.items():
        _check_shard(shard, length)
    return files


def _members(shard: Path, shard_length: int, records: list[dict[str, Any]]) -> Iterator[Member]:
    """Yield the files that an index names in one shard."""
    for record in records:
        path = record["path"]
        if not isinstance(path, str) or not _is_inside(path):
            raise ValueError(f"{path!r} is no path of a file in {IMAGES} or {LABELS}")
        start, length = _number(record["start"], 0), _number(record["bytes"], 0)
        if start + length > shard_length:
            raise ValueError(f"{path} ends behind the end of {shard.name}")
        size = _number(record["height"], 1), _number(record["width"], 1)
        digest = bytes.fromhex(_matching(record["sha256"], SHA256))
        yield Member(shard, path, start, length, size, digest)


def _is_inside(path: str) -> bool:
    """Tell whether a path is one of a file in the two folders, written in the shortest way."""
    folder, _, rest = path.partition("/")
    plain = posixpath.normpath(path) == path and "\0" not in path
    return folder in (IMAGES, LABELS) and rest != "" and plain


def _number(value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no whole number of at least {least}")
    return value


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r} does not match {pattern.pattern}")
    return value


def _check_shard(shard: Path, length: int) -> None:
    """Raise InputError unless a shard is a file of this length."""
    if not shard.exists():
        raise InputError(f"{shard}: is missing: {ADVICE}")
    if not shard.is_file():
        raise InputError(f"{shard}: is a folder or a device, not a file")
    if (found := shard.stat().st_size) != length:
        raise InputError(
            f"{shard}: has {found:,} bytes, but {INDEX} says {length:,}: it is cut short, or of "
            f"another data set: {ADVICE}"
        )
