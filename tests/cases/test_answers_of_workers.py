"""What each case answers for, in a worker of each backend, and what becomes of its samples."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from benchmarks.cases.loading import expected_batches, files_in, make_files, own_loader
from benchmarks.cases.work import make_case

from benchmarks.cases.inputs import AFTER, make_inputs, parameters_in, write_inputs
from benchmarks.commands.bench import main as bench
from benchmarks.equal_work.case_answers import expected_outputs
from benchmarks.equal_work.gate import QUANTITIES, errors_of, verdict
from benchmarks.timing import turns as bench_worker
from benchmarks.workers.client import Worker
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.data.dataset import Dataset
from common.errors import InputError
from common.machine.provenance import resident_peak
from common.recipes import make_recipe

RECIPE = make_recipe("chapter-torch", batch_size=2, crop=(64, 96), flip=True)


@pytest.fixture(scope="module")
def worker(backend_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(backend_name, backend_environment(1), log) as worker:
        yield worker


def answers(
    worker: Worker,
    track: str,
    case: str,
    variant: str | None,
    folder: Path,
    precision: str = "float32",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a worker's case gave, and its inputs."""
    config = Config(RECIPE, threads=1, precision=precision)
    arrays = make_inputs(case, variant, config, folder)
    write_inputs(folder / "inputs.npz", arrays)
    files = {"inputs": str(folder / "inputs.npz"), "outputs": str(folder / "outputs.npz")}
    worker.ask(
        "timing.turns.set_up",
        300,
        backend=worker.backend,
        track=track,
        case=case,
        config=config.to_json(),
        **files,
    )
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs), arrays


@pytest.mark.parametrize("variant", ["cold", "cached"])
@pytest.mark.parametrize("track", ["default", "chapter"])
def test_every_loader_gives_the_same_bytes_and_stops_where_told(
    worker: Worker, track: str, variant: str, tmp_path: Path
) -> None:
    outputs, arrays = answers(worker, track, "load", variant, tmp_path)
    expected = expected_batches(arrays, RECIPE, len(AFTER))
    assert arrays["plan"][: len(AFTER) * RECIPE.batch_size, 3].any(), "no crop is flipped"
    errors = errors_of(outputs, expected, {})
    assert set(errors) == set(QUANTITIES["load"])
    assert verdict(errors, QUANTITIES["load"], "float32", track, worker.backend)["passed"]
    sample = worker.ask("timing.turns.time_turn", 60, steps=70)  # more than the epoch's 64
    assert sample["steps"] == 70 and sample["seconds"] > 0
    peak, own = worker.ask("timing.turns.used", 60, steps=2), resident_peak(worker.process.pid)
    keeps_processes = track == "chapter" and worker.backend in ("torch", "mxnet")
    # A process has some MiB; Linux counts pages for each CPU and sums them up now and then.
    assert (peak["host_memory_peak_bytes"] - own > 2**20) == keeps_processes


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_the_chapters_code_is_not_timed_in_a_precision_that_it_does_not_compute_in(
    worker: Worker, precision: str, tmp_path: Path
) -> None:
    if (worker.backend, precision) == ("torch", "bfloat16"):
        outputs, arrays = answers(worker, "chapter", "upsample", None, tmp_path, precision)
        expected = expected_outputs("upsample", Config(RECIPE), arrays)
        errors = errors_of(outputs, expected, {})
        assert verdict(errors, QUANTITIES["upsample"], precision, "chapter", "torch")["passed"]
        assert not verdict(errors, QUANTITIES["upsample"], "float32", "chapter", "torch")["passed"]
        return
    for case in ("train", "upsample"):
        with pytest.raises(
            InputError, match=f"--precision {precision}: this backend does not offer it"
        ):
            answers(worker, "chapter", case, None, tmp_path, precision)


@pytest.mark.parametrize("case", ["upsample", "loss"])
@pytest.mark.parametrize("track", ["default", "chapter"])
def test_a_part_of_a_step_gives_what_the_reference_gives(
    worker: Worker, track: str, case: str, tmp_path: Path
) -> None:
    outputs, arrays = answers(worker, track, case, None, tmp_path)
    expected = expected_outputs(case, Config(RECIPE), arrays)
    errors = errors_of(outputs, expected, {})
    assert set(errors) == set(QUANTITIES[case])
    assert verdict(errors, QUANTITIES[case], "float32", track, worker.backend)["passed"]
    for name in expected:
        wrong = {**expected, name: expected[name] * 1.001}
        errors = errors_of(outputs, wrong, {})
        assert not verdict(errors, QUANTITIES[case], "float32", track, worker.backend)["passed"], (
            name
        )


def test_a_byte_that_differs_is_refused(tmp_path: Path) -> None:
    expected = expected_batches(make_files(tmp_path, RECIPE, 0, cached=False), RECIPE, 1)
    other = {name: array.copy() for name, array in expected.items()}
    other["labels"][0, 1, 5, 7] ^= 1
    found = verdict(
        errors_of(other, expected, {}), QUANTITIES["load"], "float32", "default", "torch"
    )
    assert not found["passed"] and "labels" in found["reason"]


def test_an_epoch_has_batches_for_every_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.cases.loading.available_cpus", lambda: list(range(70)))
    arrays = make_files(tmp_path, RECIPE, 0, cached=False)
    count = 2 * 70 * RECIPE.batch_size
    names = arrays["paths"][0].tolist()
    assert len(set(names)) == len(arrays["plan"]) == count > 128
    assert all(Path(name).is_file() for name in arrays["paths"].ravel())
    assert len({Path(name).stat().st_ino for name in names}) == 128


@pytest.mark.parametrize("case", ["load", "epoch"])
@pytest.mark.parametrize("device", ["cpu", "a GPU's name"])
def test_a_turn_of_loading_has_two_batches_for_every_cpu_and_so_has_one_that_feeds_a_gpu(
    device: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("benchmarks.cases.loading", "common.data.batches"):
        monkeypatch.setattr(f"{module}.available_cpus", lambda: list(range(16)))
    config = Config(make_recipe("chapter-torch", batch_size=8, crop=(64, 96)))
    write_inputs(tmp_path / "inputs.npz", make_inputs(case, "cold", config, tmp_path))
    backend = stand_in(device)
    timed = make_case(backend, case, config, str(tmp_path / "inputs.npz"))
    monkeypatch.setattr(bench_worker.Turn, "case", timed, raising=False)
    steps = bench_worker.calibrate(backend, seconds=0.0, least=2)["steps"]
    assert steps == (2 if (case, device) == ("epoch", "cpu") else 2 * 16)


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


@pytest.mark.parametrize("cached, decoded", [(True, 0), (False, 128)])
def test_cached_images_are_kept_however_much_a_training_would_keep(
    cached: bool, decoded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.data.batches.CACHE_MIB", 1)
    config = Config(RECIPE, threads=1)
    files = files_in(make_files(tmp_path, RECIPE, 0, cached), RECIPE)
    batches = own_loader(stand_in("cpu"), config, files)
    read, original = [], Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, i: read.append(i) or original(self, i))
    for _ in batches(64):
        pass
    assert len(read) == decoded


def test_images_that_no_memory_could_keep_are_refused_where_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 128 images of 119x116 pixels, 40 bytes a pixel in all workers: 67.4 MiB.
    for mebibytes, refused in ((130, True), (140, False)):
        found = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": mebibytes * 2**20}
        monkeypatch.setattr("benchmarks.cases.loading.os.sysconf", found.get)
        make_files(tmp_path / f"cold-{mebibytes}", RECIPE, 0, cached=False)
        with pytest.raises(InputError, match="128 decoded") if refused else nullcontext():
            make_files(tmp_path / f"cached-{mebibytes}", RECIPE, 0, cached=True)


def test_files_get_further_names_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("benchmarks.cases.loading.available_cpus", lambda: list(range(33)))
    monkeypatch.setattr(Path, "hardlink_to", refused)
    images, _ = make_files(tmp_path / "copied", RECIPE, 0, cached=False)["paths"].tolist()
    first, again = (tmp_path / f"copied/JPEGImages/train_{n:06d}.jpg" for n in (0, 128))
    assert str(again) in images and again.read_bytes() == first.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(InputError, match="full cannot be written: No space left on device"):
        make_files(tmp_path / "full", RECIPE, 0, cached=False)


def test_without_pillow_loading_is_unsupported_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else found(name)
    )
    config = Config(RECIPE)
    for case in ("load", "epoch"):
        with pytest.raises(InputError, match="Pillow, which loading needs"):
            make_inputs(case, None, config, tmp_path)
    make_inputs("predict", None, config, tmp_path)


def test_a_second_step_that_is_left_out_or_too_long_is_refused_even_in_bfloat16(
    backend_name: str, tmp_path: Path
) -> None:
    with Worker(backend_name, backend_environment(1), tmp_path / "log") as worker:
        try:
            outputs, arrays = answers(worker, "default", "train", None, tmp_path, "bfloat16")
        except InputError as error:  # MXNet's asks for a CPU with AVX-512.
            pytest.skip(str(error))
    expected, start = expected_outputs("train", Config(RECIPE), arrays), parameters_in(arrays)
    found = verdict(
        errors_of(outputs, expected, start),
        QUANTITIES["train"],
        "bfloat16",
        "default",
        backend_name,
    )
    assert found["passed"], found["reason"]
    for length in (0.0, 0.125, 0.5, 2.0):
        wrong = dict(outputs)
        for name in start:
            first, second = (outputs[after + name] for after in AFTER)
            wrong[AFTER[1] + name] = first + length * (second - first)
        found = verdict(
            errors_of(wrong, expected, start),
            QUANTITIES["train"],
            "bfloat16",
            "default",
            backend_name,
        )
        assert not found["passed"] and "second_step" in found["reason"], length


def test_an_epoch_trains_on_what_it_loaded(worker: Worker, tmp_path: Path) -> None:
    outputs, arrays = answers(worker, "default", "epoch", None, tmp_path)
    expected = expected_outputs("epoch", Config(RECIPE), arrays)
    start = parameters_in(arrays)
    errors = errors_of(outputs, expected, start)
    assert set(errors) == set(QUANTITIES["epoch"])
    assert verdict(errors, QUANTITIES["epoch"], "float32", "default", worker.backend)["passed"]
    arrays["images"] = arrays["images"][::-1]  # Other batches than those of the plan.
    expected = expected_outputs("epoch", Config(RECIPE), arrays)
    errors = errors_of(outputs, expected, start)
    assert not verdict(errors, QUANTITIES["epoch"], "float32", "default", worker.backend)["passed"]
    worker.ask("timing.turns.time_turn", 60, steps=2)


@pytest.mark.release
def test_every_case_ends_with_figures_in_both_tracks(tmp_path: Path) -> None:
    cases = "train,predict,upsample,loss,load,epoch,first_step,scale"
    options = ["--backends", "torch", "--cases", cases, "--track", "chapter,default"]
    options += ["--crop", "64", "96", "--batch-sizes", "2", "--rounds", "3", "--seconds", "0.1"]
    out = tmp_path / "out"
    assert bench([*options, "--out", str(out)]) == 0
    rows = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert {row["status"] for row in rows} == {"ok"}
    assert [row["case"] for row in rows if row["case"] not in ("load", "scale")] == [
        case for case in cases.split(",") if case not in ("load", "scale") for _ in range(2)
    ]
    for row in rows:
        if row["case"] == "first_step":
            assert [sample["process"] for sample in row["samples"]] == [0, 1, 2]
            first = row["figures"]["first_step_seconds"]
            assert all(sample["seconds"] > first for sample in row["samples"])
            assert row["figures"]["steady_seconds"] < first
    assert bench(["check", str(out)]) == 0
