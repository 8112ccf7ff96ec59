"""The default without one of its tricks is a track like any other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench import main as bench
from benchmarks.bench_check import problems
from benchmarks.bench_images import of_track
from benchmarks.bench_results import SCHEMA, read_results
from benchmarks.bench_tracks import TRACKS, is_of
from common.errors import InputError
from common.memory import VARIABLE
from common.tricks import TRICKS


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
    with pytest.raises(
        InputError, match="--track without-loss-rows: no trick of mxnet, jax in train, "
    ):
        bench(["--backends", "mxnet,jax", "--track", "default,without-loss-rows", *out])
    with pytest.raises(InputError, match="no trick of torch, mxnet, jax, tf in predict, upsample"):
        bench(["--cases", "predict,upsample", "--track", "default,without-loss-rows", *out])
    assert not (tmp_path / "out").exists()


def test_a_trick_of_training_alone_is_no_track_of_prediction_or_of_a_part() -> None:
    cases = ("train", "epoch", "first_step", "predict", "images", "upsample", "loss")
    of_training = {"train", "epoch", "first_step"}
    for trick, also in (("compile", set()), ("loss-rows", {"loss"})):
        found = {case for case in cases if is_of(f"without-{trick}", "torch", case)}
        assert found == of_training | also


def test_every_trick_has_a_track_and_the_schema_knows_it() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    pattern = schema["$defs"]["row"]["properties"]["track"]["pattern"]
    assert all(re.search(pattern, track) for track in TRACKS)
    for backend, tricks in TRICKS.items():
        own = {track for track in TRACKS if is_of(track, backend, "train")}
        others = {"chapter", "default", "tuned", "without-kept-memory"}
        assert own - others == {f"without-{name}" for name in tricks}
