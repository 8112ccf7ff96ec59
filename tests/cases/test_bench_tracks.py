"""The default without one of its tricks is a track like any other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks.cases.tracks import TRACKS, is_of

from benchmarks.cases.images import of_track
from benchmarks.commands.bench import main as bench
from benchmarks.records import results as bench_results
from benchmarks.records.check import problems
from benchmarks.records.results import SCHEMA, read_results
from common.config import DEVICES, Config
from common.errors import InputError
from common.machine import allocator as memory
from common.machine.allocator import VARIABLE
from common.machine.threads import available_cpus
from common.recipes import make_recipe
from common.tricks import TRICKS
from tests.timing.test_bench_faults import SMALL, interpreter

CASES = ("train", "epoch", "first_step", "scale", "predict", "images", "upsample", "loss", "load")
TRAINING = {"train", "epoch", "first_step", "scale"}


def cases_of(track: str, backend: str, device: str = "gpu", upsampling: str = "auto") -> set[str]:
    settings = {"device": device, "upsampling": upsampling}
    return {case for case in CASES if is_of(track, backend, case, settings)}


def with_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine look as if NVIDIA's driver were there."""
    monkeypatch.setattr(memory, "Path", lambda _: folder)
    (folder / "nvidia0").touch()


def test_a_track_without_a_trick_is_proved_and_timed(
    torch_present: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    tracks = ["without-kept-memory", "without-channels-last"]
    options = ["--backends", "torch", "--cases", "predict", "--track", ",".join(tracks)]
    small = ["--crop", "64", "96", "--batch-sizes", "2", "--rounds", "1", "--seconds", "0.01"]
    assert bench([*options, *small, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    document = read_results(tmp_path / "out")
    assert problems(document) == []
    assert [(row["track"], row["status"]) for row in document["rows"]] == [
        (track, "ok") for track in tracks
    ]
    processes = {row["track"]: row["processes"][0] for row in document["rows"]}
    assert {track: p["switches"]["layout"] for track, p in processes.items()} == {
        "without-kept-memory": "channels last",
        "without-channels-last": "NCHW",
    }
    assert [VARIABLE in processes[track]["environment"] for track in tracks] == [False, True]


def test_a_track_without_a_trick_is_held_to_the_answers_of_the_default() -> None:
    expected = {f"{track}/landscape": np.array(track) for track in ("default", "chapter")}
    for track in TRACKS:
        own = "chapter" if track == "chapter" else "default"
        if track != "tuned":
            assert of_track(expected, track) == {"landscape": np.array(own)}


def test_a_track_that_no_chosen_backend_has_is_refused(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match="choose from chapter, default, tuned, without-kept"):
        bench(["--track", "default,without-magic", *out])
    for options, track, same in (
        (["--backends", "mxnet,jax"], "without-loss-rows", "mxnet, jax in train, "),
        (["--cases", "predict,upsample"], "without-loss-rows", "torch, mxnet, jax, tf in predict"),
        (["--device", "cpu"], "without-compile", ".* with --device cpu"),
        (["--device", "gpu"], "without-eigen-convolutions", ".* with --device gpu"),
        (["--device", "gpu"], "without-kept-memory", ".* with --device gpu"),
        (["--upsampling", "native"], "native-upsampling", ".* --upsampling native"),
        (["--cases", "loss,load"], "native-upsampling", ".* in loss, load with"),
        (["--cases", "load"], "without-channels-last", ".* in load with"),
    ):
        with pytest.raises(InputError, match=f"--track {track}: the same as default for {same}"):
            bench([*options, "--track", f"default,{track}", *out])
    assert not (tmp_path / "out").exists()


def test_a_trick_of_training_alone_is_no_track_of_prediction_or_of_a_part() -> None:
    assert cases_of("without-compile", "torch") == TRAINING
    assert cases_of("without-loss-rows", "torch") == {*TRAINING, "loss"}


def test_a_trick_of_one_device_is_a_track_where_that_may_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def devices() -> dict[str, set[str]]:
        return {
            track: {device for device in ("cpu", "gpu", "auto") if cases_of(track, name, device)}
            for track, name in (
                ("without-compile", "torch"),
                ("without-eigen-convolutions", "jax"),
                ("without-kept-memory", "jax"),
                ("without-channels-last", "torch"),
            )
        }

    monkeypatch.setattr(memory, "Path", lambda _: tmp_path)  # No NVIDIA device: auto is the CPU.
    assert list(devices().values()) == [{"gpu"}, {"cpu", "auto"}, {"cpu", "auto"}, {*DEVICES}]
    with_gpu(tmp_path, monkeypatch)  # Until a worker says which, either may compute.
    assert list(devices().values()) == [{"gpu", "auto"}, {"cpu", "auto"}, {"cpu"}, {*DEVICES}]


@pytest.mark.parametrize(
    "mood, device, track",
    [("fine", "CPU", "without-compile"), ("on_gpu", "GPU", "without-eigen-convolutions")],
)
def test_where_the_device_is_known_late_a_row_without_its_trick_is_unsupported(
    mood: str, device: str, track: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(tmp_path, monkeypatch)
    backend = "torch" if device == "CPU" else "jax"
    # What a stand-in can do, for one of these tracks: so that it is its device that matters.
    monkeypatch.setattr(bench_results, "is_of", lambda *_: True)
    options = ["--python", f"{backend}={interpreter(tmp_path, mood)}", "--backends", backend]
    asked = [*options, *SMALL, "--cases", "loss", "--track", f"default,{track}"]
    monkeypatch.setattr("benchmarks.timing.settings.check_tracks", lambda _: None)
    assert bench([*asked, "--out", str(tmp_path / "out")]) == 0
    default, same = read_results(tmp_path / "out")["rows"]
    assert default["status"] == "ok"
    said = f"the same as default where a {device} computes"
    assert (same["status"], same["reason"], same["processes"]) == ("unsupported", said, [])


def test_every_trick_has_a_track_and_the_schema_knows_it() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    pattern = schema["$defs"]["Row"]["properties"]["track"]["pattern"]
    assert all(re.search(pattern, track) for track in TRACKS)
    for backend, tricks in TRICKS.items():
        own = {
            track
            for track in TRACKS
            if cases_of(track, backend, "cpu") | cases_of(track, backend, "gpu")
        }
        others = {"chapter", "default", "tuned", "without-kept-memory", "native-upsampling"}
        assert own - others == {f"without-{name}" for name in tricks} and others <= own


def test_native_upsampling_is_a_track_where_the_default_computes_it_otherwise(
    backend: ModuleType, backend_name: str
) -> None:
    """A backend says itself what is its default, where gradients are wanted and where not."""
    config = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 64)))
    said = backend.switches(config)["upsampling"]
    native_forward = said == "subpixel; without gradients native"
    assert native_forward or said == "subpixel"
    forward = {"predict", "images"}
    found = cases_of("native-upsampling", backend_name)
    assert found == {*TRAINING, "upsample"} | (set() if native_forward else forward)
    given = cases_of("native-upsampling", backend_name, upsampling="subpixel")
    assert given == {*TRAINING, "upsample", *forward}


def test_native_upsampling_is_proved_and_timed(backend_name: str, tmp_path: Path) -> None:
    options = ["--backends", backend_name, "--cases", "train,upsample", "--device", "cpu"]
    small = ["--crop", "32", "64", "--batch-sizes", "2", "--rounds", "1", "--seconds", "0.01"]
    track = ["--track", "native-upsampling", "--out", str(tmp_path / "out")]
    assert bench([*options, *small, *track]) == 0
    document = read_results(tmp_path / "out")
    assert problems(document) == []
    assert [(row["case"], row["status"]) for row in document["rows"]] == [
        ("train", "ok"),
        ("upsample", "ok"),
    ]
    for row in document["rows"]:
        (process,) = row["processes"]
        assert process["switches"]["upsampling"] == "native"
        assert process["cpus"] == available_cpus()
