"""The bounds of a row: those of its case, some of which grow with the row's batch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.reference.tolerances import Bound

NORM_STRIDES = {"resnet18_v1": 2, "resnet18_v2": 1}
"""Backbone -> pixels a side for one value of the first norm, which sums the most values a channel:
that of v1 sees the stem's map, that of v2 the images."""
SUMMED = {"loss": 30_000, "statistics": 62_500, "score_weights": 2_400_000}
"""Values of a channel in the first norm; with more of them the bounds of these quantities grow.
docs/BENCHMARK.md says why."""
SUMMED_IN_GATE = {name: SUMMED[name] for name in ("statistics", "score_weights")}
"""As ``SUMMED``, before the first turn: the loss of the gate's parameters is hardly moved by a
norm's variance."""


def bounds_of_batch(
    bounds: Mapping[str, Mapping[str, Bound]],
    backbone: str,
    batch_size: int,
    crop: Sequence[int],
    summed: Mapping[str, int],
) -> dict[str, Mapping[str, Bound]]:
    """Return the bounds of a case for a batch of images of ``crop``.

    A norm's variance is a sum of squares. Where float32 values are added one after another, of each
    square is lost what is below half of the sum's last digit, which is worth the more, the more
    squares there are. Those of normal values have a density of d^(-1/2) at 0, so the sum lacks a
    share that grows with their number to the power of 3/2.

    Args:
        bounds: Of a case's gate or of its closing questions.
        summed: The quantities whose bounds grow -> the values from which on they do.
    """
    values = batch_size * math.prod(crop) / NORM_STRIDES[backbone] ** 2

    def grown(quantity: str, by_precision: Mapping[str, Bound]) -> Mapping[str, Bound]:
        growth = max(1.0, values / summed.get(quantity, math.inf)) ** 1.5
        bound = by_precision["float32"]
        return {**by_precision, "float32": replace(bound, limit=growth * bound.limit)}

    return {quantity: grown(quantity, bound) for quantity, bound in bounds.items()}
