"""Pascal VOC2012 from its server: the archive fetched, checked and unpacked."""

import io
import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from common.errors import InputError
from common.machine.download import fetch
from common.machine.files import sync_folder, writing
from common.machine.locks import only_writer
from common.machine.progress import BYTES, counter, waiting_shown

VOC_URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
VOC_MD5 = "6cd6e144f989b92b3379bac3b3de84fd"
VOC_FOLDER = "VOCdevkit/VOC2012"
VOC_PARTS = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
"""What segmentation needs of the archive."""
VOC_LARGEST = 2**31
"""Bytes; the archive has 1,999,639,040."""
BROKEN_TAR = (
    tarfile.TarError,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What ``tarfile`` raises for malformed headers, for a long chain of them or an absurd size."""


LARGEST_READ = 2**20
"""Bytes of the longest header that is read; the content of a file is read in smaller parts."""


class Archive(io.FileIO):
    """A file of which ``tarfile`` reads no header of more than ``LARGEST_READ`` bytes.

    How long a name or a pax header is stands in the archive, and as much memory is taken before
    anything is read.
    """

    def read(self, size: int | None = -1) -> bytes:
        """Read at most ``size`` bytes.

        Raises:
            tarfile.ReadError: If that is more than a header has.
        """
        if size is None or not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header is to have {size} bytes")
        return super().read(size) or b""


def unpack_tar(archive: Path, root: Path, parts: Sequence[str]) -> None:
    """Unpack the regular files below the folders ``parts`` of ``archive`` into ``root``.

    Only files and their folders are made, never links or devices, and each path is checked, so
    nothing is written outside ``root`` whatever the archive holds. The ``data`` filter of
    ``tarfile`` allows more: it strips a leading slash, makes links within ``root`` and lets a
    second file of a name replace the first.

    Args:
        archive: An uncompressed tar.
        parts: Folders inside the archive, with ``/`` and without one at the end.

    Raises:
        InputError: If the archive is broken, has a path that is absolute or climbs with ``..``,
            has something other than files in a part, or nothing at all. A file that would take
            more bytes than the archive has is no such file.
    """
    missing = set(parts)
    try:
        size = archive.stat().st_size
        with (
            Archive(archive) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
            counter(size, BYTES, f"unpacking {archive.name}", delay=5) as bar,
        ):
            for member in tar:
                bar.update(member.offset - bar.n)
                if member.size < 0:  # tarfile would go back and read it again.
                    raise tarfile.ReadError("a size is negative")
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise InputError(f"{archive}: {member.name!r} leads out of the folder")
                part = next((part for part in parts if name.is_relative_to(part)), None)
                if part is None or member.isdir():
                    continue
                plain = member.isreg() and not member.issparse() and member.size <= size
                source = tar.extractfile(member) if plain else None
                if source is None:
                    raise InputError(f"{archive}: {member.name!r} is not a regular file")
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("xb") as file:
                    shutil.copyfileobj(source, file)
                missing.discard(part)
            bar.update(size - bar.n)
            # At a header that is damaged or absent tarfile stops as at the end, which is zeros.
            with archive.open("rb") as file:
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("its end is missing, or a header is damaged")
    except InputError:
        raise
    except BROKEN_TAR as error:
        raise InputError(f"{archive}: not a complete tar archive ({error})") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be unpacked ({error})") from error
    if missing:
        raise InputError(f"{archive}: has no files in {min(missing)}")


def fetch_voc(root: Path) -> Path:
    """Download Pascal VOC2012's training and validation images and unpack what segmentation needs.

    The folder appears only when it is complete; the archive (2.0 GB) is then deleted. A call that
    was interrupted goes on when it is repeated: with the download where it stopped, with the
    unpacking from its start.

    Returns:
        ``<root>/VOCdevkit/VOC2012``.

    Raises:
        InputError: If that folder exists already, another process writes into ``root``, or as
            ``fetch`` and ``unpack_tar`` do.
    """
    folder, unpacking = root / VOC_FOLDER, root / ".unpacking"
    with only_writer(root):
        if folder.exists():
            raise InputError(f"{folder}: already exists: use it, or name another folder")
        archive = root / VOC_URL.rsplit("/", 1)[-1]
        fetch(VOC_URL, archive, "md5", VOC_MD5, largest=VOC_LARGEST)
        with writing(root):
            if unpacking.exists():
                shutil.rmtree(unpacking)
            unpack_tar(archive, unpacking, [f"{VOC_FOLDER}/{part}" for part in VOC_PARTS])
            folder.parent.mkdir(parents=True, exist_ok=True)
            with waiting_shown("writing to the disk"):
                os.sync()  # The files before the name that says they are all there.
            (unpacking / VOC_FOLDER).replace(folder)
            sync_folder(folder.parent)
            shutil.rmtree(unpacking)
            archive.unlink()
    return folder
