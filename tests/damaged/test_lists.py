"""Lists of a data set that were damaged: each line means one of its images, or is refused."""

import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from common.data.images import write_image
from common.data.lists import list_path, read_pairs
from common.data.masks import write_label
from common.errors import InputError
from tests.damaged.damage import check_line, damaged_bytes, run

NAMES = ["2007_000032", "2007_000033", "my image 1", "v1.2", "sub/c", "Grüße", "0", "-1"]
LISTS = [
    "\n".join(NAMES).encode() + b"\n",
    "\r\n".join(f"JPEGImages/{n}.jpg SegmentationClass/{n}.png" for n in NAMES[:2]).encode(),
    "\n".join(f"/JPEGImages/{name}.jpg" for name in NAMES[:6]).encode(),
    "\n".join(NAMES).encode("utf-16"),
    "\n".join(f'"{name}",1' for name in NAMES).encode("utf-8-sig"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outside") / "VOC"
    for name in [*NAMES, "../secret"]:
        write_image(root / f"JPEGImages/{name}.jpg", np.full((32, 32, 3), 9, np.uint8))
        write_label(root / f"SegmentationClass/{name}.png", np.zeros((32, 32), np.uint8))
    for split in ("train", "val"):
        list_path(root, split).parent.mkdir(parents=True, exist_ok=True)
        list_path(root, split).write_text(f"{NAMES[0]}\n", encoding="utf-8")
    return root


def words(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.release)])
def test_a_damaged_list_names_images_of_the_data_set_or_its_lines_are_refused(
    count: int, root: Path
) -> None:
    path, entries, refused = list_path(root, "train"), 0, 0
    for number, whole in enumerate(LISTS):
        for data in damaged_bytes(whole, count, number):
            path.write_bytes(data)
            wrong: list[InputError] = []
            try:
                pairs = list(read_pairs(root, "train", wrong))
            except InputError as error:
                pairs, wrong = [], [error]
            for error in wrong:
                assert str(error).startswith(f"{path}: ")
                refused += 1
            assert len({pair.name for _, pair in pairs}) == len(pairs)
            for _, pair in pairs:
                entries += 1
                assert pair.name in NAMES
                assert pair.image == root / f"JPEGImages/{pair.name}.jpg"
                assert pair.label == root / f"SegmentationClass/{pair.name}.png"
                if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
                    assert words(pair.name) in words(data.decode("utf-8", "ignore"))
    assert entries > count and refused > count


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.release)])
def test_the_check_of_a_data_set_has_a_line_for_each_damaged_line(
    count: int, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, whole in enumerate(LISTS):
        for data in damaged_bytes(whole, count, 1000 + number):
            list_path(root, "train").write_bytes(data)
            status, answer = run(["data", "check", str(root)], capsys)
            assert status in (0, 1, 2)
            assert (status == 1) == bool(answer)
            for line in answer.splitlines():
                assert line.startswith(str(root))
                check_line(line)


def test_a_list_that_names_one_image_again_and_again_is_read_in_moments(root: Path) -> None:
    list_path(root, "train").write_text("v1.2\n" * 20_000 + "x y\n" * 20_000, encoding="utf-8")
    started, wrong = time.perf_counter(), list[InputError]()
    assert len(list(read_pairs(root, "train", wrong))) == 1
    assert len(wrong) == 39_999
    assert time.perf_counter() - started < 60
