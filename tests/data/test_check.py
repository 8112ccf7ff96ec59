"""A data set as a whole: what its files have in common, and what a sound one never brings."""

import io
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from common.classes import VOC, VOID
from common.data import looks
from common.data.check import check_dataset, survey
from common.data.dataset import open_dataset, shared_images
from common.data.images import write_image
from common.data.looks import look_at, signs
from common.data.masks import read_label, write_label
from common.data.synthetic import make_dataset
from common.errors import InputError
from tests.data.conftest import image, mask


def change_masks(root, change):
    """Save every label map as ``change`` makes it of the labels: an array, or Pillow's image."""
    for path in sorted((root / "SegmentationClass").iterdir()):
        changed = change(read_label(path))
        picture = changed if isinstance(changed, Image.Image) else Image.fromarray(changed)
        picture.save(path)


def odd(root):
    """Return what is said of the data set as a whole."""
    return [problem.what for problem in check_dataset(root).problems if problem.file == root]


def opened(root):
    return open_dataset(root, "train", None), open_dataset(root, "val", None)


def without_void(labels):
    return np.where(labels == VOID, 0, labels).astype(np.uint8)


def test_a_sound_data_set_has_no_problems(generated):
    findings = check_dataset(generated)
    assert findings.problems == []
    assert findings.images == {"train": 12, "val": 6}
    assert sum(findings.shares.values()) == pytest.approx(1)
    assert max(findings.shares, key=findings.shares.__getitem__) == "background"
    assert survey(*opened(generated)) == []


def test_label_maps_are_read_by_as_many_threads_as_a_quota_is_enough_for(generated, monkeypatch):
    threads = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, count):
            threads.append(count)
            super().__init__(count)

    monkeypatch.setattr(looks, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr("common.machine.threads.available_cpus", lambda: list(range(16)))
    monkeypatch.setattr("common.machine.threads.cpu_limit", lambda: 3.5)
    survey(*opened(generated))
    assert threads == [3]


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_data_sets_bring_no_warning(tmp_path, seed):
    make_dataset(tmp_path / "d", train=1, val=1, size=(64, 64), seed=seed)
    assert check_dataset(tmp_path / "d").problems == []


@pytest.mark.parametrize("label", range(1, 21))
@pytest.mark.parametrize("kind", ["palette", "grey", "rgb"])
def test_a_data_set_of_one_class_brings_no_warning(tmp_path, label, kind):
    looks = []
    for n in range(12):
        labels = np.zeros((8, 9), np.uint8)
        labels[n % 4 :, 3:] = label
        path = tmp_path / f"{n}.png"
        if kind == "palette":
            write_label(path, labels)
        else:
            Image.fromarray(labels if kind == "grey" else VOC.to_rgb(labels)).save(path)
        looks.append(look_at(path))
    assert signs(looks, VOC) == []


def test_real_label_maps_bring_no_warning(voc):
    looks = [look_at(path) for path in sorted((voc / "SegmentationClass").iterdir())[:40]]
    assert signs(looks, VOC) == []


def test_every_broken_file_is_reported(root, names):
    image(root, names[0]).unlink()
    whole = image(root, names[1]).read_bytes()
    image(root, names[1]).write_bytes(whole[: len(whole) // 2])
    write_label(mask(root, names[2]), np.zeros((80, 111), np.uint8))
    write_label(mask(root, names[3]), np.full((80, 112), 21, np.uint8))
    Image.new("RGB", (112, 80), (1, 2, 3)).save(mask(root, names[4]))
    Image.new("RGBA", (112, 80)).save(mask(root, names[5]))
    mask(root, names[6]).unlink()
    (root / "ImageSets/Segmentation/val.txt").unlink()
    found = [(problem.file, problem.what) for problem in check_dataset(root).problems]
    listed = root / "ImageSets/Segmentation/train.txt"
    expected = [
        (listed, f"line 1 names {names[0]}, but JPEGImages has no {names[0]}.jpg"),
        (listed, f"line 7 names {names[6]}, but SegmentationClass has no {names[6]}.png"),
        (image(root, names[1]), "not a complete, readable image"),
        (mask(root, names[2]), "is 80x111, but its image is 80x112"),
        (mask(root, names[3]), "label 21 is neither"),
        (mask(root, names[4]), "colour (1, 2, 3)"),
        (mask(root, names[5]), "has transparent pixels"),
        (root / "ImageSets/Segmentation/val.txt", "is absent"),
    ]
    assert [file for file, _ in found] == [file for file, _ in expected]
    for (_, what), (_, start) in zip(found, expected, strict=True):
        assert what.startswith(start)


def test_a_missing_list_does_not_hide_the_other_lists_problems(root):
    (root / "ImageSets/Segmentation/train.txt").unlink()
    next((root / "JPEGImages").glob("val*")).unlink()
    files = [problem.file.name for problem in check_dataset(root).problems]
    assert files == ["train.txt", "val.txt"]


def test_no_folder_to_check_is_an_error(tmp_path):
    with pytest.raises(InputError, match="there is no such data folder"):
        check_dataset(tmp_path / "absent")


def test_an_image_in_both_splits_is_counted(root, names):
    val = (root / "ImageSets/Segmentation/val.txt").read_text().split()
    shutil.copy(image(root, names[3]), image(root, val[2]))  # The same under another name.
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join([*val, names[0], names[1]]))
    expected = f"3 of 8 validation images are training images too, such as {val[2]}"
    assert shared_images(*opened(root))[0].startswith(expected)
    assert [what.startswith(expected) for what in odd(root)] == [True]
    assert [what.startswith(expected) for what in survey(*opened(root))] == [True]


@pytest.mark.parametrize("change, numbers", [
    (lambda labels: np.where(labels, 255, 0).astype(np.uint8), r"0 \(back.*\) and 255 \(void\)"),
    (np.zeros_like, r"0 \(background\)"),
    (lambda labels: np.full_like(labels, 255), r"255 \(void\)"),
    (lambda labels: Image.fromarray(labels > 0).convert("L"), r"0 .* and 255 \(void\)"),
    (lambda labels: Image.fromarray(np.where(labels, 255, 0).astype(np.uint8)).convert("P"),
     r"0 .* and 255 \(void\)"),
])  # fmt: skip
def test_masks_of_void_alone_are_told(root, change, numbers):
    change_masks(root, change)
    for found in (odd(root), survey(*opened(root))):
        assert len(found) == 1
        assert re.search(f"hold nothing but {numbers}: no class can be learned", found[0])


def test_black_and_white_masks_are_told(root):
    change_masks(
        root, lambda labels: np.repeat(np.where(labels, 255, 0).astype(np.uint8)[..., None], 3, 2)
    )
    assert odd(root) == [
        "18 of 18 label maps hold values that are no class: they are black and white: save objects "
        "as their class number, 1 to 20"
    ]


SWAPPED = "are VOC's once red and blue are swapped, so the others are likely swapped too"
GREYS = "are the greys of VOC's colours"


def test_swapped_channels_are_told(root):
    change_masks(root, lambda labels: VOC.to_rgb(without_void(labels))[..., ::-1])
    [what] = odd(root)
    assert SWAPPED in what
    with pytest.raises(InputError, match=rf"\.png: colour .*and \d+ more .*{SWAPPED}"):
        survey(*opened(root))


def test_one_swapped_mask_among_sound_ones_is_told_alone(root, names):
    labels = np.zeros((80, 112), np.uint8)
    labels[5:9] = 15
    Image.fromarray(np.ascontiguousarray(VOC.to_rgb(labels)[..., ::-1])).save(mask(root, names[0]))
    [what] = odd(root)
    assert what.startswith(
        "1 of 18 label maps hold values that are no class: their colours are VOC's once red and "
        "blue are swapped:"
    )


@pytest.mark.parametrize("weights", [(0.299, 0.587, 0.114), (0.2125, 0.7154, 0.0721), (1 / 3,) * 3])
@pytest.mark.parametrize("rounding", [np.rint, np.floor])
@pytest.mark.parametrize("channels", [1, 3])
def test_greys_of_vocs_colours_are_told(root, weights, rounding, channels):
    def grey(labels):
        values = rounding(VOC.to_rgb(labels) @ np.array(weights)).astype(np.uint8)
        return values if channels == 1 else np.repeat(values[..., None], 3, 2)

    change_masks(root, grey)
    [what] = odd(root)
    assert what.startswith("18 of 18") and GREYS in what
    with pytest.raises(InputError, match=GREYS):
        survey(*opened(root))


def test_pillows_grey_is_told_where_no_void_shows_it(root):
    change_masks(
        root, lambda labels: Image.fromarray(VOC.to_rgb(without_void(labels))).convert("L")
    )
    [what] = odd(root)
    assert f"{GREYS}, so the others are likely grey too" in what


def test_class_numbers_in_three_channels_are_told(root):
    change_masks(root, lambda labels: np.repeat(labels[..., None], 3, 2))
    [what] = odd(root)
    assert what == (
        "18 of 18 label maps hold values that are no class: their three channels are equal class "
        "numbers: save one channel, as grey"
    )


def test_one_wrong_number_is_not_taken_for_grey(root, names):
    write_label(mask(root, names[0]), np.full((80, 112), 100, np.uint8))
    assert odd(root) == []


def test_numbers_that_count_from_one_are_told(root):
    change_masks(root, lambda labels: np.where(labels < 20, labels + 1, labels).astype(np.uint8))
    [what] = odd(root)
    assert what.startswith("none of 18 label maps has any background (0): do the class numbers")


@pytest.mark.parametrize("way", ["smaller", "larger", "jpeg"])
def test_label_maps_that_were_resized_or_compressed_as_photographs_are_told(root, way):
    def change(labels):
        picture = Image.fromarray(np.where(labels == 0, 0, 15).astype(np.uint8))
        if way == "jpeg":
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=75)
            return np.minimum(np.array(Image.open(buffer)), 20)
        scale = 0.6 if way == "smaller" else 3
        small = picture.resize((round(112 * scale), round(80 * scale)), Image.Resampling.BILINEAR)
        return small.resize((112, 80), Image.Resampling.BILINEAR) if way == "smaller" else small

    change_masks(root, change)
    for image_path in (root / "JPEGImages").iterdir():
        if way == "larger":
            Image.open(image_path).resize((336, 240)).save(image_path)
    [what] = odd(root)
    assert "of the edges between labels are slopes" in what


def test_a_palette_that_is_refused_is_not_taken_for_equal_channels(root):
    change_masks(
        root,
        lambda labels: Image.fromarray(VOC.to_rgb(labels)).convert(
            "P", palette=Image.Palette.ADAPTIVE
        ),
    )
    assert odd(root) == []
    assert len(check_dataset(root).problems) == 18


def test_background_that_was_saved_as_void_is_told(root):
    change_masks(root, lambda labels: np.where(labels == VOID, VOID, labels - 1).astype(np.uint8))
    [what] = odd(root)
    assert re.match(r"\d\d% of all pixels are void \(255\): is that the background", what)


def test_nearest_neighbours_are_no_slopes(root):
    nearest = Image.Resampling.NEAREST
    change_masks(
        root,
        lambda labels: Image.fromarray(labels).resize((51, 37), nearest).resize((112, 80), nearest),
    )
    assert odd(root) == []
    assert check_dataset(root).problems == []


@pytest.mark.parametrize("colors", [True, False])
def test_classes_that_are_none_of_vocs_are_told_with_what_is_read(root, colors):
    """Someone's own colours, or numbers spread over the greys so that a viewer shows them."""
    own = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    change_masks(
        root, lambda labels: own[labels % 3] if colors else (labels % 3 * 30).astype(np.uint8)
    )
    [what] = odd(root)
    assert what.startswith(
        "18 of 18 label maps hold values that are no class: their numbers or colours are not"
    )
    assert "objects as a class number from 1 to 20, as grey" in what


def numbered(tmp_path, counts):
    """Return what label maps show whose labels are 1 to each of the counts."""
    looks = []
    for n, count in enumerate(counts):
        write_label(tmp_path / f"{n}.png", np.arange(count + 1, dtype=np.uint8)[:, None])
        looks.append(look_at(tmp_path / f"{n}.png"))
    return looks


def test_numbers_of_objects_in_place_of_classes_are_told(tmp_path):
    [what] = signs(numbered(tmp_path, [1, 2, 1, 3, 5, 1, 1, 2, 4, 1]), VOC)
    assert what.startswith("in every label map the labels are 1, 2, 3, ... without a gap")
    assert signs(numbered(tmp_path, [1, 2] * 20), VOC) == []  # Two classes that are always nested.
    assert signs(numbered(tmp_path, [1, 2, 3]), VOC) == []  # Too few to tell.


def test_a_palette_that_changes_from_file_to_file_is_told(root):
    colors = {1: (255, 0, 0), 2: (0, 255, 0)}

    def change(labels):
        picture = Image.fromarray((labels > 0).astype(np.uint8))
        picture.putpalette([0, 0, 0, *colors[1 + int(labels.sum()) % 2]])
        return picture

    change_masks(root, change)
    [what] = odd(root)
    assert what.startswith("number 1 has the colour (")
    assert "an image program has numbered the colours of each file anew" in what
    change_masks(root, lambda labels: _with_palette(labels, [0, 0, 0, 255, 0, 0]))
    assert odd(root) == []


def _with_palette(labels, colors):
    picture = Image.fromarray((labels > 0).astype(np.uint8))
    picture.putpalette(colors)
    return picture


def test_a_picture_is_not_taken_for_a_swapped_mask(root, names, generator):
    write_image(mask(root, names[0]), generator.integers(0, 256, (80, 112, 3), dtype=np.uint8))
    assert odd(root) == []


def test_what_is_said_is_one_line_each(root):
    change_masks(root, lambda labels: VOC.to_rgb(labels)[..., ::-1])
    assert all("\n" not in what for what in odd(root))
