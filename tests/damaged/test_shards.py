"""Packed data sets that were damaged: the same pixels, or one line that says what is wrong."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.data.shards.files import INDEX, SHARDS
from common.data.shards.packing import pack
from common.data.synthetic import make_dataset
from common.errors import InputError
from tests.damaged.damage import check_line, damaged_bytes
from tests.machine.memory import within


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    make_dataset(folder / "VOC", train=3, val=2, size=(64, 64), seed=0)
    pack(folder / "VOC", folder / "packed", 12_000)
    return folder / "packed"


def pixels(root: Path) -> list[bytes]:
    """Return every image and label map of a data set."""
    datasets = [open_dataset(root, split, None) for split in ("train", "val")]
    return [
        array.tobytes()
        for dataset in datasets
        for index in range(len(dataset.names))
        for array in dataset.read(index)
    ]


@pytest.mark.parametrize("name", ["00000.zip", "00001.zip", INDEX])
def test_a_damaged_file_is_refused_or_changes_nothing(
    packed: Path, tmp_path: Path, name: str
) -> None:
    root = Path(shutil.copytree(packed, tmp_path / "packed"))
    path = root / SHARDS / name
    content, right = path.read_bytes(), pixels(root)
    refused = 0
    for data in damaged_bytes(content, 150, seed=len(content)):
        path.write_bytes(data)
        try:
            assert within(16 * 2**20, lambda: pixels(root)) == right
        except InputError as error:
            check_line(str(error))
            refused += 1
    assert refused > 75


def test_shards_in_each_others_place_are_refused(packed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(packed, tmp_path / "packed"))
    first, second = (root / SHARDS / f"0000{number}.zip" for number in (0, 1))
    contents = np.array([first.read_bytes(), second.read_bytes()], object)
    length = max(map(len, contents))
    for path, data in zip((second, first), contents, strict=True):
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"00000\.zip: has .* or of another data set"):
        pixels(root)
    text = (root / SHARDS / INDEX).read_text()
    for path in (first, second):  # As long as each other, they are told apart by their bytes.
        text = text.replace(f'"bytes": {path.stat().st_size},', f'"bytes": {length},')
        path.write_bytes(path.read_bytes().ljust(length, b"\0"))
    (root / SHARDS / INDEX).write_text(text)
    with pytest.raises(InputError, match=r"00000\.zip/.* damaged or of another"):
        pixels(root)
