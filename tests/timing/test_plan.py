"""Which rows are planned, and what is made of their samples."""

import os
import re
from pathlib import Path
from typing import Any, Self

import pytest

from benchmarks.pages.bench_text import table
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.documents import Row
from benchmarks.records.figures import reached, summarize
from benchmarks.records.results import Results
from benchmarks.timing import conductor, plan
from benchmarks.timing.group import processes
from benchmarks.timing.proof import opening
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment, cpus_limited
from common.config import Config
from common.machine.threads import available_cpus
from common.parameters.costs import Costs
from common.recipes import make_recipe
from tests.support.bench_sample import planned, process, sample, sample_bench
from tests.support.interpreters import stand_in

FIRST_STEPS: dict[str, Any] = {
    "backends": ["torch", "jax"],
    "cases": ["first_step"],
    "tracks": ["default"],
    "batch_sizes": [2],
}


def rows_of(**changes: Any) -> list[Row]:
    rows: list[Row] = planned(**{**FIRST_STEPS, **changes})["rows"]
    return rows


def test_loading_is_planned_for_both_tracks_and_once_for_all_precisions() -> None:
    rows = rows_of(
        cases=["load", "predict", "accuracy"], precisions=["float32", "bfloat16"], device="auto"
    )
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
    monkeypatch.setattr(plan, "gpu_count", lambda: gpus)
    rows = rows_of(tracks=["default", "chapter"], device=device)
    starts = [(row["variant"], row["track"], row["backend"]) for row in rows]
    assert starts[4:] == [("cached", "default", name) for name in keep]
    assert {variant for variant, *_ in starts[:4]} == {None}


def test_a_track_without_a_trick_is_planned_where_the_trick_is() -> None:
    rows = rows_of(
        cases=["train"], tracks=["default", "without-loss-comparison", "without-kept-memory"]
    )
    assert [(row["track"], row["backend"]) for row in rows] == [
        ("default", "torch"),
        ("default", "jax"),
        ("without-loss-comparison", "jax"),
        ("without-kept-memory", "torch"),
        ("without-kept-memory", "jax"),
    ]


def test_scaling_is_planned_up_to_all_threads_and_no_further() -> None:
    def variants(threads: int) -> list[str | None]:
        rows = rows_of(cases=["scale"], backends=["jax"], threads=threads)
        return [row["variant"] for row in rows]

    assert variants(1) == ["threads-1"]
    assert variants(2) == ["threads-1", "threads-2"]
    assert variants(6) == ["threads-1", "threads-2", "threads-4", "threads-6"]


def test_training_and_prediction_come_first_and_what_compiles_once_more_at_the_end() -> None:
    cases = ["first_step", "epoch", "load", "loss", "predict", "train"]
    document = planned(cases=cases, batch_sizes=[8, 1], precisions=["bfloat16", "float32"])
    order = []
    for rows in plan.groups(document):
        places = {(row["backend"], row["track"]) for row in rows}
        assert len(places) == len(rows) and (len(rows) == 8 or rows[0]["variant"] == "cached")
        order.append((rows[0]["case"], rows[0]["batch_size"], rows[0]["precision"]))
    bf16, f32 = "bfloat16", "float32"
    expected = []
    for batch in (8, 1):
        expected += [(case, batch, bf16) for case in ("predict", "train", "load", "load", "loss")]
        expected += [(case, batch, f32) for case in ("predict", "train", "loss")]
    expected += [("epoch", batch, precision) for batch in (8, 1) for precision in (bf16, f32)]
    assert order[: len(expected)] == expected
    assert {case for case, _, _ in order[len(expected) :]} == {"first_step"} and len(order) == 28


class Rates:
    """Stands in for a worker: each thread does one operation and moves two bytes a second."""

    def __enter__(self) -> Self:
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
    monkeypatch.setattr(plan, "gpu_count", lambda: gpus)
    monkeypatch.setattr(conductor, "start_worker", lambda *_, **__: Rates())
    document = planned(
        cases=["scale", "train"], threads=4, device="auto", batch_sizes=[1, 2], tracks=["default"]
    )
    for row in document["rows"]:
        conductor.measure_limits(Results(tmp_path, document), row)
    limits = {}
    for row in document["rows"]:
        places = [reached(document, row, costs, 1.0) for costs in (Costs(8, 1e-9), Costs(1e-9, 8))]
        limits[row["case"], row["variant"]] = tuple(8 / p["fraction"] for p in places if p)
    threads = {("scale", f"threads-{n}"): (n, 2 * n) for n in (1, 2, 4)}
    devices = {("scale", f"devices-{n}"): (4 * n, 8 * n) for n in (1, 2)}
    assert limits == {**(devices if gpus else threads), ("train", None): (4, 8)}
    assert len(document["limits"]) == (1 if gpus else 4)
    other = document["rows"][0] | {"precision": "bfloat16"}
    assert reached(document, other, Costs(8, 8), 1.0) is None


def test_a_precisions_limits_are_measured_when_its_first_rows_are_due_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    document = planned(
        cases=["predict", "loss"],
        backends=["torch"],
        threads=1,
        batch_sizes=[2, 1],
        precisions=["bfloat16", "float32"],
        tracks=["default"],
    )
    results = Results(tmp_path, document)

    class Measured(Rates):
        def ask(self, task: str, timeout: float, config: dict[str, Any], seconds: float) -> Any:
            done.append(config["precision"])
            return super().ask(task, timeout, config, seconds)

    def measured(_: Results, rows: list[Row], *__: Any) -> None:
        rows[0]["status"] = "ok"
        done.append((rows[0]["case"], rows[0]["batch_size"], rows[0]["precision"]))
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(conductor, "start_worker", lambda *_, **__: Measured())
    monkeypatch.setattr(conductor, "run_group", measured)
    with pytest.raises(KeyboardInterrupt):
        conductor.run(results)
    assert done == ["bfloat16", ("predict", 2, "bfloat16")]
    conductor.run(results)  # As one that is resumed.
    assert done[2:4] == [("loss", 2, "bfloat16"), "float32"]
    assert len(done) == 2 + 8 and set(results.document["limits"]) == {"bfloat16", "float32"}


def test_a_worker_may_use_as_many_cpus_as_it_has_threads(tmp_path: Path) -> None:
    before, python = available_cpus(), str(stand_in(tmp_path, "fine"))
    environment = backend_environment(1)
    with cpus_limited(1), Worker("torch", environment, tmp_path / "log", python) as worker:
        worker.ask("timing.turns.ready", 60)
        allowed = os.sched_getaffinity(worker.process.pid)
    assert allowed == set(before[:1]) and available_cpus() == before


def test_a_slow_start_is_paid_back_by_faster_steps() -> None:
    document = planned(**FIRST_STEPS | {"backends": ["torch"], "tracks": ["default", "chapter"]})
    quick, slow = document["rows"]
    # Starts of 4 and 10 s, steps of 3 and 1 s: even after the 4th step, 4 + 9 = 10 + 3.
    for row, start, first, step in ((quick, 4.0, 3.5, 3.0), (slow, 10.0, 6.0, 1.0)):
        row["processes"] = [process("torch") | {"first_seconds": first, "step_seconds": step}] * 3
        row["samples"] = [sample(n, 0, start) | {"process": n} for n in range(3)]
        row["status"] = "ok"
        summarize(document, row)
        assert row["warnings"] == []
    compare_rows(document)
    quick, slow = (row["figures"] for row in document["rows"])
    assert quick["break_even"] is None and quick["compile_seconds"] == 0.5
    assert slow["step_seconds"]["median"] == pytest.approx(10) and slow["compile_seconds"] == 5
    assert slow["break_even"] == {"against": document["rows"][0]["key"], "steps": 4}
    assert re.search(r"0\.50 s +–", table(document)) and "5.00 s     4 steps" in table(document)


def test_what_compiling_pays_back_is_asked_of_a_backends_own_tracks_and_not_of_loading() -> None:
    document = sample_bench()
    for row in document["rows"]:  # The track `default` has the faster step.
        for one in row["processes"]:
            one["first_seconds"] += row["track"] == "default"
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

    def __enter__(self) -> Self:
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
    question = opening.Question(
        Config(make_recipe("chapter-torch")), tmp_path / "in", tmp_path / "out"
    )
    monkeypatch.setattr(
        processes, "start_worker", lambda _, backend, *__, **___: Recorded(backend, asked)
    )
    monkeypatch.setattr(processes, "make_question", lambda *_: question)
    document = planned(cases=["predict"], tracks=["default"], batch_sizes=[1])
    processes.run_group(
        Results(tmp_path, document), document["rows"], question.config, tmp_path, {}
    )
    names = [row["backend"] for row in document["rows"]]
    assert asked[:4] == [(name, "timing.turns.ready") for name in names]
    others = [name for name in names if name != "mxnet"]  # It has failed, and is not asked again.
    assert asked[4:] == [(name, "timing.turns.set_up") for name in others]
    assert [row["reason"] for row in document["rows"]] == [f"{name} broke" for name in names]
