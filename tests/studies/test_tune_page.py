"""The page of a search: what it says, in words and pictures, and what it refuses to show."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.pages.studies.page import render_page as render_study
from benchmarks.pages.studies.pictures import importance_figure, parallel_figure, progress_figure
from benchmarks.pages.studies.tune import confirmation, render_page, table, verdict
from benchmarks.pages.studies.words import notices
from tests.support.report_sample import sample_study, sample_tune

WITHOUT_IMPORTANCE = "there are fewer than 10 trials with a score, or all scores are equal."


@pytest.fixture
def tune(tmp_path: Path) -> Any:
    return sample_tune(tmp_path)


def test_the_first_sentence_says_which_is_best_and_by_how_much(tune) -> None:
    text = verdict(tune)
    best = "trial 3 is best: mean IoU 0.4200 on the tuning images, 0.1100 above"
    assert text.startswith(f"Of trials 0 to 3, {best}")
    assert "(0.3100)" in text
    lines = table(tune).splitlines()
    assert lines[1].split()[:3] == ["3", "finished", "0.4200"]
    assert [line.split()[0] for line in lines[1:5]] == ["3", "0", "2", "1"]


def test_a_search_without_a_score_says_so(tune, tmp_path) -> None:
    assert WITHOUT_IMPORTANCE not in render_page(tune, tmp_path)
    for trial in tune["trials"]:
        trial |= {"state": "failed", "score": None}
    tune |= {"best": None, "recipe": None, "importance": {}}
    assert verdict(tune) == "None of 4 trials has a score."
    assert progress_figure(tune) is parallel_figure(tune) is importance_figure(tune) is None
    assert WITHOUT_IMPORTANCE in render_page(tune, tmp_path)


def test_a_space_without_the_first_recipe_is_compared_with_nothing(tune) -> None:
    tune["start"].pop("head")
    best = "trial 3 is best: mean IoU 0.4200 on the tuning images."
    assert verdict(tune) == f"Of trials 0 to 3, {best}"


def test_the_pictures_hold_every_scored_trial(tune) -> None:
    (axes,) = parallel_figure(tune).axes
    curves = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
    assert len(curves) == 3
    # Learning rate 0.04 of 0.001 to 0.1 on a logarithmic axis, fcn16s the second of two, 0.42.
    assert list(curves[-1]) == pytest.approx([0.801, 1.0, 1.0], abs=1e-3)
    (axes,) = progress_figure(tune).axes
    assert list(axes.lines[1].get_ydata()) == [0.31, 0.31, 0.42]
    (axes,) = importance_figure(tune).axes
    assert [patch.get_width() for patch in axes.patches] == [0.3, 0.7]


def test_the_page_links_to_its_confirmation_only_where_there_is_one(tune, tmp_path, capsys) -> None:
    advice = "partly luck: train it and the first one again from other seeds."

    def advises() -> set[bool]:
        capsys.readouterr()
        for options in (("report",), ("bench", "check"), ("bench", "check", "--markdown")):
            assert fcn([*options, str(tmp_path)]) == 0
        assert fcn(["bench", "check", str(tmp_path / "tune.json")]) == 0
        said = capsys.readouterr().out
        assert said.count("partly luck") == 3
        return {advice in page.read_text(), *(advice in part for part in said.split("is best")[1:])}

    assert fcn(["report", str(tmp_path)]) == 0
    page = tmp_path / "report.html"
    assert "0.4200" in page.read_text() and "confirmed/report.html" not in page.read_text()
    assert advises() == {True}
    (tmp_path / "confirmed").mkdir()
    study = sample_study(tmp_path / "confirmed")
    assert fcn(["report", str(tmp_path)]) == 0
    assert "confirmed/report.html" not in page.read_text()  # It is of other recipes.
    study["variants"][1]["config"]["recipe"] = tune["recipe"]
    (tmp_path / "confirmed/study.json").write_text(json.dumps(study))
    assert fcn(["report", str(tmp_path)]) == 0
    assert "confirmed/report.html" in page.read_text()
    assert advises() == {False}


def test_the_confirmation_of_a_stored_search_lies_beside_it(tune, tmp_path) -> None:
    search, study = tmp_path / "search", tmp_path / "study-search"
    search.mkdir()
    study.mkdir()
    (search / "tune.json").write_text(json.dumps(tune))
    document = sample_study(study)
    assert confirmation(tune, search) is None  # It is of other recipes.
    document["variants"][1]["config"]["recipe"] = tune["recipe"]
    (study / "study.json").write_text(json.dumps(document))
    assert confirmation(tune, search) == study
    assert fcn(["report", str(search)]) == 0
    text = (search / "report.html").read_text()
    assert "The study <code>study-search</code>, stored beside this search, compares" in text
    assert "confirmed/report.html" not in text and "train it and the first" not in text


def test_the_first_recipe_is_best_also_where_its_values_were_drawn_again(tune) -> None:
    tune["start"] = dict(tune["trials"][3]["values"])
    assert verdict(tune).endswith("with the values that the search began with.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tune: tune.update(best=1), "best: 1 is not the number of a finished trial"),
        (lambda tune: tune["start"].update(head="fcn64s"), "start/head: 'fcn64s' is not in"),
        (lambda tune: tune["trials"][0].update(score=None), "trials/0/score: a finished trial has"),
        (lambda tune: tune.update(recipe=None), "recipe: is that of the best trial"),
        (
            lambda tune: tune["trials"][0]["values"].update(head="fcn64s"),
            "trials/0/values/head: 'fcn64s' is not in the space",
        ),
        (
            lambda tune: tune["space"]["learning_rate"].update(low=0.5),
            "space/learning_rate: is neither",
        ),
        (lambda tune: tune["space"]["learning_rate"].update(low=0.0), "begins above 0"),
    ],
)
def test_a_contradiction_is_one_line(change, words, tune, tmp_path, capsys) -> None:
    change(tune)
    (tmp_path / "tune.json").write_text(json.dumps(tune))
    assert fcn(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_what_hosts_of_several_kinds_took_does_not_compare(tune, tmp_path) -> None:
    words = "hosts of different kinds: their scores compare, the seconds that they took do not."
    own = tune["hardware"]
    for trial in tune["trials"][:2]:
        trial["host"] = {"name": "first", "hardware": own | {"memory_bytes": 1}}
    assert words not in table(tune) and words not in render_page(tune, tmp_path)
    tune["trials"][2]["host"] = {"name": "second", "hardware": own | {"processor": "A slow one"}}
    assert words in table(tune)
    page = render_page(tune, tmp_path)
    assert words in page and "A slow one" in page

    tune["trials"][2]["host"]["hardware"] = own
    assert words not in table(tune)
    for trial, device in zip(tune["trials"], ("H100", "H200", "H200"), strict=False):
        trial["host"]["device"] = device
    assert words in table(tune)

    study = sample_study(tmp_path)
    runs = study["variants"][0]["rows"][0]["runs"]
    assert not any(words in line for _, line in notices(study))
    runs[0]["host"] = {"name": "second", "hardware": own | {"processor": "A slow one"}}
    assert any(words in line for _, line in notices(study))
    assert "A slow one" in render_study(study, tmp_path)


def test_of_equal_scores_the_first_trial_is_on_top_as_it_is_the_best(tune) -> None:
    for trial in tune["trials"]:
        if trial["score"] is not None:
            trial["score"] = 0.5
    best = next(trial["number"] for trial in tune["trials"] if trial["score"] is not None)
    tune["best"] = best
    assert table(tune).splitlines()[1].split()[0] == str(best)


def test_the_page_names_the_file_of_the_recipe_where_it_is(tune, tmp_path) -> None:
    sentence = "The file best.toml beside this page"
    assert sentence not in render_page(tune, tmp_path)
    (tmp_path / "best.toml").touch()
    assert sentence in render_page(tune, tmp_path)
