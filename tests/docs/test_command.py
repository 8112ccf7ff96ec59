"""`fcn docs` says in one line why it cannot build or serve a site."""

import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import docs
from common.errors import InputError


def test_a_site_outside_a_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "PROJECT", tmp_path)
    with pytest.raises(InputError, match="are in a checkout of the repository, not here"):
        docs.main(["build", "--out", str(tmp_path / "site")])


def test_a_missing_group_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "PARTS", ("sphinx", "no_such_package"))
    expected = r"no_such_package not installed; `uv sync --group docs` installs it"
    with pytest.raises(InputError, match=expected):
        docs.main(["build", "--out", str(tmp_path / "site")])


def test_a_folder_without_a_site_is_not_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["docs", "serve", "--out", str(tmp_path)]) == 2
    assert "holds no site; `fcn docs build" in capsys.readouterr().err


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(InputError, match=rf"--port {port}: cannot be used here"):
            docs.main(["serve", "--out", str(tmp_path), "--port", port])


def test_the_sites_of_both_languages_are_served(tmp_path: Path) -> None:
    for name in ("book", "book-ja"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.cli", "docs", "serve", "--port", "0", "--out"]
    with subprocess.Popen([*command, str(tmp_path / "book")], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        address = server.stdout.readline().decode().split()[0]
        pages = [urlopen(urljoin(address, path)).read() for path in ("", "../book-ja/", "")]
        server.terminate()  # A job in the background ignores SIGINT.
    assert pages == [b"book", b"book-ja", b"book"]
