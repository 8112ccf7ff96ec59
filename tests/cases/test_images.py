"""Prediction of whole images as a benchmark's case: its two ways, their answers, their pixels."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cases import CASES
from benchmarks.cases.images import KINDS, WholeImages, by_areas, image_size, order
from benchmarks.pages.bench_text import table
from benchmarks.records.check import problems
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.figures import summarize
from benchmarks.records.results import fault
from common.config import Config
from common.recipes import make_recipe
from common.reference import network as reference
from tests.cases.conftest import Asked, Question
from tests.support.bench_sample import planned, process, sample, write_page

CONFIG = Config(make_recipe("chapter-torch", batch_size=4, crop=(32, 64)), threads=1)
IMAGES = CASES["images"]


@pytest.fixture(scope="session")
def question(ask_about: Callable[..., Question]) -> Question:
    return ask_about("images", None, CONFIG)


@pytest.mark.parametrize("track", ["default", "chapter"])
def test_every_backend_labels_whole_images_as_the_reference_does_in_either_way(
    asked: Asked, question: Question, track: str
) -> None:
    gate = asked.set_up(question, track)
    assert gate["passed"], gate["reason"]
    counts = {name: len(maps) for name, maps in asked.answers.items()}
    assert counts == {"landscape": 3, "portrait": 1}


def test_each_track_is_held_to_its_own_way(question: Question) -> None:
    """The stand-in is the reference itself, an area at a time."""
    areas: Any = ModuleType("stand_in")
    areas.create_state = lambda config, parameters: parameters

    maps: dict[bytes, NDArray] = {}  # Three of the four images are the same.

    def predict_area(parameters: Any, area: NDArray) -> NDArray:
        assert area.shape[:2] == CONFIG.recipe.crop
        key = area.tobytes()
        if key not in maps:
            network = CONFIG.recipe.network
            passed = reference.forward(parameters, area[None], network, training=False)
            maps[key] = passed.logits[0].argmax(-1).astype(np.uint8)
        return maps[key]

    areas.predict_area = predict_area
    answers = WholeImages(areas, CONFIG, question.inputs).answer()
    assert question.gate(answers, "float32", "chapter", "torch")["passed"]
    assert not question.gate(answers, "float32", "default", "torch")["passed"]
    for kind in KINDS:
        for wrong in (answers[kind].copy(), answers[kind][..., :-1]):
            wrong[-1, 30:50, 30:50] ^= 1
            gate = question.gate({**answers, kind: wrong}, "float32", "chapter", "torch")
            assert not gate["passed"] and kind in str(gate["reason"])


def test_an_image_of_several_tiles_is_held_to_the_mean_of_their_logits() -> None:
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, batch_size=1, tile=(64, 64)))
    whole: Any = ModuleType("stand_in")
    whole.create_state = lambda config, parameters: SimpleNamespace(config=config, own=parameters)
    whole.to_device, whole.to_host = lambda array, config: array, lambda array: array

    def predict_step(state: Any, images: NDArray) -> NDArray[np.float32]:
        passed = reference.forward(state.own, images, config.recipe.network, training=False)
        return passed.logits.astype(np.float32)

    whole.predict_step = predict_step
    whole.classify_step = lambda state, images: predict_step(state, images).argmax(-1)
    inputs = IMAGES.inputs(None, config, Path())
    expected = IMAGES.expected_of(IMAGES.expected(config, inputs), "default")
    answers = WholeImages(whole, config, inputs).answer()
    assert all(error < 1e-6 for error in IMAGES.errors(answers, expected, inputs).values())
    # Tiles are a way to get there: what an image costs is the same.
    large = replace(config, recipe=replace(config.recipe, tile=(512, 512)))
    assert IMAGES.costs(config) == IMAGES.costs(large)


def test_areas_cover_images_of_vocs_size() -> None:
    assert {kind: image_size(kind, (320, 480)) for kind in KINDS} == {
        "landscape": (375, 500),
        "portrait": (500, 375),
    }
    assert order(8).count("portrait") == 2
    image = np.random.default_rng(0).integers(0, 256, (116, 119, 3), dtype=np.uint8)
    areas: list[tuple[int, ...]] = []

    def predict_area(area: NDArray) -> NDArray:
        areas.append(area.shape)
        return area[..., 0]

    np.testing.assert_array_equal(by_areas(image, (64, 96), predict_area), image[..., 0])
    assert areas == [(64, 96, 3)] * 4


def test_pixels_are_counted_as_often_as_they_are_predicted() -> None:
    config = Config(make_recipe("chapter-torch", batch_size=4, crop=(320, 480)))
    assert IMAGES.pixels(config, "default") == 4 * 375 * 500
    assert IMAGES.pixels(config, "chapter") == 3 * 4 * 320 * 480 + 2 * 320 * 375


def test_a_row_says_how_many_pixels_a_second_it_predicts(tmp_path: Path) -> None:
    document = planned(backends=["torch"], cases=["images"], batch_sizes=[4], processes=1)
    for row in document["rows"]:
        row["status"], row["processes"] = "ok", [process("torch")]
        row["samples"] = [sample(n, turn, 0.5) for n in range(2) for turn in (0, 1)]
        checks = {kind: {"error": 0.0, "bound": 1e-4} for kind in KINDS}
        row["gate"] = {"passed": True, "reason": None, "checks": checks}
        summarize(document, row)
    compare_rows(document)
    assert fault(json.loads(json.dumps(document)), "bench", 1) is None
    assert not problems(document)
    default, chapter = (row["figures"]["pixels_per_second"] for row in document["rows"])
    assert (default, chapter) == (2 * 4 * 375 * 500, 2 * (3 * 4 * 320 * 480 + 2 * 320 * 375))
    write_page(document, tmp_path / "report.html")
    for text in (table(document), (tmp_path / "report.html").read_text(encoding="utf-8")):
        assert "1.50 million pixels/s" in text and "4.17 million pixels/s" in text
    document["rows"][0]["figures"]["pixels_per_second"] *= 1.01
    assert any("pixels_per_second" in line for line in problems(document))
