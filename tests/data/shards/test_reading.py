"""Reading a packed data set: the batches of the folder, from any thread and process."""

import multiprocessing
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from benchmarks.studies.holdout import hold_out
from common.config import Config
from common.data.batches import Loader, plan_epoch
from common.data.check import check_dataset, find_classes, survey
from common.data.dataset import Dataset, open_dataset
from common.data.shards.files import SHARDS, File
from common.data.shards.packing import pack
from common.errors import InputError
from common.recipes import make_recipe
from common.run.training import TrainingData

RECIPE = make_recipe("modern", batch_size=4, crop=(64, 96))


@pytest.fixture(scope="module")
def packed(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed") / "packed"
    pack(generated, root, 20_000)
    return root


def batches(dataset: Dataset, part: tuple[int, int] = (0, 1)) -> list[bytes]:
    loader = Loader(dataset, RECIPE, workers=2, cache_limit=200_000, part=part)
    plans = [plan_epoch(dataset, RECIPE, 3, epoch, training=True) for epoch in range(2)]
    return [
        sha256(b"".join([batch.indices, batch.images, batch.labels])).digest()
        for plan in plans
        for batch in loader.epoch(plan, 0)
    ]


@pytest.mark.parametrize("part", [(0, 1), (1, 2)])
def test_every_batch_is_that_of_the_folder(
    generated: Path, packed: Path, part: tuple[int, int]
) -> None:
    first, second = (open_dataset(root, "train", RECIPE.crop) for root in (generated, packed))
    assert batches(first, part) == batches(second, part)


def test_a_training_knows_it_as_the_same_data(generated: Path, packed: Path) -> None:
    config = Config(RECIPE)
    records = [TrainingData(root, config).describe() for root in (generated, packed)]
    assert [record.pop("root") for record in records] == ["VOC", "packed"]
    assert records[0] == records[1]


def test_what_looks_at_all_label_maps_sees_the_same(generated: Path, packed: Path) -> None:
    assert check_dataset(packed) == check_dataset(generated)
    assert find_classes(packed) == find_classes(generated)
    assert survey(*(open_dataset(packed, split, None) for split in ("train", "val"))) == []


def test_images_are_held_out_of_it_as_of_the_folder(
    generated: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.studies.holdout.LEAST", 1)
    digest = open_dataset(hold_out(generated, tmp_path / "held"), "val", None).digest
    again = open_dataset(hold_out(packed, tmp_path / "held"), "val", None)
    assert again.digest == digest
    assert (tmp_path / "held" / SHARDS).resolve() == (packed / SHARDS).resolve()
    assert not (tmp_path / "held" / "JPEGImages").exists()


def digest_of(file: File) -> bytes:
    return sha256(file.read_bytes()).digest()


def test_threads_and_processes_read_at_once_and_leave_nothing_open(
    generated: Path, packed: Path
) -> None:
    expected = [image for image, _ in open_dataset(generated, "train", None).digests] * 20
    images = [pair.image for pair in open_dataset(packed, "train", None).pairs] * 20
    before = len(list(Path("/dev/fd").iterdir()))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(digest_of, images)) == expected
    assert len(list(Path("/dev/fd").iterdir())) == before
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert processes.map(digest_of, images[:24]) == expected[:24]


def test_an_image_reads_its_own_bytes_and_no_others(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = open_dataset(packed, "train", None).pairs[5].image
    asked: list[tuple[int, int]] = []
    pread = os.pread

    def recorded(descriptor: int, length: int, start: int) -> bytes:
        asked.append((length, start))
        return pread(descriptor, length, start)

    monkeypatch.setattr(os, "pread", recorded)
    size = len(image.read_bytes())
    assert [length for length, _ in asked] == [size] and asked[0][1] > 0


def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def refused(root: Path, message: str) -> None:
    for read in (lambda: open_dataset(root, "train", None), lambda: check_dataset(root)):
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_shard_that_is_missing_cut_short_or_no_file_is_named(
    packed: Path, tmp_path: Path
) -> None:
    root = copy(packed, tmp_path)
    shard = root / SHARDS / "00001.zip"
    data, named = shard.read_bytes(), f"^{re.escape(str(shard))}: "
    shard.write_bytes(data[:-1])
    refused(root, f"{named}has [0-9,]+ bytes, but index.json says [0-9,]+: it is cut short")
    shard.unlink()
    refused(root, f"{named}is missing: copy the folder shards anew")
    os.mkfifo(shard)
    refused(root, f"{named}is a folder or a device")


def test_a_damaged_shard_is_named_with_its_image_when_that_is_read(
    packed: Path, tmp_path: Path
) -> None:
    root = copy(packed, tmp_path)
    whole = open_dataset(root, "train", None)
    shard = root / SHARDS / "00000.zip"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    wrong = []
    for index in range(len(whole.names)):
        try:
            whole.read(index)
        except InputError as error:
            wrong.append(str(error))
    assert len(wrong) == 1 and wrong[0].startswith(f"{shard}/")
    assert "its bytes are not those that index.json names, so the shard is damaged" in wrong[0]
    problems = check_dataset(root).problems
    assert [f"{problem.file}: {problem.what}" for problem in problems] == wrong
    shard.unlink()
    with pytest.raises(InputError, match=f"^{re.escape(str(shard))}: cannot be read"):
        whole.read(0)


def test_an_index_that_is_absent_or_no_index_is_named(packed: Path, tmp_path: Path) -> None:
    root = copy(packed, tmp_path)
    index = root / SHARDS / "index.json"
    text = index.read_text()
    for old, new, message in (
        ('"format": 1', '"format": 2', "format 2, and this program reads 1"),
        ('"00001.zip"', '"../1.zip"', "'../1.zip' does not match"),
        ('"00001.zip"', '"00000.zip"', "names 00000.zip twice"),
        ('"path": "JPEG', '"path": "/etc/JPEG', "is no path of a file in JPEGImages"),
        ('"path": "JPEGImages/', '"path": "JPEGImages/../', "is no path of a file in JPEGImages"),
        ('"start": ', '"start": -', "-[0-9]+ is no whole number of at least 0"),
        ('"start": ', '"start": 99999', "ends behind the end of 00000.zip"),
        ('"bytes": ', '"bytes": 1.', "is no whole number of at least 1"),
        ('"sha256": "', '"sha256": "x', "does not match"),
        ('"height"', '"higth"', "'height'"),
    ):
        assert old in text
        index.write_text(text.replace(old, new, 1))
        refused(root, f"^{re.escape(str(index))}: not the index of a packed data set .*{message}")
    index.unlink()
    refused(root, "index.json: cannot be read .*; expected the index of a packed data set")


def test_a_folder_of_files_has_precedence(generated: Path, packed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(generated, tmp_path / "VOC"))
    (root / SHARDS).mkdir()
    assert isinstance(open_dataset(root, "train", None).pairs[0].image, Path)
