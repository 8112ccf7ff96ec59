"""One writer for each folder: a lock that ends with the process that holds it."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import InputError
from common.machine.locks import LOCK, locked, only_writer

HOLDER = """
import os, sys, time
from pathlib import Path
from common.machine.locks import only_writer
with only_writer(Path(sys.argv[1])):
    if "fork" not in sys.argv or not os.fork():  # What it forked says itself that it lives.
        print(os.getpid(), flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes into a folder, and has forked another."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out"), "fork"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)


def test_a_second_writer_is_told_who_the_first_one_is(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = rf"out: is being written by process {holder.pid} on .* \(python.* -c .*\): wait until"
    with pytest.raises(InputError, match=words) as refused, only_writer(out):
        pass
    assert "\n" not in str(refused.value)
    holder.kill()
    holder.wait()  # What it forked lives on, and holds nothing.
    assert (out / LOCK).is_file()
    with only_writer(out):
        text = (out / LOCK).read_text(encoding="utf-8")
        assert text.startswith(f"process {os.getpid()} on ")
    assert list(out.iterdir()) == []


def test_one_that_waits_says_so_and_goes_on(
    holder: subprocess.Popen[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = """
import sys
from pathlib import Path
from common.machine.locks import locked
with locked(Path(sys.argv[1]), "it: is being made", wait=True):
    print("mine")
"""
    command = [sys.executable, "-c", program, str(tmp_path / "out" / LOCK)]
    waiting = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    deadline, said = time.monotonic() + 20, ""
    while "waiting for it" not in said:
        assert time.monotonic() < deadline and waiting.poll() is None
        said += capfd.readouterr().err
        time.sleep(0.05)
    assert f"it: is being made by process {holder.pid} on " in said
    holder.kill()
    assert waiting.wait(20) == 0 and capfd.readouterr().out == "mine\n"


def test_the_same_process_holds_it_once(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(InputError), only_writer(tmp_path):
        pass
    with only_writer(tmp_path), only_writer(tmp_path / "below"):
        pass
    assert list(tmp_path.iterdir()) == []  # A folder in which nothing was written is removed.


def test_a_lock_whose_file_was_removed_is_another_one(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        (tmp_path / LOCK).unlink()
        with only_writer(tmp_path):
            assert (tmp_path / LOCK).is_file()
        (tmp_path / LOCK).write_text("of another", encoding="utf-8")
    assert (tmp_path / LOCK).read_text(encoding="utf-8") == "of another"


def test_what_a_stranger_wrote_into_it_is_shown_as_text(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    path.write_bytes(b"process \x1b[31m1\xff\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with (
            pytest.raises(InputError, match=r"by process \\x1b\[31m1\\xff: wait"),
            only_writer(tmp_path),
        ):
            pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(target)
    with pytest.raises(InputError, match="cannot be written"), only_writer(tmp_path / "out"):
        pass
    assert target.read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_written(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / LOCK, "it", wait=False):
        assert "its file system has no locks" in capsys.readouterr().err
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "bad")))
    with pytest.raises(InputError, match="cannot be written"), only_writer(tmp_path):
        pass
