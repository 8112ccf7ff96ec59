"""The pictures of comparisons, studies and the case accuracy, whatever the images are called."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.commands.compare import gallery as gallery_of_comparison
from benchmarks.pages.gallery import gallery_item
from benchmarks.records.documents import Bench
from benchmarks.records.results import read_document
from benchmarks.records.training_documents import Compared, Study
from benchmarks.studies.runs import copy_predictions, write_examples
from common.config import Config
from common.data.images import read_image
from common.data.masks import read_label, write_label
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.recipes import make_recipe
from common.run import training
from common.run.training import TrainingData
from tests.support.bench_sample import sample_bench
from tests.support.report_sample import sample_accuracy, sample_compare, sample_study

NAMES = ["sub/c", "sub/deep/c", "c", "c-truth", "c-b", "v1.2", "a\\b", "a\tb"]
"""What a list may call images."""
OWNERS = ["b-c", "truth", "c", "images"]
"""What a recipe may be called."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingData:
    """A data set whose validation images have these names, all of them in the gallery."""
    monkeypatch.setattr(training, "EXAMPLES", len(NAMES))
    root = tmp_path / "data"
    make_dataset(root, train=4, val=len(NAMES), size=(64, 64), seed=0)
    for number, name in enumerate(NAMES):
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            target = root / folder / f"{name}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            (root / folder / f"val_{number:06d}{suffix}").rename(target)
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return TrainingData(root, Config(make_recipe("modern", crop=(64, 64), batch_size=4)))


def write_predictions(folder: Path, label: int, names: list[str] = NAMES) -> Path:
    """Write a prediction of each image as a training does; return their folder."""
    for name in names:
        write_label(folder / f"{name}.png", np.full((64, 64), label, np.uint8))
    return folder


def check_gallery(folder: Path, document: Any) -> None:
    """Check that the entries' predictions are those of labels 0, 1, 2 and that a page shows all."""
    recipe = document["config"]["recipe"]
    accepted = document["gallery"]
    assert [entry["name"] for entry in accepted] == NAMES
    for entry in accepted:
        assert read_label(folder / entry["truth"]).max() > 0
        shown = [read_label(folder / path) for path in entry["predictions"].values()]
        assert [np.unique(labels).tolist() for labels in shown] == [[0], [1]]
        titles = {name: name for name in entry["predictions"]}
        assert len(gallery_item(entry, folder, titles, recipe).tiles) == 5


def test_images_in_subfolders_are_shown_by_a_study(data: TrainingData, tmp_path: Path) -> None:
    document = sample_study(tmp_path)
    document["gallery"] = write_examples(tmp_path, data)
    for label, variant in enumerate(("bilinear", "xavier")):
        source = write_predictions(tmp_path / "runs" / variant, label)
        copy_predictions(tmp_path, document["gallery"], variant, source)
    (tmp_path / "study.json").write_text(json.dumps(document), encoding="utf-8")
    check_gallery(tmp_path, read_document(tmp_path, Study))


def test_images_in_subfolders_are_shown_by_a_comparison(data: TrainingData, tmp_path: Path) -> None:
    document = sample_compare(tmp_path)
    rows = [row for row in document["rows"] if row["backend"] in ("torch", "jax")]
    for label, row in enumerate(rows):
        write_predictions(tmp_path / "runs" / row["backend"] / "predictions", label)
    document |= {"rows": rows, "gallery": gallery_of_comparison(tmp_path, data, rows)}
    (tmp_path / "compare.json").write_text(json.dumps(document), encoding="utf-8")
    check_gallery(tmp_path, read_document(tmp_path, Compared))


def test_images_in_subfolders_are_shown_by_a_benchmark(data: TrainingData, tmp_path: Path) -> None:
    case = sample_accuracy(tmp_path)
    case["gallery"] = write_examples(tmp_path, data)
    for label, backend in enumerate(("torch", "jax")):
        source = write_predictions(tmp_path / "accuracy" / backend, label)
        copy_predictions(tmp_path, case["gallery"], backend, source)
    document = {**sample_bench(), "accuracy": case}
    (tmp_path / "bench.json").write_text(json.dumps(document), encoding="utf-8")
    check_gallery(tmp_path, read_document(tmp_path, Bench)["accuracy"])


def test_no_picture_has_the_path_of_another(data: TrainingData, tmp_path: Path) -> None:
    entries = write_examples(tmp_path, data)
    for label, owner in enumerate(OWNERS):
        copy_predictions(tmp_path, entries, owner, write_predictions(tmp_path / owner, label))
    for entry, (image, (_, truth)) in zip(entries, data.examples(), strict=True):
        assert np.array_equal(read_image(tmp_path / entry["image"]), image)
        assert np.array_equal(read_label(tmp_path / entry["truth"]), truth)
        for label, owner in enumerate(OWNERS):
            assert (read_label(tmp_path / entry["predictions"][owner]) == label).all()


@pytest.mark.parametrize(
    "path",
    [
        "gallery/../secret.png",
        "gallery/sub/../../../secret.png",
        "gallery/./secret.png",
        "gallery//secret.png",
        "gallery/sub\0/secret.png",
        "runs/../predictions/secret.png",
        "runs/torch/predictions/../../../../secret.png",
        "runs/torch/secret.png",
    ],
)
def test_a_path_that_leads_out_is_refused(path: str, tmp_path: Path) -> None:
    document = sample_compare(tmp_path)
    document["gallery"][0]["image"] = path
    (tmp_path / "compare.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="gallery"):
        read_document(tmp_path, Compared)
