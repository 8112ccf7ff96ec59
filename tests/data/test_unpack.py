"""Archives that mean harm, and Pascal VOC's from the server to the folder."""

import contextlib
import functools
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.data import download
from common.data.download import VOC_FOLDER, fetch_voc, unpack_tar
from common.errors import InputError
from common.machine import progress
from common.machine.progress import Lines
from tests.machine.clocks import clock_of


def member(
    name: str, data: bytes = b"data", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def archive(*members: tuple) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def voc_archive() -> bytes:
    names = (
        "JPEGImages/a.jpg",
        "SegmentationClass/a.png",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Main/cat_train.txt",
        "Annotations/a.xml",
    )
    return archive(
        member("VOCdevkit", kind=tarfile.DIRTYPE),
        *(member(f"{VOC_FOLDER}/{name}", name.encode()) for name in names),
    )


def test_only_the_wanted_parts_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        archive(member("keep/in/x", b"1"), member("keeper/y"), member("other/z"))
    )
    unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep"])
    assert [str(p.relative_to(tmp_path)) for p in (tmp_path / "out").rglob("*") if p.is_file()] == [
        "out/keep/in/x"
    ]
    assert (tmp_path / "out/keep/in/x").read_bytes() == b"1"


def test_unpacking_shows_how_far_it_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, counted = tmp_path / "a.tar", list[int]()

    class Seen(Lines):
        def update(self, n: int = 1) -> None:
            super().update(n)
            counted.append(self.n)

    monkeypatch.setattr(download, "counter", lambda *what, delay: Seen(*what, 0, delay))
    monkeypatch.setattr(progress, "time", clock_of(6))
    path.write_bytes(archive(member("keep/x", bytes(2**20)), member("other/y", b"1" * 600)))
    unpack_tar(path, tmp_path / "out", ["keep"])
    assert counted == [0, 2**20 + 512, path.stat().st_size]
    assert capsys.readouterr().err.splitlines() == [
        "unpacking a.tar: 1.00049 of 1.00586 MiB, 0:00 left",
        "unpacking a.tar: 1.00586 of 1.00586 MiB in 0:12",
    ]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ([member("keep/../../evil")], "leads out"),
        ([member("../evil")], "leads out"),
        ([member("/tmp/keep/evil")], "leads out"),
        ([member("keep/link", kind=tarfile.SYMTYPE, link="../..")], "not a regular file"),
        ([member("keep/link", kind=tarfile.LNKTYPE, link="../outside")], "not a regular file"),
        ([member("keep/device", kind=tarfile.CHRTYPE)], "not a regular file"),
        ([member("keep/twice"), member("keep/twice")], "cannot be unpacked"),
    ],
)
def test_a_harmful_archive_is_refused(tmp_path: Path, harm: list[tuple], message: str) -> None:
    (tmp_path / "outside").write_bytes(b"mine")
    (tmp_path / "a.tar").write_bytes(archive(member("keep/good"), *harm))
    with pytest.raises(InputError, match=rf"a\.tar: .*{message}"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "in" / "out", ["keep"])
    assert not list(tmp_path.rglob("evil"))
    assert not any(entry.is_symlink() for entry in tmp_path.rglob("*"))
    assert (tmp_path / "outside").read_bytes() == b"mine"


def test_a_link_over_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    link = member("keep", kind=tarfile.SYMTYPE, link=str(tmp_path / "victim"))
    (tmp_path / "a.tar").write_bytes(archive(link, member("keep/file")))
    with pytest.raises(InputError, match="not a regular file"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep"])
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 99, voc_archive()[:1300]])
def test_a_broken_archive_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tar: "):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", [f"{VOC_FOLDER}/JPEGImages"])


def test_an_archive_without_a_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive(member("keep/x")))
    with pytest.raises(InputError, match="no files in more"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep", "more"])


def sparse(size: int) -> bytes:
    """Return an archive of one GNU sparse file: it states ``size`` bytes, and has none."""
    info = tarfile.TarInfo("keep/sparse")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[257:265] = b"ustar  \0"
    header[386:398], header[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


@pytest.mark.parametrize("size", [1, 2**30])
def test_a_sparse_member_is_refused_before_it_is_written(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.tar").write_bytes(sparse(size))
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.next().issparse()
    with pytest.raises(InputError, match=r"'keep/sparse' is not a regular file"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep"])
    assert not list(tmp_path.rglob("sparse"))


def pax(*records: bytes) -> bytes:
    """Return an archive whose file has a pax header of these records, as they are."""
    header, file = tarfile.TarInfo("pax"), tarfile.TarInfo("keep/x")
    header.type, body = tarfile.XHDTYPE, b"".join(records)
    header.size = len(body)
    padded = body + bytes(-len(body) % 512)
    return header.tobuf(tarfile.USTAR_FORMAT) + padded + file.tobuf() + bytes(1024)


@pytest.mark.parametrize(
    "records",
    [
        [b"0 path=a\n"], [b"99999999999999999999 path=a\n"], [b"11 path=\xff\n"], [b"x"],
        [b"26 GNU.sparse.major=abc\n\n"], [b"22 GNU.sparse.size=x\n\n"], [b"12 size=abc\n"],
        [b"13 mtime=abc\n"], [b"21 GNU.sparse.map=a,\n"], [b"20 hdrcharset=BINARX\n"],
        [b"22 size=99999999999999\n"], [b"13 size=-100\n"], [b"12 path=a\0b\n"],
        [b"22 GNU.sparse.major=1\n", b"22 GNU.sparse.minor=0\n", b"25 GNU.sparse.realsize=9\n"],
    ],
)  # fmt: skip
def test_a_malformed_header_is_one_line_or_does_not_matter(
    tmp_path: Path, records: list[bytes]
) -> None:
    (tmp_path / "a.tar").write_bytes(pax(*records))
    with contextlib.suppress(InputError):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep"])
    assert not list(tmp_path.glob("*/keep/*/*"))


def test_a_long_chain_of_headers_is_one_line(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 512
    (tmp_path / "a.tar").write_bytes((info.tobuf() + bytes(512)) * 5000)
    with pytest.raises(InputError, match=r"a\.tar: not a complete tar archive"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "out", ["keep"])


def unpacked(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


VOC_FILES = [
    f"{VOC_FOLDER}/ImageSets/Segmentation/train.txt",
    f"{VOC_FOLDER}/JPEGImages/a.jpg",
    f"{VOC_FOLDER}/SegmentationClass/a.png",
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for VOC, while a loopback server has its archive, in small, at its address."""
    monkeypatch.setattr(download, "VOC_MD5", hashlib.md5(voc_archive()).hexdigest())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "voc.tar").write_bytes(voc_archive())
    handler = functools.partial(Quiet, directory=str(tmp_path / "server"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/voc.tar"
        monkeypatch.setattr(download, "VOC_URL", address)
        yield tmp_path / "data"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_voc_ends_as_a_complete_folder(root: Path) -> None:
    assert fetch_voc(root) == root / VOC_FOLDER
    assert unpacked(root) == VOC_FILES
    assert [entry.name for entry in root.iterdir()] == ["VOCdevkit"]


def test_voc_that_is_there_is_refused_and_kept(root: Path) -> None:
    (root / VOC_FOLDER).mkdir(parents=True)
    (root / VOC_FOLDER / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already exists: use it, or name another folder"):
        fetch_voc(root)
    assert unpacked(root) == [f"{VOC_FOLDER}/notes.txt"]


def test_an_interrupted_unpacking_is_repeated(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(archive: Path, root: Path, parts: list[str]) -> None:
        unpack_tar(archive, root, parts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "unpack_tar", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_voc(root)
    assert not (root / VOC_FOLDER).exists()

    (tmp_path / "server" / "voc.tar").unlink()  # What was fetched is not fetched again.
    fetch_voc(root)
    assert unpacked(root) == VOC_FILES


def test_the_official_archive_is_named_with_its_digest() -> None:
    assert download.VOC_URL.endswith("/voc2012/VOCtrainval_11-May-2012.tar")
    assert download.VOC_MD5 == "6cd6e144f989b92b3379bac3b3de84fd"
