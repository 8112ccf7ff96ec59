"""What a framework's libraries print stands in a log, and on the terminal where that is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import TOLD, notice

PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from common.errors import InputError
from common.machine.messages import FrameworkMessages, on_terminal
mode, folder = sys.argv[1], Path(sys.argv[2])
def library(text):
    os.write(2, text.encode() + b"\\n")
with FrameworkMessages(mode == "verbose") as messages:
    library("at import")
    print("ours", file=sys.stderr)
    if mode == "early failure": raise ImportError("libcuda.so")
    if mode == "refused": raise InputError("bad option")
    messages.keep_in(folder)
    if mode != "silent": library("later")
    with on_terminal():
        subprocess.run(["sh", "-c", "echo a rank >&2"])
    if mode == "aborts":
        library("free(): invalid pointer")
        os.abort()
    if mode == "late failure": raise ValueError("wrong")
library("after")
"""


def run(mode: str, folder: Path) -> tuple[str, str | None]:
    """Return what a program left on standard error and in its log."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode, str(folder)], stderr=subprocess.PIPE, check=False
    )
    log = folder / "framework.log"
    return done.stderr.decode(), log.read_text() if log.is_file() else None


def test_a_library_is_in_the_log_and_not_on_the_terminal(tmp_path: Path) -> None:
    shown, log = run("quiet", tmp_path)
    assert shown == "ours\na rank\nafter\n"
    assert log == "at import\nlater\n"


def test_where_it_is_wanted_it_is_in_both(tmp_path: Path) -> None:
    shown, log = run("verbose", tmp_path)
    assert sorted(shown.splitlines()) == ["a rank", "after", "at import", "later", "ours"]
    assert log == "at import\nlater\n"


@pytest.mark.parametrize("mode", ["early failure", "late failure", "refused"])
def test_a_failure_is_told_by_python_and_before_there_is_a_log_by_the_library_too(
    tmp_path: Path, mode: str
) -> None:
    shown, log = run(mode, tmp_path)
    assert ("at import" in shown) == (mode == "early failure")
    assert "Error" in shown
    assert (log == "at import\nlater\n") == (mode == "late failure")


def test_what_a_library_said_before_it_aborted_is_in_the_log(tmp_path: Path) -> None:
    _, log = run("aborts", tmp_path)
    assert log is not None and log.endswith("free(): invalid pointer\n")


def test_a_link_in_the_log_s_place_is_not_followed_and_an_old_log_is_replaced(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "framework.log").symlink_to("mine")
    _, log = run("quiet", tmp_path)
    assert log == "at import\nlater\n" and (tmp_path / "mine").read_text() == "mine"
    assert run("quiet", tmp_path)[1] == log


def test_what_a_parent_has_said_is_not_said_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notice("a recipe")
    monkeypatch.setenv(TOLD, "1")
    notice("a recipe")
    assert capsys.readouterr().err == "a recipe\n"
