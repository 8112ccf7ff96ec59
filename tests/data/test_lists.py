"""Lists as people write them: what has one meaning is read, and of the rest the line is named."""

import codecs
import shutil
import time
import unicodedata
from pathlib import Path

import pytest

from common.data.dataset import open_dataset
from common.data.lists import Resolver, read_pairs
from common.errors import InputError

NFC = "Gr\u00fc\u00dfe"
NFD = unicodedata.normalize("NFD", NFC)
assert NFC != NFD


@pytest.fixture
def root(tmp_path):
    """A data set of empty files, whose list is still to be written."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages/sub", "SegmentationClass/sub", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    add(root, "a", "b", "my image 1", "sub/c", "v1.2")
    return root


def add(root, *names, image="{}.jpg", label="{}.png"):
    for name in names:
        (root / "JPEGImages" / image.format(name)).touch()
        (root / "SegmentationClass" / label.format(name)).touch()


def write(root, text, split="train"):
    data = text if isinstance(text, bytes) else text.encode()
    (root / f"ImageSets/Segmentation/{split}.txt").write_bytes(data)


def names(root):
    return [pair.name for _, pair in read_pairs(root, "train")]


@pytest.mark.parametrize(
    "line, name",
    [
        ("a", "a"),
        ("  a\t", "a"),
        ("a.jpg", "a"),
        ("a.JPG", "a"),
        ("a.png", "a"),
        ("v1.2", "v1.2"),
        ("v1.2.jpg", "v1.2"),
        ("my image 1", "my image 1"),
        ("my image 1.jpg", "my image 1"),
        ("./a", "a"),
        ("sub/c", "sub/c"),
        ("sub//c", "sub/c"),
        ("sub\\c.jpg", "sub/c"),
        ("JPEGImages/a.jpg", "a"),
        ("SegmentationClass/a.png", "a"),
        ("JPEGImages\\a.jpg", "a"),
        ("/JPEGImages/sub/c.jpg", "sub/c"),
        ("VOC2012/JPEGImages/a.jpg", "a"),
        ("VOCdevkit/VOC2012/JPEGImages/a.jpg", "a"),
        ("JPEGImages/a.jpg SegmentationClass/a.png", "a"),
        ("/JPEGImages/a.jpg\t/SegmentationClass/a.png", "a"),
        ("JPEGImages/a.jpg,SegmentationClass/a.png", "a"),
        ("a.jpg a.png", "a"),
        ('"a"', "a"),
        ("'a.jpg'", "a"),
        ('"JPEGImages/a.jpg","SegmentationClass/a.png"', "a"),
    ],
)
def test_a_line_that_can_mean_one_image_is_read(root, line, name):
    write(root, f"b\n{line}\n")
    pairs = [pair for _, pair in read_pairs(root, "train")]
    assert [pair.name for pair in pairs] == ["b", name]
    assert pairs[1].image == root / f"JPEGImages/{name}.jpg"
    assert pairs[1].label == root / f"SegmentationClass/{name}.png"


def test_an_absolute_path_into_the_data_set_is_read(root, tmp_path):
    write(root, f"{root}/JPEGImages/a.jpg\n")
    assert names(root) == ["a"]
    (tmp_path / "link").symlink_to(root)
    assert names(tmp_path / "link") == ["a"]
    write(root, f"{tmp_path}/link/JPEGImages/a.jpg\n")
    assert names(tmp_path / "link") == ["a"]


@pytest.mark.parametrize(
    "line, what",
    [
        ("a 1", "line 2 has 2 columns, 'a 1', which do not name one image"),
        ("2008_000008 -1", "line 2 has 2 columns"),
        ("a b", "line 2 has 2 columns"),
        ("b c d", "line 2 has 3 columns"),
        ("x", r"line 2 names x, but JPEGImages has no x\.jpg, \.jpeg or \.png: beside it stand "),
        ("x.jpg", r"line 2 names x\.jpg, but JPEGImages has no x\.jpg"),
        ("sub/x", r"line 2 .*JPEGImages has no sub/x\.jpg.*: beside it stand sub/c\.jpg"),
        ("other/x", r"line 2 .*JPEGImages has no other/x\.jpg.*: JPEGImages/other has no files"),
        ("A", r"line 2 .*JPEGImages has no A\.jpg.*: beside it stand a\.jpg, b\.jpg"),
        ("b", "line 2 names b again, after line 1"),
        ("b.jpg", "line 2 names b again, after line 1"),
        ("JPEGImages/b.jpg", "line 2 names b again, after line 1"),
        (".", "line 2 names"),
        ("a" * 5000, "line 2 names aaa.{77}[.]{3}, but JPEGImages has no "),
        ("c " * 5000, "line 2 has 5000 columns, '(c ){40}[.]{3}', which"),
    ],
)
def test_a_line_that_means_no_image_is_named_with_what_stands_beside_it(root, line, what):
    write(root, f"b\n{line}\n")
    with pytest.raises(InputError, match=rf"train\.txt: {what}"):
        names(root)


@pytest.mark.parametrize(
    "line",
    [
        "../elsewhere", "/elsewhere", "//elsewhere", "//elsewhere/x", "sub/../../x", "a/../../b",
        "///x", "./../x", "JPEGImages/../../../x", "/etc/passwd", "..", "../VOC2012b/JPEGImages/a",
        "..\\x", "a ../x",
        "C:\\VOC\\JPEGImages\\a.jpg", "d:/VOC/JPEGImages/a.jpg", "//JPEGImages2/a", "/VOC2012/../x",
    ],
)  # fmt: skip
def test_a_line_that_leads_out_is_refused(root, line):
    write(root, f"b\n{line}\n")
    with pytest.raises(
        InputError, match=r"train\.txt: line 2 names .*, which leads out of the folder"
    ):
        names(root)


@pytest.mark.parametrize("line", ["//JPEGImages/a", "/JPEGImages/../JPEGImages/a.jpg"])
def test_whatever_is_read_lies_inside(root, line):
    write(root, line)
    assert names(root) == ["a"]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: codecs.BOM_UTF32_BE + text.encode("utf-32-be"),
        lambda text: text.replace("\r\n", "\r").encode(),
        lambda text: text.replace("\r\n", "\n").encode(),
    ],
    ids=[
        *("UTF-8 with a mark", "UTF-16", "UTF-16 big endian", "UTF-32", "UTF-32 big endian"),
        *("CR", "LF"),
    ],
)
def test_a_list_of_another_system_is_read(root, encode):
    add(root, NFC)
    write(root, encode(f"a\r\n{NFC}\r\n\r\nb"))
    assert names(root) == ["a", NFC, "b"]


@pytest.mark.parametrize(
    "data, what",
    [
        (b"", "is empty"),
        (b"\n \r\n\n", "is empty"),
        (b"a\nGr\xfc\xdfe\n", "line 2 is not text in UTF-8"),
        (b"\xff\xfea", "is not text in UTF-8"),
        ("a\r\nb".encode("utf-16-le"), "has zero bytes"),
        (b"a\0b\n", "has zero bytes"),
        (b"\x89PNG\r\n\x1a\n", "is not text"),
    ],
)
def test_a_list_that_is_no_text_is_refused(root, data, what):
    write(root, data)
    with pytest.raises(InputError, match=rf"train\.txt: {what}|train\.txt: line . {what}"):
        names(root)


@pytest.mark.parametrize("image", ["{}.JPG", "{}.jpeg", "{}.JPEG", "{}.png", "{}.PNG", "{}.Jpg"])
@pytest.mark.parametrize("label", ["{}.png", "{}.PNG"])
def test_a_suffix_may_be_another_of_its_kind(root, image, label):
    add(root, "x", image=image, label=label)
    write(root, "x\n")
    [(_, pair)] = read_pairs(root, "train")
    assert pair.name == "x"
    assert (pair.image.name, pair.label.name) == (image.format("x"), label.format("x"))
    assert pair.image.is_file() and pair.label.is_file()


def test_vocs_own_suffix_comes_first_and_two_others_are_refused(root):
    add(root, "x", image="{}.png")
    add(root, "x")
    write(root, "x\n")
    [(_, pair)] = read_pairs(root, "train")
    assert pair.image.name == "x.jpg"
    add(root, "y", image="{}.JPG")
    add(root, "y", image="{}.png")
    write(root, "y\n")
    with pytest.raises(
        InputError, match=r"line 1 names y, which may be y\.(JPG or y\.png|png or )"
    ):
        names(root)


@pytest.mark.parametrize("listed", [NFC, NFD])
@pytest.mark.parametrize("image", [NFC, NFD])
@pytest.mark.parametrize("label", [NFC, NFD])
def test_letters_with_accents_may_be_one_character_or_two(root, listed, image, label):
    add(root, "x", image=f"{image}.jpg", label=f"{label}.png")
    write(root, f"{listed}\n")
    [(_, pair)] = read_pairs(root, "train")
    assert pair.image.is_file() and pair.label.is_file()
    assert unicodedata.normalize("NFC", pair.name) == NFC


@pytest.mark.parametrize("label", ["{}.jpg", "{}.bmp", "{}_mask.png", "{}.npy"])
def test_a_label_map_of_another_name_or_kind_is_named(root, label):
    add(root, "x", label=label)
    write(root, "x\n")
    what = r"line 1 names x, but SegmentationClass has no x\.png: beside it stand .*"
    with pytest.raises(InputError, match=what + label.format("x").replace(".", r"\.")):
        names(root)


@pytest.mark.parametrize(
    "folder, inside",
    [("VOCdevkit", "VOCdevkit/VOC2012"), (".", "VOCdevkit/VOC2012"),
     ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012"),
     ("VOCdevkit/VOC2012/ImageSets", "VOCdevkit/VOC2012")],
)  # fmt: skip
def test_a_folder_near_the_data_set_points_to_it(root, tmp_path, folder, inside):
    write(root, "a\n")
    (tmp_path / "VOCdevkit/VOC2007/ImageSets/Segmentation").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"is not the data set itself: name {tmp_path / inside}$"):
        names(tmp_path / folder)


def test_a_folder_without_a_data_set_is_told_so(tmp_path):
    with pytest.raises(InputError, match="must be a folder in VOC2012's layout"):
        names(tmp_path)


def test_a_long_list_takes_a_time_that_grows_with_it(root, monkeypatch):
    count, suffixes = 40_000, {"JPEGImages": "jpg", "SegmentationClass": "png"}

    def entries(folder):
        return (folder / f"{n:06d}.{suffixes[folder.name]}" for n in range(count))

    monkeypatch.setattr(Path, "iterdir", entries)
    resolver = Resolver(root)
    start = time.process_time()
    for n in range(count):
        resolver.pair(f"{n:06d}")
    assert time.process_time() - start < 20


def test_one_name_twice_among_many_is_found_at_once(root, monkeypatch):
    listed = [f"{n:06d}" for n in range(40_000)]
    monkeypatch.setattr(Resolver, "pair", lambda self, line: _pair(line))
    write(root, "\n".join([*listed, listed[-1]]))
    start = time.process_time()
    with pytest.raises(InputError, match="line 40001 names 039999 again, after line 40000"):
        names(root)
    assert time.process_time() - start < 5


def _pair(line):
    from common.data.lists import Pair

    return Pair(line, Path(line), Path(line))


def test_a_data_set_of_such_names_opens(generated, tmp_path):
    root = shutil.copytree(generated, tmp_path / "VOC")
    [(_, first), (_, second), *_] = read_pairs(root, "train")
    first.image.rename(root / "JPEGImages/my image.JPG")
    first.label.rename(root / "SegmentationClass/my image.png")
    write(root, f"my image\r\nJPEGImages/{second.name}.jpg\r\n")
    dataset = open_dataset(root, "train", None)
    assert dataset.names == ("my image", second.name)
    assert dataset.read(0)[0].shape == (80, 112, 3)
    assert len(dataset.digest) == 64
