"""What the page of a comparison says and draws, as values: verdict, distances, gallery."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.pages import compare as compare_page
from benchmarks.pages import compare_tables
from benchmarks.pages import gallery as gallery_page
from common.backends import BACKENDS
from common.classes import VOC
from common.data.masks import read_label, write_label
from common.errors import InputError
from tests.support.report_sample import row, sample_compare


@pytest.fixture
def compare(tmp_path: Path) -> dict[str, Any]:
    return sample_compare(tmp_path)


def test_the_verdict_states_what_the_numbers_say(compare: dict[str, Any]) -> None:
    for one, accuracy, agreement, rate in zip(
        compare["rows"],
        (0.80, 0.81, 0.82, 0.815),
        (0.1, 0.2, 0.3, 0.01),
        ((4, 5, 6), (1, 2, 3), (9, 10, 11), (4, 5, 6)),
        strict=True,
    ):
        one["agreement"] = agreement
        one["scores"]["background"].update(pixel_accuracy=accuracy, background_pixel_accuracy=0.7)
        one["examples_per_second"].update(low=rate[0], median=rate[1], high=rate[2])
    assert compare_page.verdict(compare) == (
        "All four backends did equal work (the losses of the first 18 steps follow PyTorch's in "
        "float64 with an error of at most 30 % of what is allowed); their pixel accuracies lie "
        "0.0200 apart, from 0.8000 to 0.8200, all above always predicting background (0.7000); "
        "JAX/Flax was fastest with 10.0 examples/s, MXNet Gluon slowest with 2.00."
    )


@pytest.mark.parametrize(
    ("rates", "phrase"),
    [
        ({}, "lie within each other's intervals"),
        ({"torch": (20, 21, 22)}, "PyTorch was fastest with 21.0 examples/s"),
        ({"torch": (20, 21, 22), "tf": (21, 22, 23)}, "TensorFlow was among the fastest"),
        ({"jax": (1, 2, 3), "tf": (1, 1.5, 2)}, "TensorFlow among the slowest with 1.50"),
    ],
)
def test_a_rank_is_claimed_only_where_intervals_are_apart(
    compare: dict[str, Any], rates: dict[str, tuple[float, ...]], phrase: str
) -> None:
    for one in compare["rows"]:
        low, median, high = rates.get(one["backend"], (9, 10, 11))
        one["examples_per_second"].update(low=low, median=median, high=high)
    assert phrase in compare_page.verdict(compare)


def test_too_few_samples_have_no_interval_and_no_rank(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    rate = row(compare, "tf")["examples_per_second"]
    rate.update(samples=[99.0] * 4, low=99.0, median=99.0, high=99.0)
    assert "fastest" not in compare_page.verdict(compare)
    assert any("fewer than 5 samples" in text for _, text in compare_page.notices(compare))
    intervals = [compare_page.interval_of(one) for one in compare["rows"]]
    assert [interval is not None for interval in intervals] == [True, True, True, False]
    page = compare_page.render_page(compare, tmp_path)
    assert '<td role="cell" data-label="Examples/s" class="n">99.0</td>' in page
    text = compare_page.table(compare)
    assert " 99.0  " in text and "99.0 [" not in text
    assert "warning: A speed with fewer than 5 samples has no interval" in text


def test_equal_accuracies_that_show_no_learning_are_called_that(compare: dict[str, Any]) -> None:
    for one in compare["rows"]:
        one["scores"]["background"].update(pixel_accuracy=0.5, background_pixel_accuracy=0.6)
    assert (
        "their pixel accuracies are equal to four decimals (0.5000), none above always "
        "predicting background (0.6000)"
    ) in compare_page.verdict(compare)
    warnings = [text for severity, text in compare_page.notices(compare) if severity == "warning"]
    assert len(warnings) == 1
    assert "PyTorch, MXNet Gluon, JAX/Flax and TensorFlow" in warnings[0]


def test_no_rank_between_rows_that_were_computed_differently(compare: dict[str, Any]) -> None:
    row(compare, "torch")["precision"] = "bfloat16"
    assert "fastest" not in compare_page.verdict(compare)
    assert any("speeds do not compare" in text for _, text in compare_page.notices(compare))


@pytest.mark.parametrize("agreement", [None, 1.2])
def test_equal_work_is_not_claimed_without_proof(
    compare: dict[str, Any], agreement: float | None
) -> None:
    row(compare, "torch")["agreement"] = agreement
    sentence = compare_page.verdict(compare)
    assert "nothing proves that they did equal work" in sentence
    assert "accurac" not in sentence and "fast" not in sentence


def test_distances_are_from_the_float64_trace_and_have_no_zero(compare: dict[str, Any]) -> None:
    compare["agreement"].update(losses=[2.0, 5.0], bounds=[1e-5, None])
    for one, loss in zip(compare["rows"], (1.0, 2.0, 2.2, 4.0), strict=True):
        one["steps"] = [[0, loss], [1, 5.0], [2, 9.0]]
    charts = compare_tables.chart_data(compare)
    assert charts["steps"] == [0, 1, 2] and charts["checked"] == [0, 1]
    assert charts["distances"] == [[0.5, 1e-8], [1e-8, 1e-8], [0.1, 1e-8], [1.0, 1e-8]]
    assert charts["bound"] == [1e-5, None]


def test_disagreement_counts_the_distinct_answers_of_each_pixel() -> None:
    predictions = np.array([[[1, 1, 1, 1]], [[1, 2, 2, 2]], [[1, 1, 3, 3]], [[1, 2, 1, 4]]])
    answers = gallery_page.distinct_answers(predictions.astype(np.uint8))
    assert answers.tolist() == [[1, 2, 3, 4]]
    picture = gallery_page.disagreement_picture(np.zeros((1, 4, 3), np.uint8), answers)
    assert picture[0].tolist() == [
        [170, 170, 170],
        *(list(color) for color in gallery_page.DISAGREEMENT_COLORS.values()),
    ]


def test_the_gallery_shows_the_very_label_maps_and_the_share_that_differs(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    entry = compare["gallery"][0]
    truth = read_label(tmp_path / entry["truth"])
    labels = np.where(truth == 255, 0, truth).astype(np.uint8)
    for path in entry["predictions"].values():
        write_label(tmp_path / path, labels)
    labels = labels.copy()
    labels[:24, :32] = VOC.names.index("train")
    write_label(tmp_path / entry["predictions"]["tf"], labels)
    item = gallery_page.gallery_items(compare, tmp_path, dict(BACKENDS))[0]
    assert [tile.title for tile in item.tiles] == [
        "Image", "Truth", *BACKENDS.values(), "Disagreement"
    ]  # fmt: skip
    shown = Image.open(io.BytesIO(base64.b64decode(item.tiles[5].source.split(",")[1])))
    assert np.array_equal(np.asarray(shown), labels)
    assert item.tiles[2].caption == "100.0% right" and item.tiles[5].caption == "93.8% right"
    assert item.tiles[6].caption == "6.25% of the pixels"
    assert item.sentence == (
        "The 4 predictions differ on 6.25% of the pixels: 6.25% with 2 answers."
    )
    assert "train 6%" in item.tiles[5].alternative
    assert {VOC.names.index("train"), 255} <= item.labels
    assert item.backends == list(BACKENDS)
    assert item.pairs["truth tf"] == "TensorFlow: 93.8% right."
    assert item.pairs["torch tf"] == "PyTorch and TensorFlow differ on 6.25% of the pixels."
    assert item.pairs["torch mxnet"] == "PyTorch and MXNet Gluon differ on 0.00% of the pixels."
    assert len(item.pairs) == 4 + 6


@pytest.mark.parametrize(
    ("predictions", "names"),
    [
        (1, []),
        (2, ["2 different answers"]),
        (4, ["2 different answers", "3 different answers", "4 different answers"]),
        (5, ["2 different answers", "3 different answers", "4 or more different answers"]),
    ],
)
def test_the_legend_of_disagreement_has_the_colours_that_can_occur(
    predictions: int, names: list[str]
) -> None:
    assert list(gallery_page.legend_answers(predictions)) == names


def test_a_picture_of_the_gallery_that_is_missing_or_of_another_size_is_named(
    compare: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / compare["gallery"][1]["predictions"]["jax"]
    write_label(path, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"jax/predictions/val_000001.png: has 8 × 8 .* restore"):
        gallery_page.gallery_items(compare, tmp_path, dict(BACKENDS))
    path.unlink()
    with pytest.raises(InputError, match="jax/predictions/val_000001.png"):
        gallery_page.gallery_items(compare, tmp_path, dict(BACKENDS))
