"""`fcn bench check FILE --markdown`: a table for a README."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from benchmarks.pages.bench_text import table
from benchmarks.records.statistics import ONE_PROCESS
from tests.support.bench_sample import sample_bench


def test_every_row_of_train_has_a_line_and_the_other_cases_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(json.dumps(sample_bench()))
    document["settings"]["rounds"] += 1  # A contradiction, to be said beside the table.
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert fcn(["bench", "check", str(file), "--markdown"]) == 1
    shown = capsys.readouterr()
    assert "problem: " in shown.err and "problem: " not in shown.out
    first, second = shown.out.split("\n\nExamples/s")[:2]
    for shown_table, batch in ((first, 1), (second, 8)):
        lines = [line for line in shown_table.splitlines() if line.startswith("|")]
        assert (
            lines[0] == "| backend | track | train | of the limit | predict | first step | memory |"
        )
        cells = {tuple(line.strip("| ").split(" | ")[:2]): line.split(" | ") for line in lines[2:]}
        assert len(cells) == 8
        for row in document["rows"]:
            if row["batch_size"] != batch:
                continue
            cell = cells[row["title"], row["track"]][2 if row["case"] == "train" else 4]
            if row["status"] != "ok":
                assert cell == row["status"]
            else:
                median = row["figures"]["examples_per_second"]["median"]
                assert float(cell.split()[0]) == pytest.approx(median, rel=5e-3)


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        (1, f"{ONE_PROCESS}: a published table needs 5"),
        (4, "4 processes a row tell only large differences: a table needs 5"),
        (5, None),
    ],
)
def test_processes_too_few_for_a_published_table_are_said(
    processes: int, said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = sample_bench(processes=processes)
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert fcn(["bench", "check", str(file)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "table needs" in line]
    assert notes == ([f"note: {said}"] if said else [])
    assert fcn(["bench", "check", str(file), "--markdown"]) == 0
    shown = capsys.readouterr()
    captions = [line for line in shown.out.splitlines() if line.endswith("table needs 5.")]
    assert captions == ([f"{said[0].upper()}{said[1:]}."] * 2 if said else [])  # Once a table.
    assert (f"note: {said}\n" in shown.err) == (said is not None)


def test_results_without_training_have_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = sample_bench()
    document["rows"] = [row for row in document["rows"] if row["case"] != "train"]
    document["comparisons"] = []
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    assert fcn(["bench", "check", str(file), "--markdown"]) == 2
    assert "no measured row of the case train" in capsys.readouterr().err


def test_what_was_not_reached_has_no_table_and_one_line_of_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(json.dumps(sample_bench()))
    document["comparisons"] = []
    for row in document["rows"]:
        if row["batch_size"] == 1 or row["case"] != "train":
            row |= {"status": "running", "figures": None, "samples": [], "processes": []}
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    fcn(["bench", "check", str(file), "--markdown"])
    shown = capsys.readouterr().out
    assert shown.count("| backend |") == 1 and "batch 8" in shown and "| predict |" not in shown
    text = table(document)
    assert text.count("\nbackend ") == 1 and text.endswith(
        "\n\nnot measured when the benchmark ended:\n"
        "  train, batch 1, float32\n  predict, batch 1, float32\n  predict, batch 8, float32\n\n"
        "`fcn bench --resume DIR` continues it"
    )
