"""The page and the words of a calibration say what its samples show, and no more."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands.bench import calibrate
from benchmarks.pages.calibration import text
from benchmarks.pages.calibration.page import command, render_page
from benchmarks.records.calibration.shares import Outcome, outcomes, wilson
from tests.support.bench_sample import sample_calibration


@pytest.fixture(scope="module")
def calibration() -> Any:
    return sample_calibration(24, 0.005, 0.01)


@pytest.fixture(scope="module")
def results(calibration: Any) -> list[Outcome]:
    return outcomes(calibration)


def test_the_page_has_every_number_of_the_text_and_its_curves(
    calibration: Any, results: list[Outcome]
) -> None:
    page = render_page(calibration, results)
    assert page.count("<svg") == 4 + page.count('class="key')
    for cells in text.design_rows(calibration, results) + text.coverage_rows(results):
        assert all(cell in page for cell in cells)
    said = text.calibration_text(calibration, results)
    assert text.verdict(calibration, results) in said
    assert (
        "calls a backend different from itself in" in said and "`" not in page.split("<script")[0]
    )


def test_the_page_has_the_command_that_measures_it_again(calibration: Any) -> None:
    settings = calibration["settings"] | {"threads": 2, "rounds": 3, "processes": 1}
    words = shlex.split(command(calibration | {"settings": settings}))
    assert words[:3] == ["fcn", "bench", "calibrate"]
    again = calibrate.begun(calibrate.command_parser().parse_args(words[3:]))
    assert again["settings"] == settings
    assert again["budget"] == calibration["budget"]
    assert shlex.join(words[:3]) in render_page(calibration, [])


def test_the_verdict_names_what_holds_only_where_it_is_shown(
    calibration: Any, results: list[Outcome]
) -> None:
    one, *_ = (result for result in results if result.design.name == "turns")
    alone = text.verdict(calibration, [one])
    assert alone.startswith("With one process a row, as `--quick` has, a backend would be called d")
    (bench,) = (r for r in results if (r.design.name, r.size, r.rounds) == ("processes", 5, 5))
    for count, share, end in (
        (100, 0.05, "more groups have to tell whether all are within ± 1 % of that."),
        (40_000, 0.05, "all are within ± 1 % of that."),
        (400, 0.2, "they are not all within ± 1 % of that."),
    ):
        known = {0.0: wilson(share, count)}, {0.1: wilson(1 - share, count)}
        told = text.verdict(calibration, [replace(bench, differ=known[0], covered=known[1])])
        assert told.startswith("`fcn bench`, with 5 processes a row of 5 rounds each, calls a bac")
        assert told.endswith(end)
    # An interval that is wrong where the truth is not 1 is no false alarm.
    known = {0.0: wilson(0.05, 40_000)}, {0.0: wilson(0.95, 40_000), 0.1: wilson(0.7, 40_000)}
    told = text.verdict(calibration, [replace(bench, differ=known[0], covered=known[1])])
    assert "in 70.0 % [" in told and told.endswith("they are not all within ± 1 % of that.")
    assert text.verdict(calibration, []) == "None of 24 groups can be judged."
    assert text.verdict({**calibration, "groups": []}, []) == "No group yet."


def test_groups_that_are_left_out_are_counted_with_a_reason() -> None:
    document = sample_calibration(3, 0.0, 0.01)
    document["groups"][1]["rows"][2]["reason"] = "other processes took 12 % of the CPUs"
    (line, spread) = text.notices(document)
    assert line == "1 of 3 groups are left out: other processes took 12 % of the CPUs"
    assert spread.startswith("Standard deviation of a step's time: from turn to turn")


def test_the_commands_take_a_stored_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibration = sample_calibration(1, 0.005, 0.01)
    (tmp_path / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    assert fcn(["report", str(tmp_path)]) == 0
    assert "How often does the harness err?" in (tmp_path / "report.html").read_text("utf-8")
    capsys.readouterr()
    assert fcn(["bench", "check", str(tmp_path), "--markdown"]) == 0
    assert "\n| design | processes | rounds | minutes |" in capsys.readouterr().out
    calibration["groups"][0]["rows"][0]["other_cpu_share"] = 0.5
    (tmp_path / "calibration.json").write_text(json.dumps(calibration), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path)]) == 1
    assert "problem: group 1: is judged although others" in capsys.readouterr().out
