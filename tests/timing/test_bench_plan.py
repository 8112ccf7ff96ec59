"""Which rows are planned, and what is made of their samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.bench_text import table
from benchmarks.records import results as bench_results
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.results import Results, new_document, summarize
from benchmarks.timing import conductor as bench_parent
from benchmarks.timing.limits import limit_of
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment, cpus_limited
from common.machine.threads import available_cpus
from tests.support.bench_sample import sample_bench


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "backends": ["torch", "jax"],
        "cases": ["first_step"],
        "tracks": ["default"],
        "batch_sizes": [2],
        "crop": [64, 96],
        "recipe": "chapter-torch",
        "backbone": "resnet18_v1",
        "precisions": ["float32", "bfloat16"],
        "device": "auto",
        "upsampling": "auto",
        **changes,
    }


def test_loading_is_planned_for_both_tracks_and_once_for_all_precisions() -> None:
    rows = new_document(settings(cases=["load", "predict", "accuracy"]))["rows"]
    loads = [(row["variant"], row["track"], row["backend"]) for row in rows if row["variant"]]
    assert len(loads) == len(set(loads)) == 8
    assert {track for _, track, _ in loads} == {"default", "chapter"}
    assert [row["case"] for row in rows if row["variant"] is None] == ["predict"] * 4


@pytest.mark.parametrize(
    "gpus, device, keep", [(0, "auto", ["jax"]), (1, "cpu", ["jax"]), (1, "auto", ["torch", "jax"])]
)
def test_a_start_with_programs_compiled_before_is_planned_where_there_is_one(
    gpus: int, device: str, keep: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_results, "gpu_count", lambda: gpus)
    tracks = ["default", "chapter"]
    rows = new_document(settings(precisions=["float32"], tracks=tracks, device=device))["rows"]
    found = [(row["variant"], row["track"], row["backend"]) for row in rows]
    assert found[4:] == [("cached", "default", name) for name in keep]
    assert {variant for variant, *_ in found[:4]} == {None}


def test_a_track_without_a_trick_is_planned_where_the_trick_is() -> None:
    tracks = ["default", "without-loss-rows", "without-kept-memory"]
    rows = new_document(settings(cases=["train"], precisions=["float32"], tracks=tracks))["rows"]
    assert [(row["track"], row["backend"]) for row in rows] == [
        ("default", "torch"),
        ("default", "jax"),
        ("without-loss-rows", "torch"),
        ("without-kept-memory", "torch"),
        ("without-kept-memory", "jax"),
    ]


def test_scaling_is_planned_up_to_all_threads_and_no_further() -> None:
    def planned(threads: int) -> list[str]:
        rows = new_document(
            settings(cases=["scale"], precisions=["float32"], device="cpu", threads=threads)
        )["rows"]
        return [row["variant"] for row in rows if row["backend"] == "jax"]

    assert planned(1) == ["threads-1"]
    assert planned(2) == ["threads-1", "threads-2"]
    assert planned(6) == ["threads-1", "threads-2", "threads-4", "threads-6"]


class Rates:
    """Stands in for a worker: each thread does one operation and moves two bytes a second."""

    def __enter__(self) -> Rates:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, task: str, timeout: float, config: dict[str, Any], seconds: float) -> Any:
        assert config["devices"] == 1
        return {"flops_per_second": config["threads"], "bytes_per_second": 2 * config["threads"]}


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_row_of_scale_is_held_to_what_its_own_threads_or_devices_can_do(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_results, "gpu_count", lambda: gpus)
    monkeypatch.setattr(bench_parent, "start_worker", lambda *_, **__: Rates())
    document = sample_bench()
    asked = {**document["settings"], "cases": ["scale", "train"], "threads": 4, "device": "auto"}
    document = new_document({**asked, "batch_sizes": [1, 2], "tracks": ["default"]})
    for row in document["rows"]:
        bench_parent.measure_limits(Results(tmp_path, document), row)
    found = {
        (row["case"], row["variant"]): limit_of(row, document["limits"])["flops_per_second"]
        for row in document["rows"]
    }
    threads = {("scale", f"threads-{n}"): n for n in (1, 2, 4)}
    devices = {("scale", f"devices-{n}"): 4 * n for n in (1, 2)}
    assert found == {**(devices if gpus else threads), ("train", None): 4}
    assert len(document["limits"]) == (1 if gpus else 4)
    assert limit_of({**document["rows"][0], "precision": "bfloat16"}, document["limits"]) is None


def test_a_precisions_limits_are_measured_when_its_first_rows_are_due_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, done = sample_bench(), []
    given = {**document["settings"], "cases": ["predict", "loss"], "backends": ["torch"]}
    given |= {"threads": 1, "batch_sizes": [2, 1], "precisions": ["bfloat16", "float32"]}
    results = Results(tmp_path, new_document({**given, "tracks": ["default"]}))

    class Measured(Rates):
        def ask(self, task: str, timeout: float, config: dict[str, Any], seconds: float) -> Any:
            done.append(config["precision"])
            return super().ask(task, timeout, config, seconds)

    def measured(_: Results, rows: list[dict[str, Any]], *__: Any) -> None:
        rows[0]["status"] = "ok"
        done.append(tuple(rows[0][name] for name in ("case", "batch_size", "precision")))
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(bench_parent, "start_worker", lambda *_, **__: Measured())
    monkeypatch.setattr(bench_parent, "run_group", measured)
    with pytest.raises(KeyboardInterrupt):
        bench_parent.run(results)
    assert done == ["bfloat16", ("predict", 2, "bfloat16")]
    bench_parent.run(results)  # As one that is resumed.
    assert done[2:4] == [("loss", 2, "bfloat16"), "float32"]
    assert len(done) == 2 + 8 and set(results.document["limits"]) == {"bfloat16", "float32"}


def test_a_worker_may_use_as_many_cpus_as_it_has_threads(tmp_path: Path) -> None:
    before = available_cpus()
    with cpus_limited(1), Worker("torch", backend_environment(1), tmp_path / "log") as worker:
        worker.ask("timing.turns.ready", 60)
        allowed = os.sched_getaffinity(worker.pid)
    assert allowed == set(before[:1]) and available_cpus() == before


def test_a_slow_start_is_paid_back_by_faster_steps() -> None:
    document = new_document(
        settings(
            backends=["torch"],
            tracks=["chapter", "tuned"],
            precisions=["float32"],
            rounds=3,
            seed=0,
        )
    )
    # Starts of 4 and 10 s, steps of 3 and 1 s: even after the 4th step, 4 + 9 = 10 + 3.
    for row, start, first, step in zip(
        document["rows"], (4.0, 10.0), (3.5, 6.0), (3.0, 1.0), strict=True
    ):
        row["processes"] = [
            {
                "first_seconds": first,
                "step_seconds": step,
                "create_seconds": 0.1,
                "host_memory_peak_bytes": 1,
                "device_memory_peak_bytes": None,
                "backend": {"device": "cpu"},
            }
        ] * 3
        row["samples"] = [
            {
                "round": number,
                "turn": 0,
                "seconds": start,
                "dropped": None,
                "process": number,
                "asleep_cpu_share": 0.0,
                "slept_seconds": 0.0,
                "other_cpu_share": None,
            }
            for number in range(3)
        ]
        row["status"] = "ok"
        summarize(document, row)
        assert row["warnings"] == []
    compare_rows(document)
    quick, slow = (row["figures"] for row in document["rows"])
    assert quick["break_even"] is None and quick["compile_seconds"] == 0.5
    assert slow["step_seconds"]["median"] == 10 and slow["compile_seconds"] == 5
    assert slow["break_even"] == {"against": document["rows"][0]["key"], "steps": 4}
    assert "0.50 s     -" in table(document) and "5.00 s     4 steps" in table(document)


def test_what_compiling_pays_back_is_asked_of_a_backends_own_tracks_and_not_of_loading() -> None:
    document = sample_bench()
    for row in document["rows"]:  # The track `default` has the faster step.
        for process in row["processes"]:
            process["first_seconds"] += row["track"] == "default"
    for row in document["rows"]:
        if row["status"] == "ok":
            summarize(document, row)
    compare_rows(document)
    against = {
        (row["backend"], row["track"], row["figures"]["break_even"]["against"].split("/")[1])
        for row in document["rows"]
        if row["figures"] and row["figures"]["break_even"]
    }
    assert against == {(name, "default", name) for name in ("torch", "jax", "tf")}
    for row in document["rows"]:
        row["case"] = "load"
    compare_rows(document)
    assert not any(row["figures"] and row["figures"]["break_even"] for row in document["rows"])


class Recorded:
    """Stands in for a worker: notes what it is asked, and fails when it shall set a case up."""

    def __init__(self, backend: str, asked: list[tuple[str, str]]) -> None:
        self.backend, self.asked = backend, asked

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, task: str, timeout: float, **_: Any) -> None:
        self.asked.append((self.backend, task))
        if self.backend == "mxnet" or task != "timing.turns.ready":
            raise WorkerFailed(f"{self.backend} broke")

    def close(self) -> None:
        pass


def test_no_worker_is_looked_at_while_another_imports_its_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        bench_parent, "start_worker", lambda _, backend, *__, **___: Recorded(backend, asked)
    )
    monkeypatch.setattr(bench_parent, "make_inputs", lambda *_: {})
    monkeypatch.setattr(bench_parent, "reference_of", lambda *_: tmp_path / "expected.npz")
    given = {**sample_bench()["settings"], "cases": ["predict"], "tracks": ["default"]}
    document = new_document({**given, "batch_sizes": [1]})
    config = bench_parent.config_of(document["settings"], document["rows"][0])
    bench_parent.run_group(Results(tmp_path, document), document["rows"], config, tmp_path)
    names = [row["backend"] for row in document["rows"]]
    assert asked[:4] == [(name, "timing.turns.ready") for name in names]
    others = [name for name in names if name != "mxnet"]  # It has failed, and is not asked again.
    assert asked[4:] == [(name, "timing.turns.set_up") for name in others]
    assert [row["reason"] for row in document["rows"]] == [f"{name} broke" for name in names]
