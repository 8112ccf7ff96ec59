"""Images of any size in, their own labels out, by as few batches as there are shapes and tiles."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.data import tiling
from common.data.crops import count_tiles, merge_tiles, tile_for, tiles
from common.data.images import read_image
from common.data.tiling import (
    LOOK_AHEAD,
    TILES_PER_BATCH,
    ahead,
    predict_tiled,
    predict_views,
)
from common.errors import InputError
from common.recipes import ONE_VIEW
from tests.machine.memory import least_peak

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
def test_every_image_gets_its_own_labels_once(sizes):
    largest = (64, 96)
    images = [
        np.random.default_rng(n).integers(0, 4, (*size, 3), dtype=np.uint8)  # Ties among them.
        for n, size in enumerate(sizes)
    ]
    batches: list[tuple[bool, tuple[int, ...]]] = []

    def predict_batch(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append((False, batch.shape[:3]))
        return batch.astype(np.float32)

    def classify_batch(batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        batches.append((True, batch.shape[:3]))
        return batch.argmax(-1).astype(np.uint8)

    items = zip(images, range(len(images)), strict=True)
    found = list(predict_tiled(items, largest, predict_batch, classify_batch))
    assert sorted(n for _, n in found) == list(range(len(images)))
    for labels, n in found:
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, images[n].argmax(-1))
    counts: dict[tuple[bool, tuple[int, ...]], int] = {}
    for height, width in sizes:
        tile = tile_for((height, width), largest)
        count = -(-height // tile[0]) * -(-width // tile[1])
        counts[count == 1, tile] = counts.get((count == 1, tile), 0) + count
    expected = [
        (whole, (TILES_PER_BATCH, *tile))
        for (whole, tile), count in counts.items()
        for _ in range(-(-count // TILES_PER_BATCH))
    ]
    assert sorted(batches) == sorted(expected)


@given(SIZE, st.tuples(st.sampled_from([32, 64]), st.sampled_from([32, 96])), st.integers(0, 9))
def test_rows_that_are_finished_early_are_those_of_the_whole_image(size, largest, seed):
    """The same numbers in the same order: equal to the last bit, ties among them too."""
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    tile = tile_for(size, largest)
    offsets = tiles((max(size[0], tile[0]), max(size[1], tile[1])), tile)
    logits = [generator.integers(-2, 3, (*tile, 4)) / np.float32(7) for _ in offsets]
    logits = [part.astype(np.float32) for part in logits]
    expected = merge_tiles(logits, offsets, size).argmax(-1)

    coming = iter(logits)

    def predict_batch(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [next(coming, logits[0]) for _ in batch]
        return np.stack(parts)

    def classify_batch(batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return predict_batch(batch).argmax(-1).astype(np.uint8)

    [(labels, _)] = predict_tiled([(image, None)], largest, predict_batch, classify_batch)
    np.testing.assert_array_equal(labels, expected)


def test_the_memory_of_a_large_image_grows_with_its_width_alone() -> None:
    classes, side = 21, 128
    logits = np.zeros((TILES_PER_BATCH, side, side, classes), np.float32)

    def peak_beside_the_image(size: tuple[int, int]) -> int:
        image = np.zeros((*size, 3), np.uint8)
        steps = lambda _: logits, lambda _: logits.argmax(-1)
        peak = least_peak(lambda: list(predict_tiled([(image, None)], (side, side), *steps)))
        return peak - image[..., 0].nbytes  # The labels.

    width = 1500
    stated = 4 * classes * side * width
    low, high = peak_beside_the_image((600, width)), peak_beside_the_image((2400, width))
    # Beside the sums there are the classes of a row of tiles, eight bytes a pixel, and two tiles.
    assert stated < low < 1.5 * stated
    assert high < 1.05 * low


def test_images_are_made_in_order_by_a_thread_while_others_are_used() -> None:
    second_was_asked_for = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        second_was_asked_for.set()
        yield from range(1, 20)

    found = []
    for item in ahead(items()):
        assert second_was_asked_for.wait(10), "nothing is made while the first is used"
        found.append(item)
    assert found == list(range(20))
    assert list(ahead([])) == []


def test_an_image_that_cannot_be_read_is_reported_when_its_turn_comes(tmp_path: Path) -> None:
    images = ahead(n if n < 2 else read_image(tmp_path / "absent.png") for n in range(3))
    assert [next(images), next(images)] == [0, 1]
    with pytest.raises(InputError, match="absent"):
        next(images)


@pytest.mark.parametrize("size", [(40, 50), (64, 96), (65, 96), (300, 500)])
@pytest.mark.parametrize("views", [ONE_VIEW, ((0.5, False), (1.0, True), (1.5, False))])
def test_as_many_tiles_are_predicted_as_are_counted_before(size, views):
    images = [np.zeros((*size, 3), np.uint8)] * 3
    counts: list[int] = []
    largest = (64, 96)

    def predict_batch(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return batch.astype(np.float32)

    items = zip(images, range(3), strict=True)
    if views == ONE_VIEW:
        done = predict_tiled(items, largest, predict_batch, None, counts.append)
    else:
        done = predict_views(items, largest, predict_batch, views, counts.append)
    assert len(list(done)) == 3
    assert sum(counts) == 3 * count_tiles(size, largest, views)
    assert len(counts) >= sum(counts) / TILES_PER_BATCH


def test_few_images_wait_for_another_of_their_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two views have one shape, so each of them waits as long as it may."""
    sizes = [(32 * (1 + n // 4), 32 * (1 + n % 4)) for n in range(16)]
    monkeypatch.setattr(tiling, "PIXELS_AT_ONCE", sum(h * w for h, w in sizes[:4]))
    begun: list[int] = []

    def images() -> Iterator[tuple[NDArray[np.uint8], int]]:
        for number, size in enumerate(sizes):
            begun.append(number)
            yield np.zeros((*size, 3), np.uint8), number

    def predict_batch(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return batch.astype(np.float32)

    views = ((1.0, False), (1.5, False))
    predicted = predict_views(images(), (512, 512), predict_batch, views)
    waiting = [len(begun) - count for count, _ in enumerate(predicted)]
    assert len(waiting) == len(sizes)
    assert max(waiting) <= 5 + LOOK_AHEAD, "four images of a group, the next one, and those ahead"
