"""Downloads over a loopback server that misbehaves."""

import contextlib
import functools
import hashlib
import io
import struct
import urllib.request
import zipfile
from pathlib import Path

import pytest

from common.errors import InputError
from common.machine import download, progress
from common.machine.download import SafeRedirects, fetch
from tests.machine.clocks import clock_of
from tests.support.loopback import BODY, HALF, SHA256, Server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.tar"


def part_of(path: Path) -> Path:
    return path.with_name("file.tar.part")


def start_part(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(data)


def files(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_file_arrives_whole(server: Server, path: Path) -> None:
    fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == BODY
    assert files(path) == ["file.tar"]
    assert server.ranges == [None]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_digest_of_each_kind_is_checked(server: Server, path: Path, algorithm: str) -> None:
    digest = hashlib.new(algorithm, BODY).hexdigest()
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    with pytest.raises(InputError, match=f"its {algorithm} is {digest}, expected {wrong}"):
        fetch(server.url, path, algorithm, wrong)
    assert files(path) == []
    fetch(server.url, path, algorithm, digest)


def zip_of(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr(name, content)
    return archive.getvalue()


def corrupt(archive: bytes) -> bytes:
    return archive[:200] + bytes([archive[200] ^ 0xFF]) + archive[201:]


def test_a_member_of_an_archive_is_what_the_digest_is_of(server: Server, path: Path) -> None:
    server.body = zip_of("member", BODY)
    sha1 = hashlib.sha1(BODY).hexdigest()
    start_part(path, server.body[:100])
    fetch(server.url, path, "sha1", sha1, member="member")
    assert path.read_bytes() == BODY
    assert files(path) == ["file.tar"]


@pytest.mark.parametrize(
    "body, message",
    [
        (zip_of("member", b"x" + BODY[1:]), "its sha1 is"),
        (zip_of("another", BODY), "not a zip archive with member in it"),
        (zip_of("member", BODY)[:-30], "not a zip archive with member in it"),
        (zip_of("member", BODY).replace(b"member", b"nember", 1), "not a zip archive"),
        (corrupt(zip_of("member", BODY)), "not a zip archive"),
        (BODY, "not a zip archive"),
    ],
    ids=["bytes", "name", "truncated", "two names", "corrupt", "no archive"],
)
def test_a_wrong_archive_leaves_nothing(
    server: Server, path: Path, body: bytes, message: str
) -> None:
    server.body = body
    sha1 = hashlib.sha1(BODY).hexdigest()
    with pytest.raises(InputError, match=message):
        fetch(server.url, path, "sha1", sha1, member="member")
    assert files(path) == []


def test_a_body_of_unknown_length_arrives_whole(server: Server, path: Path) -> None:
    server.mood = "lengthless"
    fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == BODY


def test_a_file_that_is_there_is_not_fetched_again(server: Server, path: Path) -> None:
    fetch(server.url, path, "sha256", SHA256)
    fetch(server.url, path, "sha256", SHA256)
    assert len(server.ranges) == 1


def test_another_file_at_the_path_is_kept(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="file.tar: exists, but"):
        fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == b"mine"


def test_a_part_is_resumed_where_it_ends(server: Server, path: Path) -> None:
    start_part(path, BODY[:1000])
    fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == BODY
    assert files(path) == ["file.tar"]
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_starts_again(server: Server, path: Path) -> None:
    server.mood = "rangeless"
    start_part(path, b"x" * 1000)
    fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == BODY


def test_a_part_that_is_whole_only_gets_its_name(server: Server, path: Path) -> None:
    start_part(path, BODY)
    fetch(server.url, path, "sha256", SHA256)
    assert files(path) == ["file.tar"]


def test_a_part_that_is_too_long_is_deleted(server: Server, path: Path) -> None:
    start_part(path, BODY + b"more")
    with pytest.raises(InputError, match="run again"):
        fetch(server.url, path, "sha256", SHA256)
    assert files(path) == []


def test_a_server_that_resumes_elsewhere_is_refused(server: Server, path: Path) -> None:
    server.mood = "shifted"
    start_part(path, BODY[:1000])
    with pytest.raises(InputError, match="another byte"):
        fetch(server.url, path, "sha256", SHA256)
    assert files(path) == []


@pytest.mark.parametrize(
    ("mood", "message"),
    [("stalling", "no data for 0.2 s.*resume"), ("truncating", "51,200 of 102,400 bytes.*resume")],
)
def test_a_broken_transfer_keeps_its_part_and_resumes(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch, mood: str, message: str
) -> None:
    server.mood = mood
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(InputError, match=message) as error:
        fetch(server.url, path, "sha256", SHA256)
    assert "\n" not in str(error.value)
    assert part_of(path).read_bytes() == BODY[:HALF]
    assert files(path) == ["file.tar.part"]

    server.mood = "good"
    fetch(server.url, path, "sha256", SHA256)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_server_that_never_answers_is_left(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mood = "silent"
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    start_part(path, BODY[:1000])
    with pytest.raises(InputError, match="no data for 0.2 s"):
        fetch(server.url, path, "sha256", SHA256)
    assert part_of(path).read_bytes() == BODY[:1000]


def test_an_absent_file_is_named_and_the_part_kept(server: Server, path: Path) -> None:
    server.mood = "absent"
    start_part(path, BODY[:1000])
    with pytest.raises(InputError, match=r"file.tar: the server answers 404 Not Found"):
        fetch(server.url, path, "sha256", SHA256)
    assert part_of(path).read_bytes() == BODY[:1000]


def test_wrong_bytes_are_deleted_and_both_digests_named(server: Server, path: Path) -> None:
    server.body = b"x" + BODY[1:]
    with pytest.raises(InputError) as error:
        fetch(server.url, path, "sha256", SHA256)
    assert SHA256 in str(error.value)
    assert hashlib.sha256(server.body).hexdigest() in str(error.value)
    assert files(path) == []


def test_a_closed_port_is_one_line(server: Server, path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(InputError, match="connection failed"):
        fetch(url, path, "sha256", SHA256)


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BODY)
    with pytest.raises(InputError, match="only http"):
        fetch((tmp_path / "secret").as_uri(), tmp_path / "copy", "sha256", SHA256)


def test_an_unwritable_place_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"a file")
    with pytest.raises(InputError, match=r"folder/file\.tar"):
        fetch(server.url, tmp_path / "folder" / "file.tar", "sha256", SHA256)


def test_in_a_pipe_a_download_is_a_line_at_its_start_and_one_at_its_end(
    server: Server, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(server.url, path, "sha256", SHA256)
    first, last = capfd.readouterr().err.splitlines()
    assert first == "file.tar: 0 of 0.0976562 MiB"
    assert last.startswith("file.tar: 0.0976562 of 0.0976562 MiB in 0:0")
    fetch(server.url, path, "sha256", SHA256)
    assert capfd.readouterr().err == ""


def test_the_digest_of_a_large_file_shows_how_far_it_has_come(
    server: Server,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch(server.url, path, "sha256", SHA256)
    capsys.readouterr()
    monkeypatch.setattr(download, "CHUNK", 30_000)
    monkeypatch.setattr(progress, "time", clock_of(6))
    fetch(server.url, path, "sha256", SHA256)
    assert capsys.readouterr().err.splitlines() == [
        "checking file.tar: 0.0286102 of 0.0976562 MiB, 0:14 left",
        "checking file.tar: 0.0976562 of 0.0976562 MiB in 0:24",
    ]


@pytest.mark.parametrize("mood", ["good", "lengthless"])
def test_a_body_larger_than_allowed_is_not_kept(server: Server, path: Path, mood: str) -> None:
    server.mood = mood
    fetch(server.url, path, "sha256", SHA256, largest=len(BODY))
    assert path.read_bytes() == BODY
    path.unlink()
    what = "announces" if mood == "good" else "sends"
    with pytest.raises(InputError, match=f"{what} more than 102,399 bytes"):
        fetch(server.url, path, "sha256", SHA256, largest=len(BODY) - 1)
    assert files(path) == []


@pytest.mark.parametrize("length", ["9" * 4301, "9" * 30, "99999999999"])
def test_a_length_beyond_all_bounds_is_refused(server: Server, path: Path, length: str) -> None:
    server.length = length
    with pytest.raises(InputError, match="announces more than"):
        fetch(server.url, path, "sha256", SHA256)
    assert files(path) == []


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "\u0663", "+5", ""])
def test_a_length_that_is_none_is_left_out(server: Server, path: Path, length: str) -> None:
    server.length = length.encode().decode("latin-1")
    server.mood = "good" if length else "lengthless"
    with contextlib.suppress(InputError):
        fetch(server.url, path, "sha256", SHA256)
        assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://[", "ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://x", "http://",
     "//", "http://a\u0000b/", "https://127.0.0.1:1/x", "http://127.0.0.1:99999/x"],
)  # fmt: skip
def test_a_redirect_to_nowhere_is_one_line(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    server.mood, server.location = "redirecting", location
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 2)
    with pytest.raises(InputError) as error:
        fetch(server.url, path, "sha256", SHA256)
    assert str(error.value).startswith(server.url)
    assert not path.exists()


def test_https_is_not_left_for_http() -> None:
    follow = functools.partial(
        SafeRedirects().redirect_request, fp=None, code=302, msg="", headers={}
    )
    secure = urllib.request.Request("https://a.example/x")
    plain = urllib.request.Request("http://a.example/x")
    for request, address in ((secure, "https://b.example/"), (plain, "http://b.example/"),
                             (plain, "https://b.example/")):  # fmt: skip
        assert follow(request, newurl=address).full_url == address
    for request, address in ((secure, "http://b.example/"), (secure, "ftp://b.example/"),
                             (plain, "file:///etc/passwd")):  # fmt: skip
        with pytest.raises(InputError, match=f"redirects to {address}"):
            follow(request, newurl=address)


def test_a_member_of_a_zip_archive_has_a_largest_size_whatever_it_states(
    server: Server, path: Path
) -> None:
    content = bytes(1_000_000)
    server.body = zip_of("member", content)
    assert len(server.body) < 10_000
    lying = server.body.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    for body in (server.body, lying):
        server.body = body
        with pytest.raises(InputError, match="member in it"):
            fetch(server.url, path, "sha1", "0" * 40, member="member", largest=999_999)
        assert files(path) == []


def test_a_link_that_comes_after_the_look_for_one_is_not_followed(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    part_of(path).symlink_to("mine")
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)
    with pytest.raises(InputError, match=r"file\.tar: cannot be written"):
        fetch(server.url, path, "sha256", SHA256)
    assert not (path.parent / "mine").exists()


def test_a_link_in_the_place_of_a_part_is_not_followed(server: Server, path: Path) -> None:
    path.parent.mkdir()
    (path.parent / "mine").write_bytes(b"mine")
    part_of(path).symlink_to("mine")
    with pytest.raises(InputError, match="is a link, whose target would be overwritten"):
        fetch(server.url, path, "sha256", SHA256)
    part_of(path).unlink()
    path.with_name("file.tar.unpacked").symlink_to("mine")
    server.body = zip_of("member", BODY)
    fetch(server.url, path, "sha256", SHA256, member="member")
    assert (path.parent / "mine").read_bytes() == b"mine"
