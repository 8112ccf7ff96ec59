"""The page of a history has each change with its date, and every number of its pictures."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands.bench.history import command_of
from benchmarks.pages.history import words
from benchmarks.pages.history.page import render_page
from benchmarks.records.documents import Bench
from benchmarks.records.history.lines import History, Stored, history_of
from benchmarks.records.results import read_document
from benchmarks.records.statistics import PROCESSES
from benchmarks.timing.settings import bench_parser, settings_from
from common.options import parsed
from tests.records.history.test_lines import change, documents

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture
def files() -> list[Any]:
    """Three benchmarks; PyTorch 2.0 is slower, and the page may not take its word for code."""
    files = documents(3)
    for document in files[1:]:
        change(document, "torch", 1.25, "2.0<b>")
    for number, document in enumerate(files):
        document["commit"] = f"{number}" * 40
    return files


@pytest.fixture
def history(files: list[Any]) -> History:
    return history_of([Stored(Path(f"{n}.json"), document) for n, document in enumerate(files)])


def test_a_change_is_dated_with_versions_code_and_the_other_rows(history: History) -> None:
    ((row, between, ratio, others, what),) = words.change_rows(history)
    assert row.startswith("PyTorch default, train, batch 8, float32, ")
    assert between == "from 1 Mar 2026, 12:00 to 2 Mar 2026, 12:00"
    assert ratio.startswith("1.250 [1.") and others == "1.000 (3 rows)"
    assert what == "torch 1.0 -> 2.0<b>; code 0000000 -> 1111111"
    assert words.verdict(history).startswith(
        "Of 3 files, 4 rows can be followed on one kind of machine; 1 of 8 steps show a change "
        "from one file to a later one. The largest slowdown: PyTorch default, train, batch 8"
    )


def test_the_page_has_every_number_and_a_picture_of_each_table(history: History) -> None:
    page = render_page(history, ["fcn bench --seed 7"] * 3)
    assert page.count("<figure>") == 1 and "2.0&lt;b&gt;" in page and "2.0<b>" not in page
    (panel,) = history.panels
    rows = words.number_rows(panel)
    assert [row[2] for row in rows] == [
        "torch 1.0, mxnet 1.0, jax 1.0, tf 1.0",
        "torch 2.0<b>",
        "–",
    ]
    assert rows[1][3].endswith("(slower)") and rows[2][3].endswith("(no change shown)")
    for cells in rows:
        assert all(cell.replace("<b>", "&lt;b&gt;") in page for cell in cells)
    assert page.count("fcn bench --seed 7") == 3
    assert all(f"{number}.json" in page for number in range(3))


def test_one_file_alone_has_nothing_to_compare(files: list[Any]) -> None:
    alone = history_of([Stored(Path("a.json"), files[0])])
    assert words.verdict(alone).startswith("1 file, and no row that two of them have figures of")
    assert "4 rows with figures stand in one file alone" in render_page(alone, ["fcn bench"])


def test_the_command_writes_the_page_and_says_its_verdict(
    files: list[Any], history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, document in enumerate(files):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "bench.json").write_text(json.dumps(document))
    page = tmp_path / "new" / "page.html"
    assert fcn(["bench", "history", str(tmp_path), "--out", str(page)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [words.verdict(history), str(page)]
    path = tmp_path / "0" / "bench.json"
    assert f"{path}: contradicts itself" not in printed.err
    files[0]["rows"].append(files[0]["rows"][0])
    path.write_text(json.dumps(files[0]))
    assert fcn(["bench", "history", str(tmp_path), "--out", str(page)]) == 0
    assert f"{path}: contradicts itself: " in capsys.readouterr().err
    assert page.read_text().startswith("<!doctype html>")
    assert fcn(["bench", "history", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'new'}: holds no bench.json")


@pytest.mark.parametrize("place", ["cpu-amd-epyc/all", "cpu-amd-epyc-zen5/head-fcn8s"])
def test_a_stored_file_states_the_command_that_made_it(place: str) -> None:
    document = read_document(RESULTS / place, Bench)
    words = command_of(document).split()
    assert words[:2] == ["fcn", "bench"]
    settings = settings_from(*parsed(bench_parser(), words[2:])).to_json()
    of_early_files = {"own_recipe": None, "head": "fcn32s", "processes": PROCESSES}
    assert settings == {**of_early_files, **document["settings"]}
