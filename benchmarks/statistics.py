"""Medians, intervals and tests; SciPy's, in the parent only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000
LEVEL = 0.05
"""A difference is called one when its p-value, corrected for the pairs of its table, is less."""
PAIRED_TEST = "exact sign-flip permutation test of the mean log ratio over paired turns, Holm"
UNPAIRED_TEST = "permutation test of the difference of mean log times"


def interval(samples: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Return the median of ``samples`` and the bootstrap's 95 % interval of it.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentile method).
    """
    from scipy.stats import bootstrap

    median = float(np.median(samples))
    if len(set(samples)) < 2:
        return {"median": median, "low": median, "high": median}
    found = bootstrap(
        (samples,), np.median, method="percentile", n_resamples=RESAMPLES, rng=seed
    ).confidence_interval
    return {"median": median, "low": float(found.low), "high": float(found.high)}


def paired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> dict[str, Any] | None:
    """Compare the seconds of two rows, sample by sample of the same turn.

    Returns:
        ``ratio`` of b's time to a's (the median, with its interval) and ``p_value``: how often a
        mean log ratio as large would come about if each pair's order were by chance. None with
        fewer than three pairs.
    """
    from scipy.stats import permutation_test

    if len(a) < 3:
        return None
    logs = np.log(np.asarray(b) / np.asarray(a))
    found = interval(logs.tolist(), seed)
    test = permutation_test(
        (logs,),
        np.mean,
        permutation_type="samples",
        n_resamples=9999,
        vectorized=False,
        rng=seed,
    )
    return {
        "pairs": len(logs),
        "ratio": float(np.exp(found["median"])),
        "low": float(np.exp(found["low"])),
        "high": float(np.exp(found["high"])),
        "p_value": float(test.pvalue),
    }


def unpaired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Compare the seconds of two runs: the ratio of medians, b to a, its interval, a p-value."""
    from scipy.stats import bootstrap, permutation_test

    def ratio(x: Any, y: Any, axis: int = -1) -> Any:
        return np.median(y, axis=axis) / np.median(x, axis=axis)

    found = bootstrap(
        (a, b), ratio, method="percentile", n_resamples=RESAMPLES, rng=seed, vectorized=True
    ).confidence_interval
    test = permutation_test(
        (np.log(a), np.log(b)),
        lambda x, y: np.mean(x) - np.mean(y),
        permutation_type="independent",
        n_resamples=9999,
        vectorized=False,
        rng=seed,
    )
    return {
        "ratio": float(np.median(b) / np.median(a)),
        "low": float(found.low),
        "high": float(found.high),
        "p_value": float(test.pvalue),
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
