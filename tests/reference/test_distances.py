"""Ties and moved pixels, against literal values worked out by hand."""

import math

import numpy as np
import pytest

from common.reference.distances import moved_share, ties


def test_a_tie_is_a_pixel_whose_two_largest_logits_are_near() -> None:
    logits = np.array([[0.0, 3.0, 1.0], [2.0, 0.5, 1.9], [1.0, 1.0, -2.0], [5.0, 0.0, 4.0]])
    deviation = logits.std()
    gaps = 0.0, 0.1, 1.0, 2.0
    for count, gap in enumerate(gaps, start=1):
        assert ties(logits, (gap + 1e-9) / deviation) == count
    assert ties(logits.reshape(2, 2, 3), 0.2 / deviation) == 2


EXPECTED = np.array([[6, 2], [0, 2]])


@pytest.mark.parametrize(
    ("confusion", "near", "share"),
    [
        ([[6, 2], [0, 2]], 0, 0.0),
        ([[5, 3], [0, 2]], 1, 0.0),
        ([[4, 4], [0, 2]], 1, 0.1),
        ([[3, 2], [0, 1]], 0, 0.2),  # Left out: each is one too few and nowhere one too many.
        ([[6, 2]], 10, math.inf),
        ([], 10, math.inf),
    ],
)
def test_a_pixel_in_another_cell_counts_unless_it_may_be_a_tie(
    confusion: list[list[int]], near: int, share: float
) -> None:
    assert moved_share(confusion, EXPECTED, near) == pytest.approx(share)
