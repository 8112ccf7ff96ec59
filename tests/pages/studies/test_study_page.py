"""The page and the words of a study claim what its tests support, and no more."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.pages.studies import words
from benchmarks.pages.studies.page import render_page
from benchmarks.pages.studies.varied import varied_facts
from common.config import Config
from tests.support.report_sample import STUDIED, sample_study, variant


def effects_of(by_backend: dict[str, tuple[float, bool]], mean: float) -> list[Any]:
    """Return tests of a score of two variants: the mean by backend and whether it is shown."""
    common = {"variants": ["fcn32s", "fcn8s"], "score": "mean_iou"}
    tests: list[Any] = [
        {**common, "backend": backend, "mean": value, "low": value, "high": value, "differ": shown}
        for backend, (value, shown) in by_backend.items()
    ]
    if len(tests) > 1:
        spread = {"mean": mean, "low": mean - 0.007, "high": mean + 0.007, "differ": mean > 0.01}
        tests.append({**common, "backend": None, **spread})
    return tests


@pytest.mark.parametrize(
    ("by_backend", "mean", "sentence"),
    [
        (
            {"torch": (0.03, True), "jax": (0.03, True)},
            0.0312,
            "fcn8s is 0.031 [0.024, 0.038] above fcn32s in mean IoU in every backend",
        ),
        (
            {"torch": (-0.03, True), "jax": (-0.03, True)},
            -0.0312,
            "fcn32s is 0.031 [0.024, 0.038] above fcn8s in mean IoU in every backend",
        ),
        (
            {"torch": (0.03, True), "jax": (0.01, False)},
            0.0312,
            "fcn8s is 0.031 [0.024, 0.038] above fcn32s in mean IoU: shown in PyTorch, not in "
            "JAX/Flax",
        ),
        (
            {"torch": (0.03, True), "jax": (-0.01, True)},
            0.0312,
            "fcn8s is above fcn32s in mean IoU in PyTorch, and below it in JAX/Flax",
        ),
        (
            {"torch": (0.03, False), "jax": (0.03, False)},
            0.0312,
            "fcn8s is 0.031 [0.024, 0.038] above fcn32s in mean IoU in the mean of the backends, "
            "but not shown in any of them",
        ),
        (
            {"torch": (-0.03, True), "jax": (0.1, False)},
            0.0312,
            "fcn8s is below fcn32s in mean IoU in PyTorch alone",
        ),
        (
            {"torch": (0.02, True)},
            0.0,
            "fcn8s is 0.020 [0.020, 0.020] above fcn32s in mean IoU in PyTorch",
        ),
        (
            {"torch": (0.001, False), "jax": (0.001, False)},
            0.001,
            "No difference in mean IoU between fcn8s and fcn32s is shown in any backend: fcn8s is "
            "0.001 [-0.006, 0.008] above fcn32s",
        ),
    ],
)
def test_a_sentence_says_in_which_backends(
    by_backend: dict[str, tuple[float, bool]], mean: float, sentence: str
) -> None:
    study: Any = {"variants": [variant("fcn32s", "", {key: {0: 0.1} for key in by_backend})]}
    assert words.sentence(study, effects_of(by_backend, mean)) == sentence


def test_a_backend_that_did_not_finish_is_in_no_claim() -> None:
    planned: Any = variant("fcn32s", "", {key: {0: 0.1} for key in ("torch", "jax", "tf")})
    tests = effects_of({"torch": (0.03, True), "jax": (0.03, True)}, 0.0312)
    text = words.sentence({"variants": [planned]}, tests)  # type: ignore[typeddict-item]
    assert text.endswith("in all two backends that finished")


def test_a_page_has_the_sentences_the_tables_and_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = sample_study(tmp_path)
    assert fcn(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "xavier is 0.0" in page and "above bilinear in mean IoU in every backend" in page
    assert page.count("<svg aria-hidden") == 4, "an interval and a curve for each score"
    assert "Predictions of PyTorch from the first seed." in page
    capsys.readouterr()
    assert fcn(["bench", "check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "xavier - bilinear  mean IoU        mean of all" in text
    assert words.verdict(study) in text


def test_a_study_without_tests_says_why(tmp_path: Path) -> None:
    study = sample_study(tmp_path)
    for each in study["variants"]:
        each["rows"][0].update(status="failed", reason="no luck", runs=[])
    study["effects"] = []
    assert words.verdict(study).startswith("No two trainings that differ in one thing finished.")
    assert ("bad", "bilinear, PyTorch – failed: no luck") in words.notices(study)
    assert "2 of 4 rows have no scores" in words.verdict(study)
    one_seed = {**study, "variants": [{**study["variants"][0], "seeds": 1}]}
    assert words.verdict(one_seed).startswith("One seed tells no difference from chance")


@pytest.mark.parametrize(
    "head, network", [(None, "resnet18_v1"), ("fcn8s", "fcn8s on resnet18_v1")]
)
def test_a_study_says_which_network_was_trained(
    head: str | None, network: str, tmp_path: Path
) -> None:
    study = sample_study(tmp_path)
    for each in study["variants"]:
        recipe = each["config"]["recipe"]
        recipe.pop("head", None)
        if head:
            recipe["head"] = head
    assert f"; {network}, {recipe['name']}, batch " in words.study_title(study)


def study_of_recipes(folder: Path, **changes: Any) -> Any:
    """Write and return the sample's trainings as those of two recipes.

    Args:
        changes: What the second one has that the first one has not.
    """
    study = sample_study(folder)
    second = replace(STUDIED, name="xavier", **changes)
    recipes = {"bilinear": replace(STUDIED, name="bilinear"), "xavier": second}
    study["varied"] = {"recipe": [*recipes]}
    for each in study["variants"]:
        each["changes"] = {"recipe": each["name"]}
        each["config"] = json.loads(json.dumps(Config(recipes[each["name"]]).to_json()))
    study["config"] = study["variants"][0]["config"]
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return study


def test_a_study_of_recipes_states_of_none_what_others_have_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"head": "fcn8s", "momentum": 0.5, "random_scale": (0.5, 2.0), "batch_size": 8}
    study = study_of_recipes(tmp_path, **changes)
    assert words.study_title(study) == "recipe: bilinear, xavier; resnet18_v1, 96×96, 3 seeds"
    page = render_page(study, tmp_path)
    assert "Fully convolutional network, resnet18_v1, recipes bilinear and xavier</p>" in page
    assert "First recipe" in page and "Recipe without the changes" not in page
    for fact in ("fcn32s in bilinear, fcn8s in xavier", "0.9 in bilinear, 0.5 in xavier"):
        assert fact in page
    assert fcn(["bench", "check", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["field", "bilinear", "xavier"] in lines and ["head", "fcn32s", "fcn8s"] in lines
    assert fcn(["bench", "check", str(tmp_path), "--markdown"]) == 0
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.count("|") == 4]
    assert rows == [
        "| field | bilinear | xavier |",
        "| --- | --- | --- |",
        "| momentum | 0.9 | 0.5 |",
        "| batch_size | 16 | 8 |",
        "| head | fcn32s | fcn8s |",
        "| random_scale | [1.0, 1.0] | [0.5, 2.0] |",
    ]
    assert "\nrecipe: bilinear, xavier; resnet18_v1, 96×96, 3 seeds. Brackets" in text


def test_a_study_of_recipes_states_what_all_have(tmp_path: Path) -> None:
    study = study_of_recipes(tmp_path, momentum=0.5)
    shared = "resnet18_v1, batch 16, 96×96, 3 seeds"
    assert words.study_title(study) == f"recipe: bilinear, xavier; {shared}"
    page = render_page(study, tmp_path)
    assert "Fully convolutional network, resnet18_v1, recipes bilinear and xavier</p>" in page


def test_a_field_that_is_varied_beside_recipes_is_no_difference_of_theirs(tmp_path: Path) -> None:
    study = study_of_recipes(tmp_path, batch_size=8, momentum=0.5)
    study["varied"]["batch_size"] = ["16", "8"]
    assert varied_facts(study) == {
        "recipe": "bilinear, xavier",
        "batch_size": "16, 8",
        "momentum": "0.9 in bilinear, 0.5 in xavier",
    }


@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_fits_its_window(show: Any, tmp_path: Path, width: int) -> None:
    sample_study(tmp_path)
    assert fcn(["report", str(tmp_path)]) == 0
    page = show(tmp_path / "report.html", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("main h2").all_inner_texts()[1:] == [
        *("Results", "Effects", "Curves", "Backends", "Gallery", "Manifest")
    ]


def test_a_study_tells_epochs_until_the_target_and_no_seconds() -> None:
    def run(*accuracies: float) -> Any:
        readings = [{"pixel_accuracy": a, "background_pixel_accuracy": 0.7} for a in accuracies]
        return {
            "epochs": [{"epoch": n, "scores": {"ignore": r}} for n, r in enumerate(readings)],
            "seconds_to_target": 12.0,
        }

    reached = [run(0.75, 0.80, 0.79), run(0.9), run(0.7, 0.79)]
    row: Any = {"backend": "torch", "runs": reached}
    assert words.epochs_to_target(row, "ignore") == "1.5 epochs, 2 of 3"
    row["runs"] = [run(0.7, 0.79)]
    assert words.epochs_to_target(row, "ignore") == "never"


def test_a_stored_study_is_checked_and_told_in_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample_study(tmp_path)
    assert fcn(["bench", "check", str(tmp_path), "--markdown"]) == 0
    text, notes = capsys.readouterr()
    assert not notes
    assert text.startswith("xavier is ") and "| xavier | torch | " in text
    assert "| mean IoU | mean of all | " in text and "| pixel accuracy | torch | +" not in text
    study = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    study["effects"][0]["mean"] += 0.5
    (tmp_path / "study.json").write_text(json.dumps(study), encoding="utf-8")
    assert fcn(["bench", "check", str(tmp_path), "--markdown"]) == 1
    assert "problem: " in capsys.readouterr().err


def test_a_study_of_one_backend_and_no_field_names_the_backend(tmp_path: Path) -> None:
    study = sample_study(tmp_path)
    study["varied"], study["variants"] = {}, study["variants"][:1]
    study["effects"], study["gallery"] = [], []
    assert "<h1>One recipe in several frameworks</h1>" in render_page(study, tmp_path)
    study["variants"][0]["rows"] = study["variants"][0]["rows"][:1]
    assert "<h1>One recipe in PyTorch</h1>" in render_page(study, tmp_path)


def test_the_classes_of_a_recipe_are_named_in_words(tmp_path: Path) -> None:
    page = render_page(sample_study(tmp_path), tmp_path)
    assert "background, aeroplane, bicycle" in page
    assert "&#39;names&#39;" not in page


@pytest.mark.parametrize(
    "field, values, words_of_all",
    [
        ("head", ("fcn32s", "fcn8s"), "resnet18_v1, sample, batch 16, 96×96"),
        ("backbone", ("resnet18_v1", "resnet18_v2"), "sample, batch 16, 96×96"),
        ("batch_size", (8, 16), "resnet18_v1, sample, 96×96"),
    ],
)
def test_what_is_varied_is_not_stated_of_all(
    field: str, values: tuple[Any, Any], words_of_all: str, tmp_path: Path
) -> None:
    study = sample_study(tmp_path)
    study["varied"] = {field: [*map(str, values)]}
    recipe = replace(STUDIED, name="sample")
    for each, value in zip(study["variants"], values, strict=True):
        each["changes"] = {field: str(value)}
        changed = replace(recipe, **{field: value})
        each["config"] = json.loads(json.dumps(Config(changed).to_json()))
    study["config"] = json.loads(
        json.dumps(Config(replace(recipe, **{field: values[1]})).to_json())
    )
    assert words.study_title(study).endswith(f"; {words_of_all}, 3 seeds")
