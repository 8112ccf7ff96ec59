"""Benchmarks from before a row had several processes are read by today's rules."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands.bench import check
from benchmarks.records import results
from benchmarks.records.documents import Bench
from benchmarks.records.results import read_document
from benchmarks.records.statistics import ONE_PROCESS, PAIRED_TEST
from tests.support.bench_sample import sample_bench


@pytest.fixture
def early() -> Any:
    """A document as early versions wrote it: one process, tests over its turns."""
    document = sample_bench(processes=1, rounds=5)
    del document["settings"]["processes"]
    document["test"]["name"] = "sign-flip permutation test"
    for entry in document["comparisons"]:
        del entry["not_judged"]
        entry |= {"p_value": 0.002, "p_corrected": 0.01, "least_p": 0.01, "differ": True}
    for row in document["rows"]:
        if row["figures"]:
            row["figures"]["self_ratio"]["p_value"] = 0.4
    return document


def write(folder: Path, document: Any) -> Path:
    (folder / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_what_an_early_file_judged_is_judged_no_more(
    early: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = read_document(write(tmp_path, early), Bench)
    assert document["test"]["name"] == PAIRED_TEST
    assert {entry.get("not_judged") for entry in document["comparisons"]} == {ONE_PROCESS}
    before, now = ([row["figures"] for row in each["rows"]] for each in (early, document))
    assert [f and f["step_seconds"] for f in now] == [f and f["step_seconds"] for f in before]
    assert fcn(["bench", "check", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert f"note: {ONE_PROCESS}: a published table needs 5" in shown
    assert fcn(["bench", "diff", str(tmp_path), str(tmp_path)]) == 0
    assert f"not judged: {ONE_PROCESS}" in capsys.readouterr().out


def test_where_samples_give_no_figures_nothing_is_judged(early: Any, tmp_path: Path) -> None:
    row = next(row for row in early["rows"] if row["figures"])
    del row["processes"][0]["host_memory_peak_bytes"]
    document = read_document(write(tmp_path, early), Bench)
    assert document["rows"] == early["rows"]
    assert {entry.get("not_judged") for entry in document["comparisons"]} == {ONE_PROCESS}
    assert not any(entry["differ"] for entry in document["comparisons"])
    assert fcn(["bench", "check", str(tmp_path)]) == 1


def test_an_early_row_that_was_resumed_counts_as_one_process(early: Any, tmp_path: Path) -> None:
    """Only the last of its processes was asked what it used."""
    for row in early["rows"]:
        if row["figures"]:
            first = {**row["processes"][0]}
            del first["host_memory_peak_bytes"], first["device_memory_peak_bytes"]
            row["processes"].insert(0, first)
            for sample in row["samples"]:
                sample["process"] = int(sample["round"] > 1)
    document = read_document(write(tmp_path, early), Bench)
    assert {entry["pairs"] for entry in document["comparisons"]} == {10}
    assert {entry.get("not_judged") for entry in document["comparisons"]} == {ONE_PROCESS}
    assert fcn(["bench", "check", str(tmp_path)]) == 0


@pytest.mark.parametrize("name", ["settings", "rows"])
def test_what_lacks_a_part_is_refused_without_its_schema_too(
    name: str,
    early: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del early[name]
    monkeypatch.setattr(results, "can_check_schema", lambda: False)
    monkeypatch.setattr(check, "can_check_schema", lambda: False)
    assert fcn(["bench", "check", str(write(tmp_path, early))]) == 2
    assert "does not follow the schema" in capsys.readouterr().err


def test_an_early_benchmark_is_not_resumed(
    early: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fcn(["bench", "--resume", str(write(tmp_path, early))]) == 2
    assert "was begun by an earlier `fcn bench`; begin anew" in capsys.readouterr().err


def test_starts_of_early_files_are_as_many_as_rounds(early: Any, tmp_path: Path) -> None:
    """A case that starts processes had one a round, and so a test over processes."""
    for row in early["rows"]:
        row["case"] = "first_step"
        row["key"] = row["key"].replace("predict", "first_step").replace("train", "first_step")
        if row["figures"]:
            row["processes"] *= 5
            row["samples"] = [
                {**sample, "process": sample["round"]}
                for sample in row["samples"]
                if sample["turn"] == 0
            ]
            row["figures"]["steady_seconds"] = 1.0
    early["rows"] = early["rows"][:8]
    keys = {row["key"] for row in early["rows"]}
    early["comparisons"] = [e for e in early["comparisons"] if {e["a"], e["b"]} <= keys]
    document = read_document(write(tmp_path, early), Bench)
    assert {entry["pairs"] for entry in document["comparisons"]} == {5}
    assert not any("not_judged" in entry for entry in document["comparisons"])
    assert any(entry["differ"] for entry in document["comparisons"])
