"""Packing a data set: the same files in few large ones, and nothing lost if it is interrupted."""

import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main as fcn
from common.classes import Classes
from common.data.dataset import RECIPE, open_dataset, own_recipe
from common.data.lists import list_path, read_pairs
from common.data.shards import packing
from common.data.shards.files import INDEX, SHARDS
from common.data.shards.packing import pack
from common.errors import InputError
from common.machine.files import write_text
from common.machine.locks import locked

SMALL = 20_000
"""Bytes of a shard: a few of the generated images."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_packed_data_set_is_the_same_data_set(generated: Path, tmp_path: Path) -> None:
    packed = pack(generated, tmp_path / "packed", SMALL)
    shards = sorted((tmp_path / "packed" / SHARDS).glob("*.zip"))
    assert (packed.train, packed.val, packed.shards) == (12, 6, len(shards)) and len(shards) > 2
    assert packed.bytes == sum(shard.stat().st_size for shard in shards)
    for split in ("train", "val"):
        files = open_dataset(generated, split, None)
        members = open_dataset(tmp_path / "packed", split, None)
        assert members.names == files.names and members.sizes == files.sizes
        assert members.digest == files.digest and members.digests == files.digests
        for index in range(len(files.names)):
            for one, other in zip(members.read(index), files.read(index), strict=True):
                np.testing.assert_array_equal(one, other)


def test_any_program_for_zip_archives_unpacks_the_files(generated: Path, tmp_path: Path) -> None:
    pack(generated, tmp_path / "packed", SMALL)
    for shard in (tmp_path / "packed" / SHARDS).glob("*.zip"):
        with zipfile.ZipFile(shard) as archive:
            assert archive.testzip() is None
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            archive.extractall(tmp_path / "unpacked")
    original = contents(generated)
    lists = {name for name in original if name.startswith("ImageSets")}
    assert contents(tmp_path / "unpacked") == {n: original[n] for n in original.keys() - lists}


def test_the_same_files_make_the_same_bytes_and_can_be_packed_anew(
    generated: Path, tmp_path: Path
) -> None:
    for name, source in (("a", generated), ("b", generated), ("c", tmp_path / "a")):
        pack(source, tmp_path / name, SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")
    assert pack(tmp_path / "a", tmp_path / "one", 2**30).shards == 1
    first, second = (open_dataset(tmp_path / name, "train", None) for name in ("a", "one"))
    assert first.digest == second.digest


def test_lists_of_every_kind_name_the_same_images(generated: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(generated, tmp_path / "VOC"))
    first, second, third = list_path(root, "train").read_text().split()[:3]
    (root / "JPEGImages" / "sub").mkdir()
    (root / "SegmentationClass" / "sub").mkdir()
    (root / "JPEGImages" / f"{second}.jpg").rename(root / "JPEGImages/sub/with blank.JPEG")
    (root / "SegmentationClass" / f"{second}.png").rename(
        root / "SegmentationClass/sub/with blank.PNG"
    )
    lines = f"JPEGImages/{first}.jpg SegmentationClass/{first}.png\r\nsub/with blank\r\n"
    write_text(list_path(root, "train"), f"{lines}VOC/JPEGImages/{third}.jpg\r\n")
    pack(root, tmp_path / "packed", SMALL)
    names = [pair.name for _, pair in read_pairs(tmp_path / "packed", "train")]
    assert names == [first, "sub/with blank", third]
    digests = {open_dataset(path, "train", None).digest for path in (root, tmp_path / "packed")}
    assert len(digests) == 1


def test_the_recipe_of_a_data_set_goes_with_it_and_its_classes(
    generated: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(generated, tmp_path / "VOC"))
    cracks = Classes(("background", "crack"), ((0, 0, 0), (200, 30, 60)))
    write_text(root / "cracks.toml", cracks.to_toml())
    write_text(root / RECIPE, 'preset = "modern"\nbatch_size = 3\nclasses = "cracks.toml"\n')
    for source, out in ((root, "packed"), (tmp_path / "packed", "again")):
        pack(source, tmp_path / out, SMALL)
        recipe = own_recipe(tmp_path / out)
        assert recipe == own_recipe(root) and recipe is not None and recipe.classes == cracks


def test_a_data_set_whose_recipe_cannot_be_read_is_not_packed(
    generated: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(generated, tmp_path / "VOC"))
    write_text(root / RECIPE, 'preset = "modern"\nclasses = "cracks.toml"\n')
    with pytest.raises(InputError, match=r"cracks\.toml: there is no such class list"):
        pack(root, tmp_path / "packed", SMALL)
    assert not (tmp_path / "packed").exists()


def test_a_folder_of_something_else_is_never_replaced(generated: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    pack(generated, other, SMALL)  # Empty, it is as if it were absent.
    before = contents(other)
    with pytest.raises(InputError, match=r"other: is not empty; choose another, or --force"):
        pack(generated, other, SMALL)
    assert contents(other) == before
    pack(generated, other, 2**30, force=True)
    assert contents(other).keys() < before.keys()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"no packed data set, for it has thesis\.tex"):
        pack(generated, other, SMALL, force=True)
    with pytest.raises(InputError, match="has JPEGImages"):
        pack(generated, generated, SMALL, force=True)
    (other / "thesis.tex").unlink()
    with pytest.raises(InputError, match="is what is to be packed"):
        pack(other, other, SMALL, force=True)
    (tmp_path / "link").symlink_to(other)
    for path in (tmp_path / "link", other / SHARDS / INDEX):
        with pytest.raises(InputError, match="is a file or a link"):
            pack(generated, path, SMALL, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "other"]


@pytest.mark.parametrize("name", ["write_json", "write_text", "put_in_place"])
def test_an_interrupted_packing_leaves_what_was_there(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pack(generated, tmp_path / "packed", SMALL)
    before = contents(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack(generated, tmp_path / "packed", 2**30, force=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("failing", [1, 2])
def test_a_packed_data_set_that_cannot_be_replaced_keeps_its_name(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    pack(generated, tmp_path / "packed", SMALL)
    before, rename, calls = contents(tmp_path), Path.rename, []

    def fail_once(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_json", lambda path, value: path.write_text("{}"))
        patch.setattr(packing, "write_text", lambda path, text: None)
        patch.setattr(Path, "rename", fail_once)
        with pytest.raises(InputError, match=r"packed: cannot be written \(Input/output error\)"):
            pack(generated, tmp_path / "packed", 2**30, force=True)
    assert contents(tmp_path) == before


def test_a_data_set_that_a_killed_packing_took_the_name_from_gets_it_back(
    generated: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    pack(generated, packed, SMALL)
    before = contents(tmp_path)
    packed.rename(tmp_path / ".packed.replaced")
    with pytest.raises(InputError, match="packed: is not empty"):
        pack(generated, packed, 2**30)
    assert contents(tmp_path) == before
    packed.rename(tmp_path / ".packed.replaced")
    pack(generated, packed, 2**30, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    assert contents(packed).keys() < {name.removeprefix("packed/") for name in before}


def test_what_a_killed_packing_left_is_removed_by_the_next(generated: Path, tmp_path: Path) -> None:
    for name in (".packed.packing", ".packed.replaced", "packed"):
        (tmp_path / name / SHARDS).mkdir(parents=True)
        (tmp_path / name / SHARDS / "00000.zip").write_text("half")
    (tmp_path / ".packed.packing.lock").write_text("process 1")
    pack(generated, tmp_path / "packed", SMALL, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    assert len(open_dataset(tmp_path / "packed", "val", None).names) == 6


def test_two_cannot_pack_into_one_folder(generated: Path, tmp_path: Path) -> None:
    lock = tmp_path / ".packed.packing.lock"
    with (
        locked(lock, "it", wait=False),
        pytest.raises(InputError, match=r"packed: is being written by process \d+ on"),
    ):
        pack(generated, tmp_path / "packed", SMALL)


def test_a_wrong_line_or_file_is_named_before_a_folder_appears(
    generated: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(generated, tmp_path / "VOC"))
    name = list_path(root, "val").read_text().split()[3]
    path = root / "JPEGImages" / f"{name}.jpg"
    data = path.read_bytes()
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: not in the format"):
        pack(root, tmp_path / "packed", SMALL)
    path.unlink()
    with pytest.raises(InputError, match=f"val.txt: line 4 names {name}, but JPEGImages has no"):
        pack(root, tmp_path / "packed", SMALL)
    path.write_bytes(data)
    if os.geteuid():  # The superuser may read everything.
        path.chmod(0)
        with pytest.raises(InputError, match=f"^{re.escape(str(path))}: cannot be read"):
            pack(root, tmp_path / "packed", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["VOC"]


def test_the_command_says_what_it_packed(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my packed"
    options = ["data", "pack", str(generated), "--out", str(out)]
    assert fcn([*options, "--shard-mib", "1"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    size = (out / SHARDS / "00000.zip").stat().st_size
    counts = "12 training and 6 validation images"
    assert first == f"{out}: {counts}, {size:,} bytes in 1 shard"
    assert last == f"next: fcn data check '{out}'"
    assert fcn(["data", "check", str(out)]) == 0
    assert f"{out}: {counts}, 0 problems" in capsys.readouterr().err
    assert fcn(options) == 2
    assert fcn([*options, "--force", "--shard-mib", "0"]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == ["error: --shard-mib 0: choose 1 or more"]
