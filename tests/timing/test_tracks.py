"""Tracks: which backends have rows on one, in which cases, and what a row's process is told."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.commands.bench import main as bench
from benchmarks.records.results import SCHEMAS
from benchmarks.timing import plan
from benchmarks.timing.tracks import TRACKS, code_of, config_of_track, has_rows
from common.config import DEVICES, Config
from common.errors import InputError
from common.machine import allocator
from common.machine.allocator import VARIABLE
from common.machine.threads import WAITING, available_cpus
from common.recipes import make_recipe
from common.tricks import TRICKS
from tests.support.bench_sample import SETTINGS
from tests.support.commands import TINY, stored
from tests.support.interpreters import stand_in

SAME_CONFIGURATION = ("default", "chapter", "without-kept-memory", "without-short-spinning")
TRAINING = {"train", "backward", "epoch", "first_step", "scale"}
CONFIG = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 64)))


def cases_of(track: str, backend: str, device: str = "gpu", upsampling: str = "auto") -> set[str]:
    settings: Any = {**SETTINGS, "device": device, "upsampling": upsampling}
    return {case for case in CASES if has_rows(track, backend, case, settings)}


def with_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine look as if NVIDIA's driver were there."""
    monkeypatch.setattr(allocator, "Path", lambda _: folder)
    (folder / "nvidia0").touch()


def every_track_has_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan rows of a case that takes no time, whatever the track changes."""
    monkeypatch.setattr(plan, "has_rows", lambda *_: True)
    monkeypatch.setattr("benchmarks.timing.settings.check_tracks", lambda _: None)


def test_a_process_is_told_what_its_track_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    every_track_has_rows(monkeypatch)
    tracks = ["default", "without-kept-memory", "without-short-spinning"]
    tracks += ["without-channels-last", "native-upsampling"]
    options = ["--python", f"torch={stand_in(tmp_path, 'fine')}", "--backends", "torch"]
    options += [*TINY, "--processes", "1", "--cases", "loss", "--track", ",".join(tracks)]
    assert bench([*options, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    rows = stored(tmp_path / "out")["rows"]
    assert [(row["track"], row["status"]) for row in rows] == [(track, "ok") for track in tracks]
    processes = {row["track"]: row["processes"][0] for row in rows}
    default = {"upsampling": "auto", "without": []}
    assert {track: process["switches"] for track, process in processes.items()} == {
        "default": default,
        "without-kept-memory": default,
        "without-short-spinning": default,
        "without-channels-last": {**default, "without": ["channels-last"]},
        "native-upsampling": {**default, "upsampling": "native"},
    }
    for variable, track in (
        (VARIABLE, "without-kept-memory"),
        ("GOMP_SPINCOUNT", "without-short-spinning"),
    ):
        assert [t for t in tracks if variable not in processes[t]["environment"]] == [track]
    assert all(process["cpus"] == available_cpus() for process in processes.values())
    assert bench(["check", str(tmp_path / "out")]) == 0


def test_only_the_chapters_track_has_code_and_answers_of_its_own() -> None:
    assert {track for track in TRACKS if code_of(track) != "default"} == {"chapter"}
    for track in TRACKS:
        config = config_of_track(CONFIG, track)
        assert (config == CONFIG) == (track in SAME_CONFIGURATION)


def test_a_track_that_no_chosen_backend_has_is_refused(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match="choose from chapter, default, without-kept"):
        bench(["--track", "default,without-magic", *out])
    for options, track, same in (
        (["--backends", "mxnet,torch"], "without-loss-comparison", "mxnet, torch in train, "),
        (["--cases", "predict,upsample"], "without-loss-comparison", "torch, mxnet, jax, tf in pr"),
        (["--device", "cpu"], "without-compile", ".* with --device cpu"),
        (["--device", "gpu"], "without-eigen-convolutions", ".* with --device gpu"),
        (["--device", "gpu"], "without-kept-memory", ".* with --device gpu"),
        (["--backends", "jax,tf"], "without-short-spinning", "jax, tf in train"),
        (["--device", "gpu"], "without-short-spinning", ".* with --device gpu"),
        (["--upsampling", "native"], "native-upsampling", ".* --upsampling native"),
        (["--cases", "loss,load"], "native-upsampling", ".* in loss, load with"),
        (["--cases", "load"], "without-channels-last", ".* in load with"),
    ):
        with pytest.raises(InputError, match=f"--track {track}: the same as default for {same}"):
            bench([*options, "--track", f"default,{track}", *out])
    assert not (tmp_path / "out").exists()


def test_a_trick_of_training_alone_is_no_track_of_prediction_or_of_a_part() -> None:
    assert cases_of("without-compile", "torch") == TRAINING
    assert cases_of("without-loss-comparison", "jax") == {*TRAINING, "loss"}


def test_a_trick_of_one_device_is_a_track_where_that_may_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def devices() -> list[set[str]]:
        return [
            {device for device in ("cpu", "gpu", "auto") if cases_of(track, name, device)}
            for track, name in (
                ("without-compile", "torch"),
                ("without-eigen-convolutions", "jax"),
                ("without-kept-memory", "jax"),
                ("without-channels-last", "torch"),
            )
        ]

    monkeypatch.setattr(allocator, "Path", lambda _: tmp_path)  # No NVIDIA device: auto is the CPU.
    assert devices() == [{"gpu"}, {"cpu", "auto"}, {"cpu", "auto"}, {*DEVICES}]
    with_gpu(tmp_path, monkeypatch)  # Until a worker says which, either may compute.
    assert devices() == [{"gpu", "auto"}, {"cpu", "auto"}, {"cpu"}, {*DEVICES}]


@pytest.mark.parametrize(
    "mood, device, track",
    [("fine", "CPU", "without-compile"), ("on_gpu", "GPU", "without-eigen-convolutions")],
)
def test_where_the_device_is_known_late_a_row_without_its_trick_is_unsupported(
    mood: str, device: str, track: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(tmp_path, monkeypatch)
    backend = "torch" if device == "CPU" else "jax"
    every_track_has_rows(monkeypatch)
    options = ["--python", f"{backend}={stand_in(tmp_path, mood)}", "--backends", backend]
    options += [*TINY, "--cases", "loss", "--track", f"default,{track}"]
    assert bench([*options, "--out", str(tmp_path / "out")]) == 0
    default, same = stored(tmp_path / "out")["rows"]
    assert default["status"] == "ok"
    reason = f"this track changes nothing where a {device} computes: it has no row"
    assert (same["status"], same["reason"], same["processes"]) == ("unsupported", reason, [])


def test_every_trick_has_a_track_and_the_schema_knows_it() -> None:
    schema = json.loads((SCHEMAS / "bench.json").read_text(encoding="utf-8"))
    pattern = schema["$defs"]["Row"]["properties"]["track"]["pattern"]
    assert all(re.search(pattern, track) for track in TRACKS)
    for backend, tricks in TRICKS.items():
        own = {
            track
            for track in TRACKS
            if cases_of(track, backend, "cpu") | cases_of(track, backend, "gpu")
        }
        of_all = {"chapter", "default", "without-kept-memory", "native-upsampling"}
        openmp = {"without-short-spinning"} if backend in ("torch", "mxnet") else set()
        assert own == of_all | openmp | {f"without-{name}" for name in tricks}


def test_native_upsampling_is_a_track_where_the_default_computes_it_otherwise(
    backend: ModuleType, backend_name: str
) -> None:
    """A backend says itself what is its default, where gradients are wanted and where not."""
    default = backend.switches(CONFIG)["upsampling"]
    native_forward = default == "subpixel; without gradients native"
    assert native_forward or default == "subpixel"
    forward = {"predict", "images"}
    of_track = cases_of("native-upsampling", backend_name)
    assert of_track == {*TRAINING, "upsample"} | (set() if native_forward else forward)
    of_track = cases_of("native-upsampling", backend_name, upsampling="subpixel")
    assert of_track == {*TRAINING, "upsample", *forward}
