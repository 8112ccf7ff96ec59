"""Training images scaled at random before their crops, and images resized."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.classes import VOID
from common.config import Config, learning_rate
from common.data.batches import EpochPlan, Loader, plan_epoch
from common.data.crops import PADDING, scaled_crop, scaled_size
from common.data.dataset import Dataset, open_dataset
from common.data.images import resize_image
from common.errors import InputError
from common.parameters.files import read_parameters
from common.recipe_files import to_toml
from common.recipes import make_recipe
from common.run.log import read_metrics
from common.run.training import TrainingData

RECIPE = make_recipe("modern", batch_size=4, crop=(64, 96))
SCALED = replace(RECIPE, random_scale=(0.5, 2.0))


def drawn(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height, width, 3), np.uint8)
    return image, generator.integers(0, 22, (height, width), np.uint8)


@pytest.fixture
def dataset(generated: Path) -> Dataset:
    return open_dataset(generated, "train", None)


def plans(dataset: Dataset) -> Iterator[EpochPlan]:
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        yield plan_epoch(dataset, SCALED, seed, epoch, training=True)


def test_scales_are_of_seed_and_epoch_and_within_their_range(dataset: Dataset) -> None:
    scales = [plan.scales for plan in plans(dataset)]
    again = [plan.scales for plan in plans(dataset)]
    for one, same in zip(scales, again, strict=True):
        assert one is not None and (one == same).all()
        assert 0.5 <= one.min() < 1 < one.max() <= 2
    assert len({one.tobytes() for one in scales if one is not None}) == 3


def test_order_and_mirrored_crops_are_the_same_without_scales(dataset: Dataset) -> None:
    plain = plan_epoch(dataset, RECIPE, 3, 1, training=True)
    scaled = plan_epoch(dataset, SCALED, 3, 1, training=True)
    assert plain.scales is None and (plain.indices == scaled.indices).all()
    # Some scaled images leave a corner no choice, which draws nothing.
    assert scaled.scales is not None and (scaled.tops == 0).any()
    assert (plain.flips == scaled.flips).all() and 0 < scaled.flips.sum() < len(scaled.flips)
    assert plan_epoch(dataset, SCALED, 3, 1, training=False).scales is None


def test_a_batch_has_the_parts_that_the_plan_states(dataset: Dataset) -> None:
    plan = plan_epoch(dataset, SCALED, 3, 1, training=True)
    batch = next(Loader(dataset, SCALED).epoch(plan, 0))
    assert plan.scales is not None
    for row in range(4):
        image, label = dataset.read(int(plan.indices[row]))
        size = scaled_size(label.shape, plan.scales[row])
        whole = resize_image(image, size)
        step, padded = -1 if plan.flips[row] else 1, np.full((64, 96, 3), PADDING, np.uint8)
        part = whole[plan.tops[row] :, plan.lefts[row] :][:64, :96]
        padded[: part.shape[0], : part.shape[1]] = part
        difference = batch.images[row].astype(int) - padded[:, ::step]
        # Both passes of the filter round, with weights that are rounded for each part.
        assert np.abs(difference).max() <= 2 and np.abs(difference).mean() < 0.1
        assert set(np.unique(batch.labels[row])) <= {*np.unique(label), VOID}


def test_a_label_map_has_the_nearest_pixels_of_its_image() -> None:
    image, label = drawn(40, 60)
    _, twice = scaled_crop(image, label, (80, 120), (0, 0), (80, 120))
    assert (twice == label.repeat(2, 0).repeat(2, 1)).all()
    _, part = scaled_crop(image, label, (80, 120), (31, 17), (32, 64))
    assert (part == twice[31:63, 17:81]).all()
    _, third = scaled_crop(image, label, (13, 20), (0, 0), (13, 20))
    assert (third == label[[1, 4, 7, 10, 13, 16, 20, 23, 26, 29, 32, 35, 38]][:, 1::3]).all()


def test_what_a_small_image_leaves_of_its_crop_is_the_mean_colour_and_void() -> None:
    image, label = drawn(40, 60)
    crop, labels = scaled_crop(image, label, (20, 30), (0, 0), (64, 96))
    assert crop.shape == (64, 96, 3) and labels.shape == (64, 96)
    for rows, columns in ((slice(20, None), slice(None)), (slice(None), slice(30, None))):
        assert (crop[rows, columns] == PADDING).all() and (labels[rows, columns] == VOID).all()
    assert (labels[:20, :30] != VOID).all()


def test_a_part_of_a_resized_image_is_that_of_the_whole() -> None:
    image, _ = drawn(45, 71)
    for size in ((23, 36), (90, 142), (61, 100)):
        whole = resize_image(image, size).astype(int)
        part = resize_image(image, size, (7, 5), (15, 30))
        assert np.abs(whole[7:22, 5:35] - part).max() <= 1
    assert (resize_image(image, (45, 71)) == image).all()


def test_an_image_that_is_smaller_than_the_crop_is_shown_where_it_is_padded(
    generated: Path,
) -> None:
    large = replace(SCALED, crop=(128, 160))
    data = TrainingData(generated, Config(large))
    batch = next(data.training(0))
    assert batch.images.shape == (4, 128, 160, 3) and data.train.dropped == 0
    with pytest.raises(
        InputError, match="every image of train is smaller than the crop of 128x160"
    ):
        TrainingData(generated, Config(replace(large, random_scale=(1.0, 1.0))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"random_scale": (2.0, 0.5)}, "--random-scale 2 0.5: the first must be the smaller"),
        ({"random_scale": (0.5, 5.0)}, "--random-scale 5.0 is too large: at most 4"),
        ({"random_scale": (0.0, 1.0)}, "--random-scale 0.0 is too small: at least 0.25"),
        ({"random_scale": (0.5, float("nan"))}, "--random-scale nan is too small"),
        ({"test_scales": (1.0, 9.0)}, "--test-scales 9.0 is too large: at most 4"),
        ({"test_scales": ()}, "--test-scales is empty"),
        ({"test_scales": (1, 0.5, 1.0)}, "--test-scales 1,0.5,1: 1 stands there twice"),
        ({"test_flip": True, "evaluation": "crops"}, "--test-flip and --test-scales are of whole"),
        ({"warmup_steps": -1}, "--warmup-steps -1 is too small: at least 0"),
    ],
)
def test_scales_that_there_cannot_be_are_refused(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        replace(RECIPE, **values)


def test_the_step_size_warms_up_in_a_straight_line_and_then_follows_the_schedule() -> None:
    constant = replace(RECIPE, learning_rate=0.8, schedule="constant", epochs=1, warmup_steps=4)
    assert [learning_rate(constant, k, 10) for k in range(6)] == [0.2, 0.4, 0.6000000000000001] + [
        0.8
    ] * 3
    polynomial = replace(constant, schedule="polynomial")
    plain = replace(polynomial, warmup_steps=0)
    for step, share in ((0, 0.25), (2, 0.75), (3, 1), (9, 1)):
        expected = share * 0.8 * (1 - step / 10) ** 0.9
        assert learning_rate(polynomial, step, 10) == pytest.approx(expected, rel=1e-12)
    assert learning_rate(polynomial, 7, 10) == learning_rate(plain, 7, 10)


def train(*options: object) -> None:
    """Train the small stand-in for PyTorch, which must succeed."""
    command = [sys.executable, "-m", "tests.support.small_training", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_training_goes_on_with_the_recipe_of_a_file_that_is_gone(
    generated: Path, tmp_path: Path
) -> None:
    recipe = replace(SCALED, name="mine", warmup_steps=3, schedule="constant", momentum=0.5)
    mine, run = tmp_path / "mine.toml", tmp_path / "run"
    mine.write_text(to_toml(recipe), encoding="utf-8")
    options = ("--data", generated, "--out", run, "--no-progress", "--max-steps", 2)
    train(*options, "--recipe", mine)
    mine.unlink()
    train("--resume", run, "--max-steps", 4)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert Config.from_json(config).recipe == recipe
    steps = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "step"]
    thirds = [recipe.learning_rate * share for share in (1 / 3, 2 / 3, 1, 1)]
    assert [line["learning_rate"] for line in steps] == pytest.approx(thirds)
    assert read_parameters(run / "model.safetensors")[1]["recipe"] == "mine"
