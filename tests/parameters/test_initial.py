"""The bilinear kernel against values worked out by hand; first parameters by their digest."""

from hashlib import sha256

import numpy as np
import pytest

from common.parameters.initial import bilinear_kernel, initial_parameters
from common.recipes import make_recipe

ROWS = {
    1: [1],
    2: [1 / 2, 1 / 2],
    3: [1 / 2, 1, 1 / 2],
    4: [1 / 4, 3 / 4, 3 / 4, 1 / 4],
    5: [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3],
    8: [1 / 8, 3 / 8, 5 / 8, 7 / 8, 7 / 8, 5 / 8, 3 / 8, 1 / 8],
}


@pytest.mark.parametrize("size", ROWS)
def test_every_channel_holds_the_known_taps(size):
    kernel = bilinear_kernel(3, 3, size)
    assert kernel.dtype == np.float32
    assert kernel.shape == (3, 3, size, size)
    expected = np.outer(ROWS[size], ROWS[size])
    for channel in range(3):
        np.testing.assert_allclose(kernel[channel, channel], expected, rtol=1e-7)


@pytest.mark.parametrize("size", [2, 3, 64])
def test_the_chapters_formula_gives_the_same_values(size):
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 == 1 else factor - 0.5
    down, across = np.ogrid[:size, :size]
    chapter = (1 - abs(down - center) / factor) * (1 - abs(across - center) / factor)
    assert (bilinear_kernel(1, 1, size)[0, 0] == chapter.astype(np.float32)).all()


@pytest.mark.parametrize("channels", [(3, 3), (2, 5), (5, 2)])
def test_a_channel_feeds_its_own_number_only(channels):
    kernel = bilinear_kernel(*channels, 4)
    feeds = kernel.any(axis=(2, 3))
    assert (feeds == np.eye(*channels, dtype=bool)).all()


@pytest.mark.parametrize("stride", [1, 2, 8, 32])
def test_taps_that_meet_in_one_pixel_add_up_to_one(stride):
    kernel = bilinear_kernel(1, 1, 2 * stride)[0, 0]
    phases = kernel.reshape(2, stride, 2, stride).sum(axis=(0, 2))
    np.testing.assert_allclose(phases, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("preset", "digest"),
    [
        ("chapter-torch", "43b092dfde077d629a34a53cf8147f2deb5c16c3aacdee7818a8aaf2ffa4e379"),
        ("chapter-mxnet", "bf3d6e6aa326b541cd2457d34904a773dab8881a9d42f09aaea03d947f21a512"),
    ],
)
def test_the_first_parameters_of_a_preset_are_the_bytes_that_they_were(preset, digest):
    """Stored results began with these: one that changed could not be trained again."""
    drawn = sha256()
    for name, value in initial_parameters(make_recipe(preset), 0).items():
        drawn.update(name.encode() + value.tobytes())
    assert drawn.hexdigest() == digest
