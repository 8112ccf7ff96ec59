"""The files that the cases of loading draw, and how this project's loader reads them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.cases import CASES, load
from benchmarks.cases.load import expected_batches, files_in, make_files, own_loader
from benchmarks.equal_work.gate import judge
from benchmarks.timing import turns
from common.config import Config
from common.data.dataset import Dataset
from common.errors import InputError
from common.recipes import make_recipe
from common.reference.tolerances import row_limits

RECIPE = make_recipe("chapter-torch", batch_size=2, crop=(32, 64), flip=True)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let an epoch have no more images than a test needs; return how many."""
    monkeypatch.setattr(load, "EPOCH_IMAGES", 8)
    return 8


def stand_in(device: str) -> ModuleType:
    """Return a backend that loads with this project's loader and trains in no time."""
    backend = ModuleType("stand_in")
    vars(backend).update(
        configure=lambda config: None,
        describe=lambda config: {"device": device},
        precisions=lambda config: ("float32",),
        create_state=lambda config, parameters: None,
        train_step=lambda state, *_: (state, None),
        parameters_of=lambda state: {},
        to_device=lambda array, config: array,
        to_host=lambda array: array,
        synchronize=lambda value: None,
    )
    return backend


def test_a_byte_that_differs_is_refused(few: int, tmp_path: Path) -> None:
    inputs = make_files(tmp_path, RECIPE, 0, cached=False)
    expected = expected_batches(inputs, RECIPE, 1)
    other = {name: array.copy() for name, array in expected.items()}
    limits = row_limits(CASES["load"].bounds, "float32", "default", "torch")
    assert judge(CASES["load"], other, expected, inputs, limits)["passed"]
    other["labels"][0, 1, 5, 7] ^= 1
    gate = judge(CASES["load"], other, expected, inputs, limits)
    assert not gate["passed"] and "labels" in str(gate["reason"])


def test_an_epoch_has_batches_for_every_cpu(
    few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "cpu_count", lambda: 5)
    inputs = make_files(tmp_path, RECIPE, 0, cached=False)
    count = 2 * 5 * RECIPE.batch_size
    names = inputs["paths"][0].tolist()
    assert len(set(names)) == len(inputs["plan"]) == count > few
    assert all(Path(name).is_file() for name in inputs["paths"].ravel())
    assert len({Path(name).stat().st_ino for name in names}) == few


@pytest.mark.parametrize(
    "name, device, whole", [("load", "cpu", True), ("epoch", "cpu", False), ("epoch", "GPU", True)]
)
def test_a_turn_of_loading_has_two_batches_for_every_cpu_and_so_has_one_that_feeds_a_gpu(
    name: str,
    device: str,
    whole: bool,
    few: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("benchmarks.cases.load", "common.data.batches"):
        monkeypatch.setattr(f"{module}.cpu_count", lambda: 16)
    case, backend = CASES[name], stand_in(device)
    config = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 64)))
    work = case.work(backend, config, case.inputs("cold", config, tmp_path))
    monkeypatch.setattr(turns.Turn, "work", work, raising=False)
    monkeypatch.setattr("gc.collect", int)  # With four frameworks loaded it takes seconds.
    steps = turns.calibrate(backend, seconds=0.0, least=2)["steps"]
    assert steps == (2 * 16 if whole else 2)


@pytest.mark.parametrize("cached", [True, False])
def test_cached_images_are_kept_however_much_a_training_would_keep(
    cached: bool, few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.data.batches.CACHE_MIB", 0)
    config = Config(RECIPE, threads=1)
    files = files_in(make_files(tmp_path, RECIPE, 0, cached), RECIPE)
    batches = own_loader(stand_in("cpu"), config, files)
    read: list[int] = []
    original = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, i: read.append(i) or original(self, i))
    for _ in batches(files.plan.batches_per_epoch):
        pass
    assert len(read) == (0 if cached else few)


class DrawnError(Exception):
    """The data set would be drawn now."""


@pytest.mark.parametrize(
    "mebibytes, cached, expected",
    [(71, True, InputError), (71, False, DrawnError), (72, True, DrawnError)],
)
def test_images_that_no_memory_could_keep_are_refused_where_they_are_kept(
    mebibytes: int,
    cached: bool,
    expected: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(*_: object, **__: object) -> None:
        raise DrawnError("128 decoded images")

    # They have 87x84 pixels, 40 bytes a pixel in all workers: 35.7 MiB, half of the memory at most.
    memory = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": mebibytes * 2**20}
    monkeypatch.setattr("os.sysconf", memory.get)
    monkeypatch.setattr(load, "cpu_count", lambda: 1)
    monkeypatch.setattr(load, "make_dataset", draw)
    with pytest.raises(expected, match="128 decoded images"):
        make_files(tmp_path, RECIPE, 0, cached)


def test_files_get_further_names_where_there_are_no_hard_links(
    few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(load, "cpu_count", lambda: 3)
    monkeypatch.setattr(Path, "hardlink_to", refused)
    images, _ = make_files(tmp_path / "copied", RECIPE, 0, cached=False)["paths"].tolist()
    first, again = (tmp_path / f"copied/JPEGImages/train_{n:06d}.jpg" for n in (0, few))
    assert str(again) in images and again.read_bytes() == first.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(InputError, match="full: cannot be written .No space left on device"):
        make_files(tmp_path / "full", RECIPE, 0, cached=False)


def test_without_pillow_loading_is_unsupported_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else find(name)
    )
    config = Config(RECIPE)
    for name in ("load", "epoch"):
        with pytest.raises(InputError, match="Pillow, which loading needs"):
            CASES[name].inputs(None, config, tmp_path)
    CASES["predict"].inputs(None, config, tmp_path)
