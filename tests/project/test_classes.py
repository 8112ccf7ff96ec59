"""Class lists: VOC's, a user's file, and the way between labels and colours."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from benchmarks.commands.parity import command_parser
from common.classes import VOC, VOID, VOID_COLOR, Classes, voc_colors
from common.config import Config
from common.errors import InputError
from common.options import predict_parser, training_parser
from common.recipes import make_recipe

LABELS = (*range(21), VOID)
KNOWN = {tuple(int(v) for v in color) for color in VOC.colors} | {VOID_COLOR}


def test_the_colours_are_the_chapters():
    listed = [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
        (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
        (0, 192, 0), (128, 192, 0), (0, 64, 128),
    ]  # fmt: skip
    assert VOC.table.dtype == np.uint8
    assert list(VOC.colors) == listed
    assert len(VOC.names) == 21
    assert (VOC.names[0], VOC.names[8], VOC.names[15], VOC.names[20]) == (
        "background", "cat", "person", "tvmonitor",
    )  # fmt: skip


def test_the_palette_holds_the_colours_and_void():
    triples = np.frombuffer(VOC.palette, np.uint8).reshape(256, 3)
    assert [tuple(map(int, triple)) for triple in triples[:21]] == list(VOC.colors)
    assert tuple(triples[VOID]) == VOID_COLOR
    assert len({tuple(triple) for triple in triples}) == 256


@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=8), elements=st.sampled_from(LABELS)))
def test_labels_survive_the_way_to_colours_and_back(labels):
    colors = VOC.to_rgb(labels)
    assert colors.dtype == np.uint8
    assert colors.shape == (*labels.shape, 3)
    back = VOC.from_rgb(colors)
    assert back.dtype == np.uint8
    assert (back == labels).all()


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_any_other_colour_is_named_or_counts_as_background(color):
    mask = np.array([[VOID_COLOR, color, VOC.colors[20]]], np.uint8)
    if color in KNOWN:
        assert tuple(VOC.to_rgb(VOC.from_rgb(mask))[0, 1]) == color
        return
    with pytest.raises(InputError) as error:
        VOC.from_rgb(mask)
    assert str(color) in str(error.value)


def test_the_neighbours_of_each_colour_are_unknown():
    for color in KNOWN:
        for channel in range(3):
            near = np.array(color)
            near[channel] += 1 if near[channel] < 255 else -1
            with pytest.raises(InputError):
                VOC.from_rgb(near.astype(np.uint8)[None])


def test_a_part_of_a_larger_array_is_looked_up_alike(generator):
    labels = generator.choice(np.array(LABELS, np.uint8), (12, 16))
    colors = VOC.to_rgb(labels)
    assert (VOC.from_rgb(colors[::2, 3:][:, ::-1]) == labels[::2, 3:][:, ::-1]).all()


OWN = Classes(("background", 'a "crack"', "rust \\ rost"), ((0, 0, 0), (250, 0, 0), (250, 0, 1)))


def many(count):
    colors = tuple(tuple(map(int, color)) for color in voc_colors(count))
    return Classes(tuple(f"class {label}" for label in range(count)), colors)


@pytest.mark.parametrize("classes", [OWN, VOC, many(1), many(2), many(255)])
def test_a_written_list_is_read_as_it_was(classes, tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text(classes.to_toml(), encoding="utf-8")
    assert Classes.read(path) == classes
    assert Classes.from_json(json.loads(json.dumps(classes.to_json()))) == classes


@pytest.mark.parametrize("encoding, end", [("utf-8-sig", "\n"), ("utf-8", "\r\n")])
def test_a_list_of_another_editor_is_read(encoding, end, tmp_path):
    path = tmp_path / "classes.toml"
    path.write_bytes(OWN.to_toml().replace("\n", end).encode(encoding))
    assert Classes.read(path) == OWN


@pytest.mark.parametrize("classes", [OWN, many(1), many(254), many(255)])
def test_labels_of_an_own_list_survive_the_way_to_colours_and_back(classes):
    labels = np.array([*range(len(classes.names)), VOID], np.uint8)
    assert (classes.from_rgb(classes.to_rgb(labels)) == labels).all()
    with pytest.raises(InputError, match=r"^colour \(3, 2, 1\) belongs to no class$"):
        classes.from_rgb(np.array([[3, 2, 1]], np.uint8))


ENTRY = '[[class]]\nname = "{}"\ncolor = [{}]\n'


def entries(*pairs):
    return "".join(ENTRY.format(*pair) for pair in pairs)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "has no list of classes: expected [[class]] tables"),
        ("class = 3", "has no list of classes: "),
        ("class = [1]", "has no list of classes: "),
        ('[class]\nname = "a"\ncolor = [1, 2, 3]', "has no list of classes: "),
        ("classes = []", "key 'classes' is unknown: "),
        ('{"name": "a"}', "not a class list in TOML (Invalid statement"),
        ("class = " + "[" * 9000, "not a class list in TOML ("),
        ("#" + "x" * 2**20, "has more than 1048576 bytes"),
        ('[[class]]\nname = "a"', "class 0: color is missing"),
        ("[[class]]\ncolor = [1, 2, 3]", "class 0: name is missing"),
        ('[[class]]\nname = "a"\ncolor = "#ff0000"', "class 0: color is '#ff0000'"),
        ("[[class]]\nname = 7\ncolor = [1, 2, 3]", "class 0: name is 7"),
        (entries(("a", "1, 2, 3")) + "id = 4", "class 0: key 'id' is unknown"),
        (entries(("a", "1, 2, 3, 4")), "class 'a': color is [1, 2, 3, 4]: expected 3 of 0..255"),
        (entries(("a", "1, 2, 256")), "class 'a': color is [1, 2, 256]: "),
        (entries(("a", "1, 2, -1")), "class 'a': color is [1, 2, -1]: "),
        (entries(("a", "1, 2, true")), "class 0: color is [1, 2, True]"),
        (entries(("a", "0.5, 0, 1")), "class 0: color is [0.5, 0, 1]"),
        (entries((" ", "1, 2, 3")), "class '': expected a name of printable characters"),
        (entries(("a\\u001B[2Jb", "1, 2, 3")), "class 'a\\x1b[2Jb': expected a name of"),
        (
            entries(("a", "1, 2, 3"), ("b", "1, 2, 3")),
            "classes 0 and 1 have the same color, [1, 2, 3]: each needs a color of its own",
        ),
        (entries(("a", "1, 2, 3"), ("a ", "1, 2, 4")), "classes 0 and 1 have the same name, 'a'"),
        (entries(("void", "1, 2, 3")), "class 'void' has the name or the colour of void"),
        (entries(("a", "224, 224, 192")), "class 'a' has the name or the colour of void"),
        (entries(*((n, f"0, 1, {n}") for n in range(256))), "has 256 classes: expected 1 to 255"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(text, message, tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        Classes.read(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_list_that_cannot_be_read_is_refused(tmp_path):
    for data in (b"\xff\xfe[", b"\x00"):
        (tmp_path / "bytes.toml").write_bytes(data)
        with pytest.raises(InputError, match="not a class list in TOML"):
            Classes.read(tmp_path / "bytes.toml")
    with pytest.raises(InputError, match=r": there is no such class list$"):
        Classes.read(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match=r": cannot be read \(Is a directory\)$"):
        Classes.read(tmp_path)


@pytest.mark.parametrize("parser", [training_parser("t"), predict_parser("p"), command_parser()])
def test_a_bad_list_is_a_bad_option(parser, tmp_path):
    path = tmp_path / "classes.toml"
    path.write_text("x = 1", encoding="utf-8")
    with pytest.raises(InputError, match=r"^--classes: .*: key 'x' is unknown: "):
        parser.parse_args(["--classes", str(path)])


def test_a_configuration_keeps_its_list_and_an_older_one_has_vocs(tmp_path):
    config = Config(make_recipe("modern", classes=OWN))
    stored = json.loads(json.dumps(config.to_json()))
    assert Config.from_json(stored) == config and config.recipe.num_classes == 3
    del stored["recipe"]["classes"]
    assert Config.from_json(stored).recipe.classes == VOC
