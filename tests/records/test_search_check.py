"""What `fcn bench check` shows of a search, and finds in one that contradicts itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands.bench import check
from benchmarks.records import results
from tests.support.report_sample import sample_compare, sample_tune


def test_a_search_is_shown_as_text_and_as_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_tune(tmp_path)
    outcome = "Of trials 0 to 3, trial 3 is best: mean IoU 0.4200 on the tuning images, 0.1100 "
    outcome += "above the recipe"
    assert fcn(["bench", "check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert outcome in text and "3      finished  0.4200" in text
    assert "follows the schema and agrees with itself" in text
    assert "made by: fcn tune --" in text
    assert fcn(["bench", "check", "--markdown", str(tmp_path / "tune.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(outcome)
    assert "| 3 | finished | 0.4200 | 2 | 12 | 0.04 | fcn16s |" in lines
    assert "| learning_rate | 0.04 (before: 0.01) |" in lines


def forge_best(tune: Any) -> None:
    tune["best"] = 0
    tune["recipe"] |= {"learning_rate": 0.01, "head": "fcn8s"}


FORGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "another trial is best": (
        forge_best,
        "trial 0 is said to be best, and trial 3 has the highest score",
    ),
    "a score of no epoch": (
        lambda tune: tune["trials"][3].update(score=0.9),
        "trial 3: its score is not that of its last epoch",
    ),
    "a recipe of no trial": (
        lambda tune: tune["recipe"].update(learning_rate=0.02),
        "its recipe's learning_rate is not that of its best trial",
    ),
    "a field that was not tried": (
        lambda tune: tune["recipe"].update(momentum=0.5),
        "its recipe's momentum is not that of its best trial",
    ),
    "a trial is there twice": (
        lambda tune: tune["trials"].insert(1, tune["trials"][0]),
        "its trials are not numbered upwards, each once",
    ),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_search_that_contradicts_itself_is_shown_with_what_is_wrong(
    forged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune, (forge, problem) = sample_tune(tmp_path), FORGED[forged]
    forge(tune)
    (tmp_path / "tune.json").write_text(json.dumps(tune), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path)]) == 1
    assert f"problem: {problem}" in capsys.readouterr().out.splitlines()


def test_a_pair_of_numbers_is_that_of_the_best_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = sample_tune(tmp_path)
    tune["space"]["random_scale"] = {"choices": ["1x1", "0.50x2"]}
    tune["start"]["random_scale"] = "1x1"
    for trial in tune["trials"]:
        trial["values"]["random_scale"] = "0.50x2"
    for stored, status in (([0.5, 2.0], 0), ([0.5, 1.5], 1)):
        tune["recipe"]["random_scale"] = stored
        (tmp_path / "tune.json").write_text(json.dumps(tune), encoding="utf-8")
        assert fcn(["bench", "check", str(tmp_path)]) == status
    assert "its recipe's random_scale is not that" in capsys.readouterr().out


def test_a_trial_that_was_killed_before_it_had_values_is_not_missed(tmp_path: Path) -> None:
    tune = sample_tune(tmp_path)
    del tune["trials"][1]
    (tmp_path / "tune.json").write_text(json.dumps(tune), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path)]) == 0


def test_a_search_without_its_best_trial_is_told_without_jsonschema_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (check, results):
        monkeypatch.setattr(module, "can_check_schema", lambda: False)
    for best in (None, 99):
        (tmp_path / "tune.json").write_text(json.dumps(sample_tune(tmp_path) | {"best": best}))
        assert fcn(["bench", "check", str(tmp_path)]) == 1
        assert "problem: has finished trials, and none of" in capsys.readouterr().out


def test_a_comparison_is_left_to_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compare.json").write_text(json.dumps(sample_compare(tmp_path)), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: is a comparison, which `fcn report` shows\n"
    )
