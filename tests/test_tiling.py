"""Images of any size in, their own logits out, by as few batches as there are shapes and tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.tiling import TILES_PER_BATCH, predict_tiled, tile_for

SIZE = st.tuples(st.integers(1, 150), st.integers(1, 150))


@pytest.mark.parametrize(
    "size, tile",
    [
        ((375, 500), (384, 512)),  # VOC's usual size: whole.
        ((320, 480), (320, 480)),
        ((500, 333), (512, 352)),
        ((1080, 1920), (512, 512)),
        ((20, 600), (32, 512)),
    ],
)
def test_a_tile_is_the_image_rounded_up_as_far_as_it_may_be(size, tile):
    assert tile_for(size, (512, 512)) == tile


@given(st.lists(SIZE, max_size=12))
def test_every_image_gets_its_own_logits_once(sizes):
    largest = (64, 96)
    images = [
        np.random.default_rng(n).integers(0, 256, (*size, 3), dtype=np.uint8)
        for n, size in enumerate(sizes)
    ]
    batches: list[tuple[int, ...]] = []

    def predict_batch(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(batch.shape[:3])
        return batch.astype(np.float32)

    items = zip(images, range(len(images)), strict=True)
    found = list(predict_tiled(items, largest, predict_batch))
    assert sorted(n for _, n in found) == list(range(len(images)))
    for logits, n in found:
        np.testing.assert_allclose(logits, images[n], rtol=1e-6)
    tiles: dict[tuple[int, ...], int] = {}
    for height, width in sizes:
        tile = tile_for((height, width), largest)
        count = -(-height // tile[0]) * -(-width // tile[1])
        tiles[tile] = tiles.get(tile, 0) + count
    expected = [
        (TILES_PER_BATCH, *tile)
        for tile, count in tiles.items()
        for _ in range(-(-count // TILES_PER_BATCH))
    ]
    assert sorted(batches) == sorted(expected)
