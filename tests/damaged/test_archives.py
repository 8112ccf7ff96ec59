"""Tar archives that were damaged: unpacked whole, files as their headers say, or refused."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.data.download import unpack_tar
from common.errors import InputError
from tests.damaged.damage import check_line, damage, damaged_bytes
from tests.machine.memory import within

LARGEST = 8 * 2**20
"""Bytes that an archive of these takes in memory."""
PARTS = ["VOC/JPEGImages", "VOC/Lists"]
LONG = f"VOC/JPEGImages/{'long' * 40}.jpg"
FILES = {
    "VOC/Lists/train.txt": b"a\n",
    "VOC/JPEGImages/a.jpg": b"a" * 700,
    "VOC/JPEGImages/deep/b.jpg": b"b" * 512,
    LONG: b"l" * 40,
    "VOC/Annotations/a.xml": b"xml" * 300,
}


def archives() -> list[bytes]:
    """Return an archive in each of the forms of tar: ustar, GNU's and pax."""
    whole = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name, content in FILES.items():
                if name == LONG and form == tarfile.USTAR_FORMAT:
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        whole.append(buffer.getvalue()[:9216])
    return whole


def with_sums(data: bytes, generator: np.random.Generator) -> bytes:
    """Return an archive with a damaged header whose checksum is right."""
    headers = [start for start in range(0, len(data), 512) if data[start + 257 :][:5] == b"ustar"]
    start = headers[int(generator.integers(0, len(headers)))]
    header = bytearray(data[start : start + 512])
    field = [(0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)]
    place, size = field[int(generator.integers(0, len(field)))]
    part = bytearray(header[place : place + size].rstrip(b"\0"))
    damage(part, generator)
    header[place : place + size] = part[:size].ljust(size, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + header + data[start + 512 :]


def octal(field: bytes) -> int:
    """Return the number in a header's field, which ends at the first zero byte."""
    return int(field.split(b"\0")[0].strip(b" ") or b"0", 8)


def contents(data: bytes) -> Iterator[bytes]:
    """Yield the blocks behind each header, as long as it says or as a pax header before it does."""
    for start in range(0, len(data) - 511, 512):
        header = data[start : start + 512]
        unsigned = sum(header) - sum(header[148:156]) + 8 * 32
        try:
            is_header, size = octal(header[148:156]) == unsigned, octal(header[124:136])
        except ValueError:
            continue
        if is_header:
            yield data[start + 512 :][:size]


def is_ended(data: bytes) -> bool:
    return any(data[start : start + 512] == bytes(512) for start in range(0, len(data), 512))


@pytest.mark.parametrize("count", [200, pytest.param(3000, marks=pytest.mark.release)])
def test_a_damaged_archive_is_unpacked_whole_or_refused(count: int, tmp_path: Path) -> None:
    path, root, accepted = tmp_path / "a.tar", tmp_path / "in" / "out", 0

    def unpack() -> None:
        shutil.rmtree(root.parent, ignore_errors=True)
        unpack_tar(path, root, PARTS)

    for number, whole in enumerate(archives()):
        generator = np.random.default_rng(number)
        inside = (with_sums(whole, generator) for _ in range(count))
        for data in [whole, *damaged_bytes(whole, count, number), *inside]:
            path.write_bytes(data)
            try:
                within(LARGEST, unpack)
            except InputError as error:
                assert data != whole
                check_line(str(error))
                continue
            finally:
                assert {entry.name for entry in tmp_path.iterdir()} <= {"a.tar", "in"}
                assert {entry.name for entry in root.parent.glob("*")} <= {"out"}
            accepted += 1
            files = [entry for entry in root.rglob("*") if not entry.is_dir()]
            expected = list(contents(data))
            for file in files:
                assert file.is_file() and not file.is_symlink()
                assert file.read_bytes() in expected
                assert any(file.is_relative_to(root / part) for part in PARTS)
            assert is_ended(data)
    assert count < accepted < 6 * count


@pytest.mark.parametrize("form", range(3))
def test_an_archive_that_loses_a_header_or_its_end_is_refused(form: int, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.tar", archives()[form]
    starts = [start for start in range(0, len(whole), 512) if whole[start + 257 :][:5] == b"ustar"]
    for number, start in enumerate(starts):
        for data in (
            whole[:start],
            whole[: start + 100],
            whole[:start] + b"\xff" + whole[start + 1 :],
            whole[:start] + b"no header" * 57 + whole[start + 513 :],
        ):
            path.write_bytes(data)
            with pytest.raises(InputError, match=r"a\.tar: "):
                unpack_tar(path, tmp_path / f"{number}", PARTS)
            shutil.rmtree(tmp_path / f"{number}", ignore_errors=True)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
@pytest.mark.parametrize("size", [b"377777777", b"77777777777", b"\xff" * 11])
def test_a_header_that_claims_to_be_long_takes_no_memory(
    kind: bytes, size: bytes, tmp_path: Path
) -> None:
    data = bytearray(archives()[0])
    data[124:136], data[156:157] = size.rjust(11, b"0") + b"\0", kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tar: "):
        within(LARGEST, lambda: unpack_tar(tmp_path / "a.tar", tmp_path / "out", PARTS))


@pytest.mark.parametrize("name", list(FILES)[:2] + list(FILES)[-1:])
def test_a_negative_size_is_refused_and_not_read_again_and_again(name: str, tmp_path: Path) -> None:
    data = bytearray(archives()[0])
    start = data.index(name.encode())
    data[start + 124 : start + 136] = b"-0001000\0\0\0\0"  # To this header again.
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tar: "):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", PARTS)
