"""Medians, intervals and tests. NumPy alone, so that a bare container computes the same."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal, NotRequired, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K", int, tuple[int, int])

SEED = 0
"""Of every random draw here: the same samples give the same figures everywhere."""
RESAMPLES = 2000
PERMUTATIONS = 9999
EXACT_PAIRS = 13
"""Up to so many pairs, all sign flips are tried; with more, ``PERMUTATIONS`` drawn ones."""
LEVEL = 0.05
"""A difference is shown when its p-value, corrected for the tests of its table, is below it."""
PAIRED_TEST = "sign-flip permutation test of the mean log ratio over paired turns, Holm"
UNPAIRED_TEST = "permutation test of the difference of mean log times"

Kind = Literal["backends", "tracks"]
"""What a pair of rows differs in."""
Finite = Annotated[float, ("maximum", 1e18)]


class Interval(TypedDict):
    """The median over samples and its 95 % bootstrap interval."""

    median: Finite
    low: Finite
    high: Finite


class Test(TypedDict):
    """The test that the comparisons rest on."""

    name: str
    level: float


class TimeRatio(TypedDict):
    """A test of two rows' times: their ratio, its 95 % interval, and a p-value."""

    ratio: float
    low: float
    high: float
    p_value: float


class Ratio(TimeRatio):
    """A paired test of times: their ratio, its 95 % interval, and a p-value."""

    pairs: int


class Pair(Ratio):
    """Two rows, all else equal: of two backends on a track, or of two tracks of a backend."""

    kind: Kind
    a: str
    b: str


class Judgement(TypedDict):
    """What a table's tests say of one of them, corrected for their number.

    Attributes:
        least_p: The least p_corrected that so few pairs can give. Absent in early files.
        not_judged: Why the test is no verdict, as for a busy machine; differ is false then.
    """

    p_corrected: float
    least_p: NotRequired[float]
    differ: bool
    not_judged: NotRequired[str]


def bootstrap_medians(samples: Sequence[float], generator: np.random.Generator) -> NDArray:
    """Return the medians of ``RESAMPLES`` samples drawn with replacement."""
    values = np.asarray(samples, np.float64)
    return np.median(generator.choice(values, (RESAMPLES, len(values))), axis=1)


def middle(values: NDArray) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of ``values``."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def interval(samples: Sequence[float]) -> Interval:
    """Return the median of ``samples`` and the bootstrap's 95 % interval of it.

    The two turns of a round share some of the machine's drift, and yet each is drawn by itself:
    whole rounds are so few that an interval from them would cover the median less often.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentile method).
    """
    low, high = middle(bootstrap_medians(samples, np.random.default_rng(SEED)))
    return {"median": float(np.median(samples)), "low": low, "high": high}


def share_as_large(null: NDArray, measured: float) -> float:
    """Return how often |null| reaches |measured|; sums in another order differ by rounding."""
    return float(np.mean(np.abs(null) >= abs(measured) * (1 - 1e-12) - 1e-300))


def share_drawn(null: NDArray, measured: float) -> float:
    """Return the same where ``null`` was drawn at random: the measured value is one draw more."""
    return (share_as_large(null, measured) * PERMUTATIONS + 1) / (PERMUTATIONS + 1)


@lru_cache(maxsize=4)
def signs(count: int) -> NDArray:
    """Return rows of ``count`` signs: all that there are, or ``PERMUTATIONS`` drawn ones."""
    if count <= EXACT_PAIRS:
        flips = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        flips = np.random.default_rng(SEED).integers(0, 2, (PERMUTATIONS, count))
    return np.asarray(1.0 - 2 * flips)


def paired(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """Compare the seconds of two rows, sample by sample of the same turn.

    A turn is paired with a turn, since their ratio is free of what a round did to both. Whole
    rounds would be too few: with five the p-value could not be less than 2 / 2^5 = 0.0625.

    Returns:
        The median ratio of b's time to a's with its interval, and as p-value how often a mean log
        ratio as large would come about if the order within each pair were by chance. None with
        fewer than three pairs.
    """
    count = len(a)
    if count < 3:
        return None
    logs = np.log(np.asarray(b, np.float64) / np.asarray(a, np.float64))
    share = share_as_large if count <= EXACT_PAIRS else share_drawn
    p_value = share(signs(count) @ logs, float(logs.sum()))
    of_logs = interval(logs.tolist())
    ratio, low, high = (float(np.exp(of_logs[name])) for name in ("median", "low", "high"))
    return {"pairs": count, "ratio": ratio, "low": low, "high": high, "p_value": p_value}


def paired_by_key(a: Mapping[K, float], b: Mapping[K, float]) -> Ratio | None:
    """Return ``paired`` of the samples that both rows have, such as those of the same turn."""
    shared = sorted(a.keys() & b.keys())
    return paired([a[key] for key in shared], [b[key] for key in shared])


def unpaired(a: Sequence[float], b: Sequence[float]) -> TimeRatio:
    """Compare the seconds of two runs: the ratio of medians, b to a, its interval, a p-value."""
    generator = np.random.default_rng(SEED)
    low, high = middle(bootstrap_medians(b, generator) / bootstrap_medians(a, generator))
    logs = np.log(np.concatenate([a, b]))
    measured = float(logs[len(a) :].mean() - logs[: len(a)].mean())
    shuffled = generator.permuted(np.tile(logs, (PERMUTATIONS, 1)), axis=1)
    null = shuffled[:, len(a) :].mean(axis=1) - shuffled[:, : len(a)].mean(axis=1)
    ratio = float(np.median(b) / np.median(a))
    return {"ratio": ratio, "low": low, "high": high, "p_value": share_drawn(null, measured)}


def withheld(judgement: Judgement, reason: str | None) -> Judgement:
    """Return a judgement that is no verdict where there is a ``reason`` against one."""
    return {**judgement, "differ": False, "not_judged": reason} if reason else judgement


def least_p(pairs: int) -> float:
    """Return the least p-value that ``paired`` can give: every ratio is on one side of 1."""
    return 2 / 2**pairs if pairs <= EXACT_PAIRS else 1 / (PERMUTATIONS + 1)


def least_p_unpaired(a: int, b: int) -> float:
    """Return the least p-value that ``unpaired`` can give for so many samples: none overlaps."""
    return max((1 + (a == b)) / math.comb(a + b, a), 1 / (PERMUTATIONS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    order, times = np.argsort(p_values), np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(times * np.asarray(p_values)[order]).clip(max=1)
    return corrected.tolist()


def judge(p_values: Sequence[float], least: Sequence[float]) -> list[Judgement]:
    """Judge the tests of one table together.

    Args:
        p_values: One a test.
        least: The least p-value that each test's samples could have given. Corrected, it is the
            least that the corrected p-value could have been: Holm's correction is monotonic.
    """
    return [
        {"p_corrected": p_value, "least_p": lowest, "differ": p_value < LEVEL}
        for p_value, lowest in zip(holm(p_values), holm(least), strict=True)
    ]
