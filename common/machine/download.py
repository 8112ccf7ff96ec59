"""Downloads that can be resumed and are used only when their digest is right."""

import contextlib
import hashlib
import http.client
import lzma
import math
import os
import re
import struct
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.machine.files import open_own, sync_folder, writing
from common.machine.progress import BYTES, counter

CHUNK = 2**20
TIMEOUT_SECONDS = 60.0
"""Without a byte, after which a connection counts as lost."""
LARGEST = 2**28
"""Bytes of the largest file that is fetched or unpacked, unless the caller expects a larger one."""
UNREADABLE_ZIP = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, LookupError, NotImplementedError,
    RuntimeError, ValueError, OverflowError, struct.error,
)  # fmt: skip
"""What the standard library raises for an archive that is damaged, encrypted or of another kind."""


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another address, but never from https to one that anybody may change."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request of the address ``newurl``, where the server has answered so."""
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urllib.parse.urlsplit(newurl).scheme not in allowed:
            raise InputError(
                f"{req.full_url}: the server redirects to {newurl}, which is not "
                f"{' or '.join(allowed)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    url: str,
    path: Path,
    algorithm: str,
    digest: str,
    *,
    member: str | None = None,
    largest: int = LARGEST,
) -> None:
    """Download ``url`` to ``path``, or go on where an earlier call was cut off.

    The bytes collect in ``<path>.part``, which stays when the connection breaks and is continued
    (HTTP Range) by the next call. It gets its name only when the digest is right. A file that is at
    ``path`` already is checked and not fetched again.

    Args:
        url: Of http or https.
        path: The file.
        algorithm: Of the digest: ``sha256``, ``sha1`` or ``md5``.
        digest: The file's, in hexadecimal.
        member: ``url`` is a zip archive, and the file, to which the digest belongs, is this one
            within it.
        largest: Bytes that the download, and the file unpacked from it, may have.

    Raises:
        InputError: If the server cannot be reached, refuses, stalls or stops early (the part file
            stays), if the file is too large or its digest is another (the part file is deleted), or
            if ``path`` cannot be written or holds something else.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: only http and https can be fetched")
    with writing(path):
        if path.exists():
            if wrong := _wrong_digest(path, algorithm, digest):
                raise InputError(f"{path}: exists, but {wrong}; delete it or move it away")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = whole = path.with_name(f"{path.name}.part")
        _receive(url, part, largest)
        wrong = None
        if member is not None:
            whole = path.with_name(f"{path.name}.unpacked")
            wrong = _wrong_member(part, member, whole, largest)
        if wrong := wrong or _wrong_digest(whole, algorithm, digest):
            part.unlink()
            whole.unlink(missing_ok=True)
            raise InputError(f"{url}: {wrong}; what was received is deleted: run again")
        whole.replace(path)
        part.unlink(missing_ok=True)
        sync_folder(path.parent)


def _wrong_digest(path: Path, algorithm: str, expected: str) -> str | None:
    """Return what is wrong with the digest of ``path``, naming both; None if nothing is."""
    digest, size = hashlib.new(algorithm), path.stat().st_size
    with path.open("rb") as file, counter(size, BYTES, f"checking {path.name}", delay=5) as bar:
        while data := file.read(CHUNK):
            digest.update(data)
            bar.update(len(data))
    actual = digest.hexdigest()
    return None if actual == expected else f"its {algorithm} is {actual}, expected {expected}"


def _wrong_member(archive: Path, member: str, target: Path, largest: int) -> str | None:
    """Unpack one file of a zip archive to ``target``, or return what is wrong with the archive."""
    target.unlink(missing_ok=True)  # Of an earlier call, or a link that somebody has put there.
    try:
        with (
            zipfile.ZipFile(archive) as files,
            files.open(member) as source,
            target.open("xb") as file,
        ):
            # The size that the archive states may be wrong.
            while data := source.read(CHUNK):
                if file.tell() + len(data) > largest:
                    return f"{member} in it is larger than {largest:,} bytes"
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except UNREADABLE_ZIP as error:
        return f"not a zip archive with {member} in it ({error})"
    return None


def _receive(url: str, part: Path, largest: int) -> None:
    """Append to ``part`` what is missing of ``url``, and show how much has come."""
    if part.is_symlink():
        raise InputError(f"{part}: is a link, whose target would be overwritten: remove it")
    received = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    with contextlib.ExitStack() as stack:
        with _network(url, part):
            try:
                request = urllib.request.Request(url, headers=headers)
                opener = urllib.request.build_opener(SafeRedirects)
                response = stack.enter_context(opener.open(request, timeout=TIMEOUT_SECONDS))
            except urllib.error.HTTPError as error:
                error.close()
                # Nothing lies beyond the part file: it is whole, or its digest will be wrong.
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and received:
                    return
                raise InputError(f"{url}: the server answers {error.code} {error.reason}") from None
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            received = 0  # A server that knows no Range begins at the beginning.
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
            part.unlink(missing_ok=True)
            raise InputError(
                f"{url}: the server continues at another byte than {received:,}; what was received "
                "is deleted: run again"
            )
        total = _total(received, response.headers.get("Content-Length", ""))
        if total is not None and total > largest:
            part.unlink(missing_ok=True)
            raise InputError(f"{url}: announces more than {largest:,} bytes, its largest size")
        # A link may have come since it was looked for.
        file = stack.enter_context(open_own(part, append=bool(received)))
        bar = stack.enter_context(counter(total, BYTES, part.stem, received))
        while total is None or received < total:
            with _network(url, part):
                # read1 gives what has arrived, so that a stall loses nothing.
                data = response.read1(CHUNK)
            if not data:
                break
            received += len(data)
            if received > largest:
                part.unlink(missing_ok=True)
                raise InputError(
                    f"{url}: sends more than {largest:,} bytes, its largest size; what was "
                    "received is deleted"
                )
            file.write(data)
            bar.update(len(data))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and received < total:
        raise InputError(
            f"{url}: ended after {received:,} of {total:,} bytes, kept in {part}: "
            "run again to resume"
        )


def _total(received: int, length: str) -> float | None:
    """Return the bytes of the whole file by its Content-Length, infinity for an absurd one."""
    if not re.fullmatch(r"[0-9]+", length):
        return None
    return received + int(length) if len(length) < 20 else math.inf


@contextlib.contextmanager
def _network(url: str, part: Path) -> Iterator[None]:
    """Turn what can break on the way into one line; errors of the disk stay what they are."""
    advice = f"run again to resume {part}" if part.exists() else "run again"
    try:
        yield
    except InputError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise InputError(f"{url}: no data for {TIMEOUT_SECONDS:g} s: {advice}") from error
        raise InputError(f"{url}: the connection failed ({reason}): {advice}") from error
