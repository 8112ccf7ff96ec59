"""How far a result is from the float64 reference's: the one relative error of every proof."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def relative_error(actual: ArrayLike, expected: ArrayLike, floor: float = 0.0) -> float:
    """Return ||actual - expected|| / ||expected|| over all values; 0 where both are equal.

    Args:
        actual: An array or a number.
        expected: The same of the reference.
        floor: The least that the error is divided by, for what is exactly or nearly zero.

    Returns:
        Infinity for what cannot be compared: another shape, or a value that is no finite number.
    """
    if np.shape(actual) != np.shape(expected):
        return math.inf
    expected = np.asarray(expected, np.float64)
    difference = float(np.linalg.norm(np.asarray(actual, np.float64) - expected))
    if difference == 0:
        return 0.0
    size = max(float(np.linalg.norm(expected)), floor)
    error = difference / size if size else math.inf
    return error if math.isfinite(error) else math.inf


def finite(value: float | None) -> float | None:
    """Return a number as JSON can hold it: None for what is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def step_errors(losses: Sequence[float | None], expected: Sequence[float]) -> list[float]:
    """Return the relative error of the loss of every step that both trainings did.

    None stands for a loss that is no finite number. The loss of a batch that is all void is 0:
    there the error is absolute.
    """
    return [
        math.inf if loss is None else relative_error(loss, exact, floor=float(exact == 0))
        for loss, exact in zip(losses, expected, strict=False)
    ]


def length_error(actual: NDArray, expected: NDArray) -> float:
    """Return |1 - <actual, expected> / <expected, expected>|, how far a move's length is off.

    Only the part along the expected move counts: 1 where it is left out, r - 1 where it is r times
    as long. Infinity where it is no finite number.
    """
    along = float(np.vdot(expected, actual)) / float(np.vdot(expected, expected))
    return abs(1 - along) if math.isfinite(along) else math.inf


def ties(logits: NDArray, limit: float) -> int:
    """Return how many pixels of ``logits`` [..., C] may fall to either of two classes.

    Args:
        limit: So many standard deviations of all logits the largest is above the second at most.
    """
    second, first = np.moveaxis(np.partition(logits, -2, axis=-1)[..., -2:], -1, 0)
    return int((first - second <= limit * logits.std()).sum())


def moved_share(confusion: ArrayLike, expected: NDArray, ties: int) -> float:
    """Return the share of the pixels that a confusion matrix has in other cells than expected.

    Args:
        confusion: Counts; of another shape than ``expected`` they count as an infinite error.
        ties: So many pixels may be in either of two cells, and do not count.
    """
    if np.shape(confusion) != expected.shape:
        return math.inf
    # A pixel that moves is one too few in its cell and one too many in another.
    moved = np.abs(np.asarray(confusion) - expected).sum() / 2
    return max(0.0, float(moved) - ties) / float(expected.sum())


def preference(classes: NDArray, logits: NDArray) -> float:
    """Return the most by which ``logits`` are against one of the ``classes``; 0 in a tie.

    Args:
        classes: Whole numbers [..., H, W]; those of another size count as an infinite error.
        logits: [..., H, W, C], or [H, W, C] to which each of several label maps is held.

    Returns:
        The largest difference, in standard deviations of all logits.
    """
    if classes.shape[-2:] != logits.shape[-3:-1] or classes.max() >= logits.shape[-1]:
        return math.inf
    rows = np.broadcast_to(logits, (*classes.shape, logits.shape[-1]))
    chosen = np.take_along_axis(rows, classes[..., None].astype(np.intp), -1)[..., 0]
    return float((logits.max(-1) - chosen).max() / logits.std())
