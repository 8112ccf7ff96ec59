"""Downloads that can be resumed and are used only when their digest is right."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import InputError
from common.machine.files import sync_folder

VOC_URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
VOC_MD5 = "6cd6e144f989b92b3379bac3b3de84fd"
VOC_FOLDER = "VOCdevkit/VOC2012"
VOC_PARTS = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
"""What segmentation needs of the archive."""

CHUNK = 2**20


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    sha1: str | None = None,
    md5: str | None = None,
    member: str | None = None,
    progress: bool = False,
    timeout: float = 60,
) -> Path:
    """Download ``url`` to ``path``, or go on where an earlier call was cut off.

    The bytes collect in ``<path>.part``, which stays when the connection breaks, is asked to be
    continued (HTTP Range) by the next call, and gets its name only when the digest is right. A file
    that is at ``path`` already is checked, not fetched again.

    Args:
        url: Of http or https.
        sha256, sha1, md5: The file's digest in hexadecimal, or its first digits where a publisher
            states no more; at least one.
        member: ``url`` is a zip archive, and the file, to which the digest belongs, is this one
            within it.
        progress: Draw a bar on standard error.
        timeout: Seconds without a byte after which the connection counts as lost.

    Returns:
        ``path``.

    Raises:
        InputError: If the server cannot be reached, refuses, stalls or stops early (the part file
            stays), if the digest is another (the part file is deleted), or if ``path`` cannot be
            written or holds something else.
    """
    stated = {"sha256": sha256, "sha1": sha1, "md5": md5}
    expected = {name: digest.lower() for name, digest in stated.items() if digest}
    if not expected:
        raise ValueError(f"{url}: a download needs a digest")
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: only http and https can be fetched")
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    wrong = None
    try:
        if path.exists():
            wrong = _wrong_digest(path, expected)
            if wrong:
                raise InputError(f"{path}: is there already but {wrong}: move it away")
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, progress, timeout)
        whole = part
        if member is not None:
            whole = path.with_name(f"{path.name}.unpacked")
            wrong = _wrong_member(part, member, whole)
        wrong = wrong or _wrong_digest(whole, expected)
        if wrong:
            part.unlink()
            whole.unlink(missing_ok=True)
            raise InputError(f"{url}: {wrong}; what was received is deleted: run again")
        whole.replace(path)
        part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _wrong_digest(path: Path, expected: dict[str, str]) -> str | None:
    """Return what is wrong with the digest of ``path``, naming both; None if nothing is."""
    for name, digest in expected.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if not found.startswith(digest):
            return f"its {name} is {found}, expected {digest}"
    return None


def _wrong_member(archive: Path, member: str, target: Path) -> str | None:
    """Unpack one file of a zip archive to ``target``, or return what is wrong with the archive."""
    try:
        with (
            zipfile.ZipFile(archive) as files,
            files.open(member) as source,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(source, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        return f"not a zip archive with {member} in it ({error})"
    return None


def _receive(url: str, part: Path, progress: bool, timeout: float) -> None:
    """Append to ``part`` what is missing of ``url``."""
    received = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    with contextlib.ExitStack() as stack:
        with _network(url, part, timeout):
            try:
                request = urllib.request.Request(url, headers=headers)
                response = stack.enter_context(urllib.request.urlopen(request, timeout=timeout))
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
                f"{url}: the server continues at another byte: run again from the start"
            )
        length = response.headers.get("Content-Length", "")
        total = received + int(length) if re.fullmatch(r"\d+", length) else None
        file = stack.enter_context(part.open("ab" if received else "wb"))
        bar = stack.enter_context(_bar(part.stem, received, total)) if progress else None
        while total is None or received < total:
            with _network(url, part, timeout):
                # read1 gives what has arrived, so that a stall loses nothing.
                data = response.read1(CHUNK)
            if not data:
                break
            file.write(data)
            received += len(data)
            if bar is not None:
                bar.update(len(data))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and received < total:
        raise InputError(
            f"{url}: ended after {received:,} of {total:,} bytes, kept in {part}: "
            "run again to resume"
        )


@contextlib.contextmanager
def _network(url: str, part: Path, timeout: float) -> Iterator[None]:
    """Turn what can break on the way into one line; errors of the disk stay what they are."""
    advice = f"run again to resume {part}" if part.exists() else "run again"
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise InputError(f"{url}: no data for {timeout:g} s: {advice}") from error
        raise InputError(f"{url}: the connection failed ({reason}): {advice}") from error


def _bar(name: str, received: int, total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=name, initial=received, total=total, unit="B", unit_scale=True, unit_divisor=1024
    )


def unpack_tar(archive: Path, root: Path, parts: Sequence[str]) -> None:
    """Unpack the regular files below the folders ``parts`` of ``archive`` into ``root``.

    Only files and their folders are ever made, never links or devices, and each path is checked,
    so nothing is written outside ``root`` whatever the archive holds.

    Args:
        archive: An uncompressed tar.
        parts: Folders inside the archive, with ``/`` and without one at the end.

    Raises:
        InputError: If the archive is broken, has a path that is absolute or climbs with ``..``,
            has something other than files in a part, or nothing at all.
    """
    missing = set(parts)
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise InputError(f"{archive}: {member.name!r} leads out of the archive")
                part = next((part for part in parts if name.is_relative_to(part)), None)
                if part is None or member.isdir():
                    continue
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    raise InputError(f"{archive}: {member.name!r} is no regular file")
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                missing.discard(part)
    except tarfile.TarError as error:
        raise InputError(f"{archive}: not a complete tar archive ({error})") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked ({error})") from error
    if missing:
        raise InputError(f"{archive}: has no files in {min(missing)}")


def fetch_voc(
    root: str | Path,
    *,
    url: str = VOC_URL,
    md5: str = VOC_MD5,
    progress: bool = False,
    timeout: float = 60,
) -> Path:
    """Download Pascal VOC2012's training and validation images and unpack what segmentation needs.

    The folder appears only when it is complete; the archive (2.0 GB) is then deleted. A call that
    was interrupted goes on when it is repeated: with the download where it stopped, with the
    unpacking from its start.

    Returns:
        ``<root>/VOCdevkit/VOC2012``.

    Raises:
        InputError: If that folder is there already, or as ``fetch`` and ``unpack_tar`` do.
    """
    root = Path(root)
    folder = root / VOC_FOLDER
    if folder.exists():
        raise InputError(f"{folder} is there already: name another folder, or remove it")
    archive = fetch(url, root / url.rsplit("/", 1)[-1], md5=md5, progress=progress, timeout=timeout)
    unpacking = root / ".unpacking"
    try:
        if unpacking.exists():
            shutil.rmtree(unpacking)
        unpack_tar(archive, unpacking, [f"{VOC_FOLDER}/{part}" for part in VOC_PARTS])
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.sync()  # The files before the name that says they are all there.
        (unpacking / VOC_FOLDER).replace(folder)
        sync_folder(folder.parent)
        shutil.rmtree(unpacking)
        archive.unlink()
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error
    return folder
