"""A data set in VOC's layout: what is read, what is dropped, and what each broken file brings."""

import shutil

import numpy as np
import pytest
from PIL import Image

from common.data.dataset import find_voc, open_dataset
from common.data.images import read_image, write_image
from common.data.lists import list_path
from common.data.masks import read_label, write_label
from common.errors import InputError
from tests.data.conftest import image, mask


def write_list(root, names, split="train"):
    (root / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{n}\n" for n in names))


def test_pairs_are_read_in_the_lists_order(root, names):
    write_list(root, reversed(names))
    dataset = open_dataset(root, "train", None)
    assert dataset.names == tuple(reversed(names))
    assert dataset.sizes == ((80, 112),) * 12
    assert dataset.dropped == 0
    pixels, labels = dataset.read(2)
    assert (pixels == read_image(image(root, names[-3]))).all()
    assert (labels == read_label(mask(root, names[-3]))).all()


def test_images_smaller_than_the_crop_are_dropped_and_counted(root, names):
    for name, size in zip(names, [(64, 96), (63, 200), (200, 95), (65, 97)], strict=False):
        write_image(image(root, name), np.zeros((*size, 3), np.uint8))
        write_label(mask(root, name), np.zeros(size, np.uint8))
    dataset = open_dataset(root, "train", (64, 96))
    assert dataset.dropped == 2
    assert dataset.names == (names[0], *names[3:])
    assert dataset.sizes[:3] == ((64, 96), (65, 97), (80, 112))
    assert open_dataset(root, "train", None).dropped == 0


def test_a_large_image_is_refused_when_the_data_set_is_opened(root, names):
    write_image(image(root, names[3]), np.zeros((81, 112, 3), np.uint8))
    write_label(mask(root, names[3]), np.zeros((81, 112), np.uint8))
    with pytest.raises(InputError, match=rf"{names[3]}\.jpg: has 81x112 pixels, more than 8,960"):
        open_dataset(root, "train", None, 80 * 112)
    dataset = open_dataset(root, "train", None, 81 * 112)
    write_image(image(root, names[3]), np.zeros((82, 112, 3), np.uint8))
    with pytest.raises(InputError, match="has 82x112 pixels, more than 9,072"):
        dataset.read(3)


def test_only_headers_are_read(root, names, monkeypatch):
    def decode(*_):
        raise AssertionError("a whole image was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    assert len(open_dataset(root, "train", (64, 96)).names) == 12


def test_the_digest_follows_names_and_bytes(root, names):
    first = open_dataset(root, "train", None).digest
    assert open_dataset(root, "train", None).digest == first
    assert open_dataset(root, "val", None).digest != first
    path = mask(root, names[5])
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0")
    assert open_dataset(root, "train", None).digest != first
    path.write_bytes(whole)
    write_list(root, names[1:])
    assert open_dataset(root, "train", None).digest != first
    write_list(root, [names[1], names[0], *names[2:]])
    assert open_dataset(root, "train", None).digest != first
    for file in (image, mask):
        file(root, names[0]).rename(file(root, "renamed"))
    write_list(root, ["renamed", *names[1:]])
    assert open_dataset(root, "train", None).digest != first


def test_an_exif_turned_image_has_the_size_it_is_shown_in(root, names):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 112)).save(image(root, names[0]), exif=exif)
    dataset = open_dataset(root, "train", None)
    assert dataset.sizes[0] == (80, 112)
    assert dataset.read(0)[0].shape == (80, 112, 3)


def test_an_exif_turned_image_with_a_mask_that_is_not_is_refused(root, names):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (112, 80)).save(image(root, names[0]), exif=exif)
    what = rf"{names[0]}\.png: is 80x112, but its image is 112x80, because the EXIF orientation of "
    with pytest.raises(InputError, match=what + "the image turns it"):
        open_dataset(root, "train", None)
    Image.new("RGB", (80, 112)).save(image(root, names[0]))
    Image.new("L", (80, 112)).save(mask(root, names[0]), exif=exif)
    what = "but its image is 112x80, because the EXIF orientation of the label map turns it"
    with pytest.raises(InputError, match=what):
        open_dataset(root, "train", None)


def break_nothing_but(what, root, names):
    """Break the data set in one way; return what the error must say."""
    if what == "no folder":
        shutil.rmtree(root)
        return f"{root}: there is no such data folder"
    if what == "empty folder":
        shutil.rmtree(root)
        root.mkdir()
        return r"train\.txt: is absent: .* must be a folder in VOC2012's layout"
    if what == "another list":
        list_path(root, "train").rename(list_path(root, "default"))
        return r"train\.txt: is absent: beside it stands default\.txt: name the images of each"
    if what == "mask of another size":
        write_label(mask(root, names[4]), np.zeros((80, 111), np.uint8))
        return rf"{names[4]}\.png: is 80x111, but its image is 80x112: both must have one size"
    assert what == "no image file"
    image(root, names[4]).write_bytes(b"not a picture")
    return rf"{names[4]}\.jpg: not in the format"


@pytest.mark.parametrize(
    "what",
    [
        "no folder", "empty folder", "another list", "mask of another size", "no image file",
    ],
)  # fmt: skip
def test_a_broken_data_set_does_not_open_and_says_why(root, names, what):
    message = break_nothing_but(what, root, names)
    with pytest.raises(InputError, match=message) as error:
        open_dataset(root, "train", None)
    assert "\n" not in str(error.value)


def test_a_crop_larger_than_every_image_is_refused(root):
    what = r": every image of train is smaller than the crop of 96x96, the largest is 80x112: "
    with pytest.raises(InputError, match=what):
        open_dataset(root, "train", (96, 96))


@pytest.mark.parametrize("file", [image, mask])
def test_a_file_that_changed_its_size_after_opening_is_named(root, names, file):
    dataset = open_dataset(root, "train", None)
    Image.new("L", (111, 80)).save(file(root, names[1]))
    with pytest.raises(
        InputError, match=rf"{file(root, names[1]).name}: is 80x111 now, but was 80x112"
    ):
        dataset.read(1)


def test_a_named_folder_is_taken_at_its_word(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_VOC_ROOT", str(tmp_path / "absent"))
    assert find_voc() == tmp_path / "absent"


@pytest.mark.parametrize("split, listed, kept", [("train", 437, 327), ("val", 223, 164)])
def test_the_shared_part_of_voc_keeps_its_known_counts(voc, split, listed, kept):
    dataset = open_dataset(voc, split, (320, 480))
    assert (len(dataset.names), dataset.dropped) == (kept, listed - kept)


def test_a_real_pair_is_a_photograph_and_its_classes(voc):
    dataset = open_dataset(voc, "val", (320, 480))
    pixels, labels = dataset.read(0)
    assert pixels.shape == (*labels.shape, 3)
    assert labels.shape == dataset.sizes[0]
    assert set(np.unique(labels)) <= {*range(21), 255}
    assert 255 in labels
