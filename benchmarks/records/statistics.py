"""Medians, intervals and tests, in NumPy alone: a bare container has to do the same statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.documents import Ratio
from benchmarks.records.run_documents import Interval

RESAMPLES = 2000
PERMUTATIONS = 9999
EXACT_PAIRS = 13
"""Up to so many pairs all of their sign flips are tried, else ``PERMUTATIONS`` drawn ones."""
LEVEL = 0.05
"""A difference is called one when its p-value, corrected for the pairs of its table, is less."""
PAIRED_TEST = "sign-flip permutation test of the mean log ratio over paired turns, Holm"
UNPAIRED_TEST = "permutation test of the difference of mean log times"


def bootstrap_medians(samples: Sequence[float], generator: np.random.Generator) -> NDArray:
    """Return the medians of ``RESAMPLES`` samples drawn with replacement."""
    values = np.asarray(samples, np.float64)
    return np.median(generator.choice(values, (RESAMPLES, len(values))), axis=1)


def middle(values: NDArray) -> tuple[float, float]:
    """Return what bounds the middle 95 % of ``values``."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def interval(samples: Sequence[float], seed: int = 0) -> Interval:
    """Return the median of ``samples`` and the bootstrap's 95 % interval of it.

    Each is drawn by itself, also of the two turns of a round, which share some of the machine's
    drift. With as much noise in common as of its own, more than is found, the interval of five
    rounds covers the median in 88 % of cases, in 92 % with none. Whole rounds, of which there are
    five, cover it in 80 and 76 % only; they would be better if a round's common noise were more
    than twice that of a turn.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentile method).
    """
    low, high = middle(bootstrap_medians(samples, np.random.default_rng(seed)))
    return {"median": float(np.median(samples)), "low": low, "high": high}


def share_as_large(null: NDArray, seen: float) -> float:
    """Return how often |null| reaches |seen|; sums in another order differ by rounding."""
    return float(np.mean(np.abs(null) >= abs(seen) * (1 - 1e-12) - 1e-300))


def paired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Ratio | None:
    """Compare the seconds of two rows, sample by sample of the same turn.

    Turn by turn, for in a pair's ratio what a round does to both has gone; and because flips of
    five whole rounds could never be significant: 2 / 2^5 is 0.0625.

    Returns:
        ``ratio`` of b's time to a's (the median, with its interval) and ``p_value``: how often a
        mean log ratio as large would come about if each pair's order were by chance. None with
        fewer than three pairs.
    """
    count = len(a)
    if count < 3:
        return None
    logs = np.log(np.asarray(b, np.float64) / np.asarray(a, np.float64))
    found = interval(logs.tolist(), seed)
    if count <= EXACT_PAIRS:
        flips = np.arange(2**count)[:, None] >> np.arange(count) & 1
        p_value = share_as_large((1 - 2 * flips) @ logs, float(logs.sum()))
    else:
        flips = np.random.default_rng(seed).integers(0, 2, (PERMUTATIONS, count))
        drawn = share_as_large((1 - 2 * flips) @ logs, float(logs.sum()))
        p_value = (drawn * PERMUTATIONS + 1) / (PERMUTATIONS + 1)  # The order seen is one of them.
    return {
        "pairs": count,
        "ratio": float(np.exp(found["median"])),
        "low": float(np.exp(found["low"])),
        "high": float(np.exp(found["high"])),
        "p_value": p_value,
    }


def least_p(pairs: int) -> float:
    """Return the least p-value that ``paired`` can give: every ratio is on one side of 1."""
    return 2 / 2**pairs if pairs <= EXACT_PAIRS else 1 / (PERMUTATIONS + 1)


def least_p_unpaired(a: int, b: int) -> float:
    """Return the least p-value that ``unpaired`` can give for so many samples: none overlaps."""
    return max((1 + (a == b)) / math.comb(a + b, a), 1 / (PERMUTATIONS + 1))


def judgement(p_values: Sequence[float], least: Sequence[float]) -> list[dict[str, Any]]:
    """Judge the tests of one table together.

    Args:
        p_values: One a test.
        least: The least p-value that each test's samples could have given.

    Returns:
        For each ``p_corrected``; ``least_p``, the least that could have become, since Holm's
        correction never falls where a p-value rises; and ``differ``.
    """
    return [
        {"p_corrected": p_value, "least_p": lowest, "differ": p_value < LEVEL}
        for p_value, lowest in zip(holm(p_values), holm(least), strict=True)
    ]


def unpaired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Compare the seconds of two runs: the ratio of medians, b to a, its interval, a p-value."""
    generator = np.random.default_rng(seed)
    low, high = middle(bootstrap_medians(b, generator) / bootstrap_medians(a, generator))
    logs = np.log(np.concatenate([a, b]))
    seen = float(logs[len(a) :].mean() - logs[: len(a)].mean())
    shuffled = generator.permuted(np.tile(logs, (PERMUTATIONS, 1)), axis=1)
    null = shuffled[:, len(a) :].mean(axis=1) - shuffled[:, : len(a)].mean(axis=1)
    return {
        "ratio": float(np.median(b) / np.median(a)),
        "low": low,
        "high": high,
        "p_value": (share_as_large(null, seen) * PERMUTATIONS + 1) / (PERMUTATIONS + 1),
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[int(index)] = largest
    return corrected
