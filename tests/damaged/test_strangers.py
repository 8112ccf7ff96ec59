"""What strangers bring beside damage: other kinds of files and folders, in one line each."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.images import read_image
from common.data.lists import list_path
from common.data.masks import read_label
from common.errors import InputError
from tests.damaged.damage import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_of_another_format_is_named(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((32, 32, 3), 9, np.uint8)).save(path, form)
    with pytest.raises(InputError, match=f"(?i)a.jpg: not in .*: it is a {form}.*, convert it"):
        read_image(path)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\n<!DOCTYPE html>", "failed download"),
        (b"\xff\xd8\xff\xe0", "not in the format PNG: it is a JPEG, which has changed the labels"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (b"anything", "not in the format PNG"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=f"a.png: .*{words}"):
        read_label(tmp_path / "a.png")


@pytest.mark.parametrize("which", ["JPEGImages/{}.png", "SegmentationClass/{}.png", "list"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_place_of_a_file_is_refused_at_once(
    which: str, make: object, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(generated, tmp_path / "VOC")
    name = list_path(root, "train").read_text(encoding="utf-8").split()[0]
    path = list_path(root, "val") if which == "list" else root / which.format(name)
    if not path.exists():
        path = path.with_suffix(".jpg")
    path.unlink()
    make(path)  # type: ignore[operator]
    status, answer = run(["data", "check", str(root)], capsys)
    assert status == 1
    assert answer == f"{path}: is a folder or a device, not a file\n"


def test_a_data_set_of_huge_images_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size in (["100000", "100000"], ["64", str(2**62)]):
        status, line = run(["data", "make", str(tmp_path / "d"), "--size", *size], capsys)
        assert status == 2 and "has more than 50,000,000 pixels" in line
    assert not (tmp_path / "d").exists()


def test_a_current_folder_that_was_removed_is_said(generated: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "other").mkdir()
    program = (
        "import os, sys; os.rmdir(os.getcwd()); from benchmarks.cli import main; sys.exit(main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "data", "check", "../other"],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (
        2,
        "error: the current folder: No such file or directory\n",
    )


@pytest.mark.parametrize("rate", ["1e39", "1e300"])
def test_a_rate_beyond_float32_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--backend", "torch", "--data", "absent", "--out", "absent-run"]
    status, line = run(["train", *options, "--learning-rate", rate], capsys)
    assert status == 2 and "is too large: at most 3.4e+38" in line
