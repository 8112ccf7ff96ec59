"""Files are whole or absent, links are not followed, and shares without a sync are written."""

import errno
import os
import sys
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from common.errors import InputError
from common.machine import files
from common.run.folders import check_out
from common.run.log import Log

NOT_UTF8 = os.fsdecode(b"caf\xe9\n.png")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_a_share_that_cannot_sync_a_folder_is_written(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def of_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    files.write_text(tmp_path / "new/file", "text")
    assert (tmp_path / "new/file").read_text(encoding="utf-8") == "text"


@pytest.mark.parametrize(
    "number, of_folder", [(errno.EIO, True), (errno.ENOSPC, True), (errno.EINVAL, False)]
)
def test_a_sync_that_fails_otherwise_is_an_error(
    number: int, of_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() == of_folder:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="file: cannot be written"):
        files.write_text(tmp_path / "file", "text")


def test_a_planted_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept", encoding="utf-8")
    for planted in (f".file.{os.getpid()}.partial", "file", ".metrics.jsonl.partial"):
        (tmp_path / planted).symlink_to(target)
    files.write_text(tmp_path / "file", "text")
    Log(tmp_path / "metrics.jsonl", 1, []).close()
    assert target.read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "file").is_symlink()
    (tmp_path / "log").symlink_to(target)
    with pytest.raises(OSError, match="log"):
        files.open_own(tmp_path / "log")
    check_out(tmp_path / "out", force=False)
    assert target.read_text(encoding="utf-8") == "kept"


def test_a_name_leads_into_its_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret").write_text("", encoding="utf-8")
    (inner / "link").symlink_to(tmp_path / "secret")
    (inner / "loop").symlink_to(inner / "loop")
    (inner / "deep").symlink_to(inner)
    for name in ("a.png", "deep/a.png", "sub/../a.png", "./a"):
        assert files.inside(inner, name) == inner / name
    for name in ("../secret", "/etc/passwd", "//etc/passwd", "link", "loop", "a\0b", "x/../../y"):
        with pytest.raises(InputError, match="leads out of"):
            files.inside(inner, name)


def test_json_that_is_nested_too_deeply_is_not_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        files.read_json("[" * 10**6)


def test_a_full_disk_at_a_line_of_the_log_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, write = Log(tmp_path / "metrics.jsonl", 1, []), os.write
    room = 10

    def fill(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written \(No space left"):
        log.write({"kind": "step", "step": 0, "epoch": 0, "loss": 1.0})  # type: ignore[typeddict-item]
    log.close()  # Tries nothing again.


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8_are_printed_with_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_text(tmp_path / "page.html", f"<p>{NOT_UTF8}</p>")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>caf\\udce9\n.png</p>"
    assert fcn(["data", "make", str(tmp_path / NOT_UTF8), "--train", "1", "--val", "1"]) == 0
    assert "caf\\udce9" in capsys.readouterr().out
    assert fcn(["data", "make", str(tmp_path / NOT_UTF8), "--train", "1", "--val", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "caf\\udce9" in line and "is not empty" in line
