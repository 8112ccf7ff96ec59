"""The generated data set: the layout, the classes, the borders, and the same bytes each time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.classes import VOC, VOID, Classes
from common.data import synthetic
from common.data.dataset import own_recipe
from common.data.masks import label_image
from common.data.synthetic import LOOKS, draw_pair, make_dataset
from common.errors import InputError
from common.machine import progress
from common.recipes import make_recipe
from tests.machine.clocks import clock_of

SIZE = (96, 128)


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def scenes(count: int, seed: int = 0, split: int = 0) -> tuple[np.ndarray, np.ndarray]:
    pairs = [draw_pair(SIZE, np.random.default_rng([seed, split, i])) for i in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])


def test_drawing_shows_how_far_it_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "time", clock_of(6))
    make_dataset(tmp_path, train=3, val=2, size=SIZE, seed=0)
    assert capsys.readouterr().err.splitlines() == [
        "drawing: 1 of 5 images, 0:24 left (6 s an image)",
        "drawing: 5 of 5 images in 0:30",
    ]


def test_the_layout_is_vocs(tmp_path: Path) -> None:
    make_dataset(tmp_path / "new", train=3, val=2, size=SIZE, seed=0)
    root = tmp_path / "new"
    for split, count in (("train", 3), ("val", 2)):
        names = (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
        assert len(names) == count
        for name in names:
            with Image.open(root / "JPEGImages" / f"{name}.jpg") as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", SIZE[::-1])
            with Image.open(root / "SegmentationClass" / f"{name}.png") as mask:
                assert (mask.format, mask.mode, mask.size) == ("PNG", "P", SIZE[::-1])
                # Pillow does not keep trailing colours that no pixel uses.
                colors = bytes(mask.getpalette() or [])
                assert colors == VOC.palette[: len(colors)]
                assert set(np.unique(mask)) <= {*range(len(VOC.names)), VOID}
    assert len(tree(root)) == 2 * 5 + 3


@pytest.mark.parametrize(
    "train, size, crop, batch_size",
    [(320, (96, 128), (96, 96), 16), (3, (64, 100), (64, 96), 3), (16, (400, 500), (96, 96), 16)],
)
def test_it_has_the_recipe_that_fits(
    tmp_path: Path, train: int, size: Any, crop: tuple[int, int], batch_size: int
) -> None:
    root = tmp_path / "new"
    make_dataset(root, train=train, val=1, size=size, seed=0)
    assert own_recipe(root) == make_recipe("generated", crop=crop, batch_size=batch_size)


@pytest.mark.parametrize(
    "text", ["", "[]", 'preset = "none"', 'preset = "modern"\ncrop = [95, 96]']
)
def test_a_damaged_recipe_of_a_data_set_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "fcn-recipe.toml").write_text(text)
    with pytest.raises(InputError, match=r"fcn-recipe\.toml: "):
        own_recipe(tmp_path)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 4), ("b", 4), ("c", 5)):
        make_dataset(tmp_path / folder, train=4, val=2, size=SIZE, seed=seed)
    first, second, other = (tree(tmp_path / folder) for folder in "abc")
    assert first == second
    images = [name for name in first if name.endswith((".jpg", ".png"))]
    assert all(first[name] != other[name] for name in images)


def test_a_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    make_dataset(tmp_path / "small", train=2, val=1, size=SIZE, seed=0)
    make_dataset(tmp_path / "large", train=4, val=3, size=SIZE, seed=0)
    large = tree(tmp_path / "large")
    for name, data in tree(tmp_path / "small").items():
        assert name == "fcn-recipe.toml" or large[name].startswith(data)


def test_no_validation_image_is_a_training_image(tmp_path: Path) -> None:
    make_dataset(tmp_path / "new", train=6, val=6, size=SIZE, seed=0)
    images = [data for name, data in tree(tmp_path / "new").items() if name.endswith(".jpg")]
    assert len(images) == len(set(images)) == 12


def test_background_covers_half_to_four_fifths_in_each_split() -> None:
    for split in (0, 1):
        for seed in range(3):
            _, labels = scenes(64, seed, split)
            known = labels[labels != VOID]
            assert 0.5 <= np.mean(known == 0) <= 0.8
            assert 0.5 <= np.mean(labels == 0) <= 0.8


def test_every_class_appears_often_and_none_dominates() -> None:
    _, labels = scenes(64)
    pixels = np.bincount(labels.ravel(), minlength=256)
    drawn = [VOC.names.index(name) for name in LOOKS]
    assert len(drawn) >= 8
    assert set(np.flatnonzero(pixels)) == {0, VOID, *drawn}
    share = pixels[drawn] / pixels[drawn].sum()
    assert share.min() > 0.04
    assert share.max() < 0.25


def test_void_separates_every_two_labels() -> None:
    _, labels = scenes(16)
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])):
        assert not np.any((a != b) & (a != VOID) & (b != VOID))
    assert 0.01 < np.mean(labels == VOID) < 0.1


def test_the_border_is_as_wide_as_asked() -> None:
    label = np.zeros((8, 20), np.uint8)
    label[:, 10:] = 7
    for radius in (1, 2, 3):
        border = synthetic._boundary(label, radius)
        expected = np.zeros(20, bool)
        expected[10 - radius : 10 + radius] = True
        assert np.array_equal(border, np.broadcast_to(expected, (8, 20)))


def test_objects_overlap() -> None:
    _, labels = scenes(32)
    objects = np.where((labels == 0) | (labels == VOID), 0, labels).astype(int)
    # Across a border of two pixels lies another object.
    left, right = objects[:, :, :-3], objects[:, :, 3:]
    meet = (left != right) & (left > 0) & (right > 0)
    assert np.mean(meet.any(axis=(1, 2))) > 0.3


def test_objects_and_background_have_texture() -> None:
    images, labels = scenes(32)
    spread = [
        image[label == c].std(axis=0).max()
        for image, label in zip(images, labels, strict=True)
        for c in np.unique(label[label != VOID])
        if np.sum(label == c) > 200
    ]
    noise = 6
    assert np.median(spread) > 2 * noise
    assert min(spread) > noise


def test_a_class_varies_in_place_size_and_brightness() -> None:
    images, labels = scenes(120)
    index = VOC.names.index("person")
    seen = [(image, label == index) for image, label in zip(images, labels, strict=True)]
    seen = [(image, mask) for image, mask in seen if mask.sum() > 300]
    area = np.array([mask.sum() for _, mask in seen])
    center = np.array([np.argwhere(mask).mean(axis=0) for _, mask in seen])
    brightness = np.array([image[mask].mean() for image, mask in seen])
    assert len(seen) > 10
    assert area.max() > 2 * area.min()
    assert np.all(np.ptp(center, axis=0) > 0.3 * np.array(SIZE))
    assert brightness.max() > 1.3 * brightness.min()


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make_dataset(tmp_path, train=1, val=1, size=SIZE, seed=0)
    assert tree(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        make_dataset(tmp_path / "file", train=1, val=1, size=SIZE, seed=0)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0}, "at least 1"),
        ({"val": 0}, "at least 1"),
        ({"size": (63, 128)}, "63x128"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_values_outside_their_range_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    arguments = {"train": 1, "val": 1, "size": SIZE, "seed": 0, **change}
    with pytest.raises(InputError, match=message):
        make_dataset(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_an_interrupted_make_leaves_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[np.ndarray] = []

    def interrupted(labels: np.ndarray, classes: Classes) -> Image.Image:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(labels)
        return label_image(labels, classes)

    monkeypatch.setattr(synthetic, "label_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "new", train=3, val=2, size=SIZE, seed=0)
    assert list((tmp_path / "new" / "JPEGImages").iterdir())
    assert not list((tmp_path / "new").rglob("*.txt"))
