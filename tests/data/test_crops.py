"""Paired crops, and tiles that cover an image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.crops import crop_pair, merge_tiles, pad_to, tile_offsets, tiles
from common.data.images import MEAN

SIDE = st.integers(1, 300)
TILE = st.integers(1, 4).map(lambda cells: 32 * cells)


def numbered(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose every pixel says where it is, and labels that say the same."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([y, x, y ^ x], -1), y ^ x


@given(data=st.data(), flip=st.booleans())
def test_image_and_labels_are_cut_at_the_same_place(data, flip):
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top = data.draw(st.integers(0, height - size[0]))
    left = data.draw(st.integers(0, width - size[1]))
    image, label = crop_pair(*numbered(height, width), top, left, size, flip)
    assert image.shape == (*size, 3)
    assert label.shape == size
    assert (image[..., 2] == label).all()
    assert (image[:, 0, 0] == np.arange(top, top + size[0])).all()
    columns = np.arange(left, left + size[1])
    assert (image[0, :, 1] == (columns[::-1] if flip else columns)).all()


def test_a_crop_outside_the_image_is_refused():
    with pytest.raises(AssertionError):
        crop_pair(*numbered(10, 10), 3, 0, (8, 8), False)


@pytest.mark.parametrize(
    "size, tile, offsets",
    [
        (320, 320, [0]),
        (200, 320, [0]),
        (321, 320, [0, 1]),
        (500, 480, [0, 20]),
        (96, 32, [0, 32, 64]),
    ],
)
def test_offsets_are_the_known_ones(size, tile, offsets):
    assert tile_offsets(size, tile) == offsets


@given(SIDE, TILE)
def test_the_fewest_tiles_cover_every_pixel_evenly(size, tile):
    offsets = tile_offsets(size, tile)
    covered = np.zeros(max(size, tile), int)
    for offset in offsets:
        assert 0 <= offset <= max(0, size - tile)
        covered[offset : offset + tile] += 1
    assert (covered >= 1).all()
    assert len(offsets) == max(1, -(-size // tile))
    steps = np.diff(offsets)
    assert not len(steps) or steps.max() - steps.min() <= 1


@given(SIDE, SIDE, TILE, TILE)
def test_padding_keeps_the_image_and_adds_the_mean_colour(height, width, tile_height, tile_width):
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    padded = pad_to(image, (tile_height, tile_width))
    assert padded.shape == (max(height, tile_height), max(width, tile_width), 3)
    assert (padded[:height, :width] == image).all()
    added = np.ones(padded.shape[:2], bool)
    added[:height, :width] = False
    assert (np.abs(padded[added] / 255 - MEAN) <= 0.5 / 255 + 1e-6).all()


@given(SIDE, SIDE, TILE, TILE)
def test_tiles_of_one_map_merge_to_that_map(height, width, tile_height, tile_width):
    padded = (max(height, tile_height), max(width, tile_width))
    logits = np.random.default_rng(height * 1000 + width).normal(size=(*padded, 2))
    logits = logits.astype(np.float32)
    offsets = tiles(padded, (tile_height, tile_width))
    parts = [logits[top : top + tile_height, left : left + tile_width] for top, left in offsets]
    merged = merge_tiles(parts, offsets, (height, width))
    assert merged.dtype == np.float32
    assert merged.shape == (height, width, 2)
    # Up to four equal values are summed and divided by their number.
    np.testing.assert_allclose(merged, logits[:height, :width], rtol=1e-6)


@given(st.integers(1, 150), st.integers(1, 150))
def test_overlapping_tiles_are_averaged(height, width):
    padded = (max(height, 64), max(width, 32))
    offsets = tiles(padded, (64, 32))
    parts = [np.full((64, 32, 1), 2.0**n, np.float32) for n in range(len(offsets))]
    merged = merge_tiles(parts, offsets, (height, width))
    for y in {0, height // 2, height - 1}:
        for x in {0, width // 2, width - 1}:
            over = [
                2.0**n
                for n, (top, left) in enumerate(offsets)
                if top <= y < top + 64 and left <= x < left + 32
            ]
            np.testing.assert_allclose(merged[y, x, 0], np.mean(over), rtol=1e-6)
