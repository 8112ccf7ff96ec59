"""Several views of an image: each is brought to the image's size, and their mean decides."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.equal_work.evaluation import HeldData
from common.classes import VOID
from common.config import Config
from common.data.crops import resize_logits, scaled_size
from common.data.images import resize_image
from common.data.tiling import predict_tiled, predict_views
from common.options import config_from, predict_parser
from common.recipes import make_recipe
from common.reference.operations import log_mean_softmax, resize
from common.run import loop
from tests.conftest import PRESENT

TILE = (32, 64)
SIZES = ((20, 30), (45, 131), (64, 64))


def drawn(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def predict_batch(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return logits of four classes, each pixel's of its own colour."""
    colors = images.astype(np.float32) / 64
    return np.concatenate([colors, colors[..., :1] - colors[..., 1:2]], -1)


def expected(image: NDArray[np.uint8], views: Any) -> NDArray[np.float64]:
    size = image.shape[0], image.shape[1]
    logits = []
    for scale, _ in views:
        view = resize_image(image, scaled_size(size, scale))
        # Pixel by pixel: a mirrored view has the same logits once it is mirrored back.
        logits.append(resize(predict_batch(view[None])[0].astype(np.float64), size))
    return log_mean_softmax(logits)


@pytest.mark.parametrize("size", [(7, 9), (14, 9), (3, 20), (1, 1), (8, 5)])
def test_logits_are_resized_as_the_reference_does(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(1).normal(size=(7, 9, 3)).astype(np.float32)
    resized = resize_logits(logits, size)
    assert resized.dtype == np.float32 and resized.shape == (*size, 3)
    np.testing.assert_allclose(resized, resize(logits.astype(np.float64), size), atol=1e-6)


@pytest.mark.skipif("torch" not in PRESENT, reason="FCN_SKIP_BACKENDS names torch")
def test_the_reference_resizes_as_interpolate_does() -> None:
    import torch

    x = np.random.default_rng(1).normal(size=(7, 9, 3))
    for size in ((14, 9), (3, 20), (10, 13)):
        y = torch.nn.functional.interpolate(
            torch.tensor(x).permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(resize(x, size), y[0].permute(1, 2, 0).numpy(), atol=1e-12)


@pytest.mark.parametrize(
    "views",
    [
        ((1.0, False), (1.0, True)),
        ((0.5, False), (1.0, False), (1.5, False)),
        ((0.75, False), (0.75, True), (2.0, False), (2.0, True)),
    ],
)
def test_the_mean_probability_decides(views: Any) -> None:
    images = [drawn(seed, size) for seed, size in enumerate(SIZES)]
    items = zip(images, range(len(images)), strict=True)
    answers = {n: labels for labels, n in predict_views(items, TILE, predict_batch, views)}
    assert sorted(answers) == [0, 1, 2]
    for number, image in enumerate(images):
        scores = expected(image, views)
        second, first = np.sort(scores, -1)[..., -2:].transpose(2, 0, 1)
        clear = first - second > 1e-4
        assert clear.mean() > 0.95 and answers[number].dtype == np.uint8
        assert (answers[number] == scores.argmax(-1))[clear].all()
        one = predict_batch(image[None])[0].argmax(-1)
        assert (one != scores.argmax(-1)).mean() > 0.01 or views[0][0] == views[-1][0] == 1


def test_one_view_of_an_image_is_the_image() -> None:
    items = [(drawn(seed, size), seed) for seed, size in enumerate(SIZES)]
    one = {n: x for x, n in predict_views(items, TILE, predict_batch, ((1.0, False),))}
    for logits, number in predict_tiled(items, TILE, predict_batch):
        assert (one[number] == logits.argmax(-1)).all() and logits.dtype == np.float32


@pytest.mark.parametrize("test_scales", [(1.0,), (0.5, 1.25)])
def test_the_label_maps_are_scored_at_their_full_size(test_scales: tuple[float, ...]) -> None:
    recipe = replace(make_recipe("modern"), tile=TILE, test_scales=test_scales, test_flip=True)
    backend: Any = SimpleNamespace(
        to_device=lambda array, config: array,
        to_host=lambda array: array,
        predict_step=lambda state, images: predict_batch(images),
        classify_step=lambda state, images: predict_batch(images).argmax(-1).astype(np.uint8),
    )
    generator = np.random.default_rng(2)
    labels = [generator.choice([0, 1, 3, VOID], size).astype(np.uint8) for size in SIZES]
    images = [(drawn(label.size, (label.shape[0], label.shape[1])), label) for label in labels]
    record = loop.evaluate(backend, SimpleNamespace(config=Config(recipe)), HeldData([], images))
    pixels = np.array(record["confusion"]).sum(1)
    by_label = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    assert (pixels == [*by_label[:21], by_label[VOID]]).all()
    assert record["scores"]["background"]["pixels"] == sum(h * w for h, w in SIZES)


def test_predict_takes_the_views_as_options(tmp_path: Path) -> None:
    words = ["a.png", "--weights", "w", "--out", "o"]
    assert not config_from(predict_parser("p").parse_args(words)).recipe.averages_views
    args = predict_parser("p").parse_args([*words, "--test-flip", "--test-scales", "0.75,1"])
    views = ((0.75, False), (0.75, True), (1.0, False), (1.0, True))
    assert config_from(args).recipe.views == views
