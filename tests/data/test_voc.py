"""Classes, colours, and the way between labels and colours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from common.data.voc import CLASSES, COLORS, VOID, VOID_COLOR, index_to_rgb, palette, rgb_to_index
from common.errors import InputError

LABELS = (*range(21), VOID)
KNOWN = {tuple(int(v) for v in color) for color in COLORS} | {VOID_COLOR}


def test_the_colours_are_the_chapters():
    listed = [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
        (0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0),
        (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0),
        (0, 192, 0), (128, 192, 0), (0, 64, 128),
    ]  # fmt: skip
    assert COLORS.dtype == np.uint8
    assert [tuple(int(v) for v in color) for color in COLORS] == listed
    assert len(CLASSES) == 21
    assert (CLASSES[0], CLASSES[8], CLASSES[15], CLASSES[20]) == (
        "background", "cat", "person", "tvmonitor",
    )  # fmt: skip


def test_the_palette_holds_the_colours_and_void():
    triples = np.frombuffer(palette(), np.uint8).reshape(256, 3)
    assert (triples[:21] == COLORS).all()
    assert tuple(triples[VOID]) == VOID_COLOR
    assert len({tuple(triple) for triple in triples}) == 256


@given(arrays(np.uint8, array_shapes(max_dims=3, max_side=8), elements=st.sampled_from(LABELS)))
def test_labels_survive_the_way_to_colours_and_back(labels):
    colors = index_to_rgb(labels)
    assert colors.dtype == np.uint8
    assert colors.shape == (*labels.shape, 3)
    back = rgb_to_index(colors)
    assert back.dtype == np.uint8
    assert (back == labels).all()


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_any_other_colour_is_named_or_counts_as_background(color):
    mask = np.array([[VOID_COLOR, color, tuple(COLORS[20])]], np.uint8)
    if color in KNOWN:
        assert tuple(index_to_rgb(rgb_to_index(mask))[0, 1]) == color
        return
    with pytest.raises(InputError) as error:
        rgb_to_index(mask)
    assert str(color) in str(error.value)


def test_the_neighbours_of_each_colour_are_unknown():
    for color in KNOWN:
        for channel in range(3):
            near = np.array(color)
            near[channel] += 1 if near[channel] < 255 else -1
            with pytest.raises(InputError):
                rgb_to_index(near.astype(np.uint8)[None])


def test_a_part_of_a_larger_array_is_looked_up_alike(generator):
    labels = generator.choice(np.array(LABELS, np.uint8), (12, 16))
    colors = index_to_rgb(labels)
    assert (rgb_to_index(colors[::2, 3:][:, ::-1]) == labels[::2, 3:][:, ::-1]).all()
