"""Prediction of whole images as a benchmark's case: its two ways, their answers, their pixels."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from benchmarks.cases.images_work import Images
from numpy.typing import NDArray

from benchmarks.cases.images import KINDS, by_areas, make_images, of_track, order, predicted_pixels
from benchmarks.cases.inputs import make_inputs, write_inputs
from benchmarks.equal_work.case_answers import expected_outputs
from benchmarks.equal_work.gate import QUANTITIES, errors_of, verdict
from benchmarks.pages.bench import write_page
from benchmarks.pages.bench_text import table
from benchmarks.records.check import problems
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.results import check_schema, new_document, summarize
from benchmarks.workers.client import Worker
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.recipes import make_recipe
from common.reference import network as reference
from tests.support.bench_sample import SETTINGS, process, sample

RECIPE = make_recipe("chapter-torch", batch_size=4, crop=(64, 96))
TRACKS = ("default", "chapter")


@pytest.fixture(scope="module")
def expected() -> dict[str, NDArray]:
    return expected_outputs("images", Config(RECIPE), inputs(Path()))


@pytest.fixture(scope="module")
def worker(backend_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(backend_name, backend_environment(1), log) as worker:
        yield worker


def inputs(folder: Path) -> dict[str, NDArray]:
    return make_inputs("images", None, Config(RECIPE), folder)


def judged(found: dict[str, NDArray], expected: dict[str, NDArray], track: str) -> dict[str, Any]:
    return verdict(
        errors_of(found, of_track(expected, track), {}),
        QUANTITIES["images"],
        "float32",
        track,
        "torch",
    )


def test_every_backend_labels_whole_images_as_the_reference_does_in_either_way(
    worker: Worker, expected: dict[str, NDArray], tmp_path: Path
) -> None:
    given, outputs = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
    write_inputs(given, inputs(tmp_path))
    arguments: dict[str, Any] = {"case": "images", "config": Config(RECIPE, threads=1).to_json()}
    arguments |= {"backend": worker.backend, "inputs": str(given), "outputs": str(outputs)}
    for track in TRACKS:
        worker.ask("timing.turns.set_up", 300, track=track, **arguments)
        with np.load(outputs) as file:
            found = dict(file)
        assert {name: len(maps) for name, maps in found.items()} == {"landscape": 3, "portrait": 1}
        assert judged(found, expected, track)["passed"]
        assert worker.ask("timing.turns.time_turn", 300, steps=1)["seconds"] > 0


def test_each_track_is_held_to_its_own_way(expected: dict[str, NDArray]) -> None:
    """The stand-in is the reference itself, an area at a time."""
    areas = ModuleType("stand_in")
    areas.create_state = lambda config, parameters: parameters

    def predict_area(parameters: Any, area: NDArray) -> NDArray:
        assert area.shape[:2] == RECIPE.crop
        passed = reference.forward(parameters, area[None], RECIPE.backbone, False)
        return passed.logits[0].argmax(-1).astype(np.uint8)

    areas.predict_area = predict_area
    found = Images(areas, Config(RECIPE), inputs(Path())).answer()
    assert judged(found, expected, "chapter")["passed"]
    assert not judged(found, expected, "default")["passed"]
    for kind in KINDS:
        for wrong in (found[kind].copy(), found[kind][..., :-1]):
            wrong[-1, 40:60, 40:60] ^= 1
            said = judged({**found, kind: wrong}, expected, "chapter")
            assert not said["passed"] and kind in said["reason"]


def test_areas_cover_images_of_vocs_size() -> None:
    recipe = replace(RECIPE, crop=(320, 480))
    sizes = {kind: image.shape for kind, image in make_images(recipe, 0).items()}
    assert sizes == {"landscape": (375, 500, 3), "portrait": (500, 375, 3)}
    assert order(8).count("portrait") == 2
    image = make_images(RECIPE, 0)["portrait"]
    asked: list[tuple[int, ...]] = []

    def predict_area(area: NDArray) -> NDArray:
        asked.append(area.shape)
        return area[..., 0]

    np.testing.assert_array_equal(by_areas(image, (64, 96), predict_area), image[..., 0])
    assert asked == [(64, 96, 3)] * 4


def test_pixels_are_counted_as_often_as_they_are_predicted() -> None:
    recipe = replace(RECIPE, crop=(320, 480))
    assert predicted_pixels("default", recipe) == 4 * 375 * 500
    assert predicted_pixels("chapter", recipe) == 3 * 4 * 320 * 480 + 2 * 320 * 375


def test_a_row_says_how_many_pixels_a_second_it_predicts(tmp_path: Path) -> None:
    document = new_document(
        {**SETTINGS, "backends": ["torch"], "cases": ["images"], "batch_sizes": [4], "rounds": 2}
    )
    for row in document["rows"]:
        row["status"], row["processes"] = "ok", [process("torch")]
        row["samples"] = [sample(n, turn, 0.5) for n in range(2) for turn in (0, 1)]
        checks = {kind: {"error": 0.0, "bound": 1e-4} for kind in KINDS}
        row["gate"] = {"passed": True, "reason": None, "checks": checks}
        summarize(document, row)
    compare_rows(document)
    check_schema(document, tmp_path)
    assert not problems(document)
    default, chapter = (row["figures"]["pixels_per_second"] for row in document["rows"])
    assert (default, chapter) == (2 * 4 * 375 * 500, 2 * (3 * 4 * 320 * 480 + 2 * 320 * 375))
    write_page(document, tmp_path / "report.html")
    for text in (table(document), (tmp_path / "report.html").read_text(encoding="utf-8")):
        assert "1.50 million pixels/s" in text and "4.17 million pixels/s" in text
    document["rows"][0]["figures"]["pixels_per_second"] *= 1.01
    assert any("pixels_per_second" in line for line in problems(document))
