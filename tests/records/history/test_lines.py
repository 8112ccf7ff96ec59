"""Rows over time: which files they are followed through, and which step of them is a change."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages.history.words import cell
from benchmarks.records.figures import summarize
from benchmarks.records.history.lines import Stored, history_of, stored_benchmarks
from common.errors import InputError
from tests.support.bench_sample import sample_bench


def documents(count: int) -> list[Any]:
    """Return equal benchmarks of so many days."""
    first = sample_bench(cases=["train"], tracks=["default"], batch_sizes=[8])
    files = [copy.deepcopy(first) for _ in range(count)]
    for day, document in enumerate(files, start=1):
        document["created"] = f"2026-03-0{day}T12:00:00+00:00"
    return files


def change(document: Any, backend: str, times: float, version: str) -> None:
    """Let a backend be of another version and take so many times as long."""
    for row in document["rows"]:
        if row["backend"] == backend:
            row["processes"][-1]["backend"]["versions"] = {backend: version}
            for sample in row["samples"]:
                sample["seconds"] *= times
            summarize(document, row)


def history(files: list[Any]) -> Any:
    return history_of([Stored(Path(f"{n}.json"), document) for n, document in enumerate(files)])


def test_a_release_that_slowed_a_row_is_dated() -> None:
    files = documents(4)
    for document in files[2:]:
        change(document, "torch", 1.1, "2.0")
    told = history(files)
    (panel,) = told.panels
    assert told.once == 0 and [line.points[0].row["backend"] for line in panel.lines] == [
        *("torch", "mxnet", "jax", "tf")
    ]
    assert all(len(line.points) == 4 and len(line.steps) == 3 for line in panel.lines)
    changed = {
        (line.points[0].row["backend"], number): step.change["ratio"]
        for line in panel.lines
        for number, step in enumerate(line.steps)
        if step.change["differ"]
    }
    assert changed == {("torch", 1): pytest.approx(1.1)}
    step = panel.lines[0].steps[1]
    assert (step.before.versions, step.after.versions) == ({"torch": "1.0"}, {"torch": "2.0"})


def other_machine(document: Any) -> None:
    document["hardware"] = {**document["hardware"], "cpus": 999}


def other_card(document: Any) -> None:
    for row in document["rows"]:
        for sample in row["samples"]:
            sample["gpu"] = {"name": "NVIDIA H200"}


def other_recipe(document: Any) -> None:
    document["settings"]["own_recipe"] = {"name": "mine"}


@pytest.mark.parametrize("make_other", [other_machine, other_card, other_recipe])
def test_a_line_never_crosses_machines_or_recipes(make_other: Callable[[Any], None]) -> None:
    files = documents(4)
    for document in files[1::2]:
        make_other(document)
    told = history(files)
    assert len(told.panels) == 2
    for panel, own in zip(told.panels, (files[::2], files[1::2]), strict=True):
        assert [stored.document for stored in panel.files] == own
        assert not any(step.change["differ"] for line in panel.lines for step in line.steps)
    assert history(files[:2]).panels == [] and history(files[:2]).once == 8


def test_rows_of_another_environment_are_not_compared_and_busy_ones_not_judged() -> None:
    files = documents(3)
    row = files[1]["rows"][0]
    row["processes"][-1]["environment"] = {"XLA_FLAGS": "x"}
    change(files[2], "tf", 2.0, "1.0")
    for busy in files[2]["rows"]:
        for sample in busy["samples"]:
            sample["other_cpu_share"] = 0.5 if busy["backend"] == "tf" else 0.0
    (panel,) = history(files).panels
    first, *_, last = panel.lines
    assert first.points[0].row["key"] == row["key"]
    assert first.steps[0].change is None
    assert first.steps[0].reason == "XLA_FLAGS was unset, now x"
    # The third file is like the first one.
    assert first.steps[1].before is first.points[0] and first.steps[1].change["ratio"] == 1
    assert "since 1 Mar 2026" in cell(first, panel.files[2])
    assert "since" not in cell(last, panel.files[2])
    assert last.steps[1].reason is None and not last.steps[1].change["differ"]
    assert "other processes took 50 % of the CPUs" in last.steps[1].change["not_judged"]


def test_files_are_found_below_a_folder_in_the_order_of_time_and_copies_count_once(
    tmp_path: Path,
) -> None:
    files = documents(3)
    kind = "machines/amd-epyc"
    for place, document in (
        ("z", files[0]), ("b/deep", files[1]), ("copy", files[1]), (kind, files[2]),
        (f"{kind}/hosts/one", documents(4)[3]),
    ):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "bench.json").write_text(json.dumps(document))
    stored = stored_benchmarks([tmp_path, tmp_path / "z" / "bench.json"])
    assert [each.path.parent.name for each in stored] == ["z", "deep", "amd-epyc"]
    (tmp_path / "z" / "bench.json").write_text("{}")
    with pytest.raises(InputError, match=r'z/bench\.json: is not a document of the kind "bench"'):
        stored_benchmarks([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no bench\.json, and no folder below does"):
        stored_benchmarks([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"absent: cannot be read"):
        stored_benchmarks([tmp_path / "absent"])
