"""Ways to decide whether two rows differ, each from one process a row or from several.

Two rows of one group are measured side by side: their turns are paired. Rows of two groups are
measured apart in time, and nothing pairs them. NumPy alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.statistics import LEVEL, RESAMPLES, SEED, paired, unpaired

T_BOUNDS = {
    **{1: 12.706205, 2: 4.302653, 4: 2.776445, 8: 2.306004},
    **{7: 2.364624, 14: 2.144787, 28: 2.048407},
}
"""Degrees of freedom -> the 97.5 % point of Student's t."""
NORMAL_BOUND = 1.959964
"""That of the normal distribution."""
SIZES = (1, 2, 3, 5)
"""Processes a row."""
MANY, SOME = 20_000, 200
"""Comparisons that are drawn where one takes microseconds, and where it takes milliseconds."""


class Comparisons(NamedTuple):
    """Comparisons of two rows, n of them, with k processes a row.

    Attributes:
        a, b: [n, k, turns]: log seconds a step. The i-th process of both rows is of one group,
            unless they are apart in time.
        known: [n]: the variance of the log ratio of two plain rows' medians in groups that are not
            in the comparison.
        pooled: [n]: the variance of one process's median that is left when those of all rows in the
            compared groups are explained by row and by group.
        rows: How many rows a group has.
    """

    a: NDArray
    b: NDArray
    known: NDArray
    pooled: NDArray
    rows: int


class Decisions(NamedTuple):
    """What a design says of each comparison.

    Attributes:
        differ: [n]: whether the rows differ.
        low, high: [n]: the 95 % interval of the log ratio, b to a.
    """

    differ: NDArray
    low: NDArray
    high: NDArray


class Design(NamedTuple):
    """A way to decide whether two rows differ.

    Attributes:
        name: In tables.
        sentence: What is computed.
        sizes: Processes a row.
        apart: Whether the two rows are of groups that are apart in time.
        draws: How many comparisons are drawn.
        decide: The decisions of comparisons.
        groups: The fewest groups that it needs.
    """

    name: str
    sentence: str
    sizes: tuple[int, ...]
    apart: bool
    draws: int
    decide: Callable[[Comparisons], Decisions]
    groups: int = 1


def by_turns(comparisons: Comparisons) -> Decisions:
    """Decide as `fcn bench` does: a paired test of all turns, whichever process they are of."""
    tests = [paired(a, b) for a, b in all_seconds(comparisons)]
    return decisions([(test["p_value"], test["low"], test["high"]) for test in tests if test])


def by_turns_apart(comparisons: Comparisons) -> Decisions:
    """Decide as `fcn bench diff` does: an unpaired test of all turns."""
    tests = [unpaired(a, b) for a, b in all_seconds(comparisons)]
    return decisions([(test["p_value"], test["low"], test["high"]) for test in tests])


def all_seconds(comparisons: Comparisons) -> Iterator[tuple[list[float], list[float]]]:
    """Yield the seconds of all turns of both rows."""
    for a, b in zip(comparisons.a, comparisons.b, strict=True):
        yield np.exp(a).ravel().tolist(), np.exp(b).ravel().tolist()


def decisions(tests: Sequence[tuple[float, float, float]]) -> Decisions:
    """Return the decisions of tests: p-values, and intervals of ratios."""
    p_values, low, high = np.array(tests).T
    return Decisions(p_values < LEVEL, np.log(low), np.log(high))


def by_processes(comparisons: Comparisons) -> Decisions:
    """Decide by Student's t over one number a pair of processes: the median of its log ratios."""
    ratios = np.median(comparisons.b - comparisons.a, axis=2)
    count = ratios.shape[1]
    return around(ratios.mean(1), T_BOUNDS[count - 1] * ratios.std(1, ddof=1) / count**0.5)


def by_processes_apart(comparisons: Comparisons) -> Decisions:
    """Decide by Student's t for two samples, of one number a process: its median log time."""
    a, b = (np.median(logs, axis=2) for logs in (comparisons.a, comparisons.b))
    count = a.shape[1]
    error = ((a.var(1, ddof=1) + b.var(1, ddof=1)) / count) ** 0.5
    return around(b.mean(1) - a.mean(1), T_BOUNDS[2 * count - 2] * error)


def by_known_spread(comparisons: Comparisons) -> Decisions:
    """Decide by how far medians of two plain rows are apart in the other groups.

    This needs no second process a row. It holds for rows of which that is known.
    """
    ratios = np.median(comparisons.b - comparisons.a, axis=2)
    return around(ratios.mean(1), NORMAL_BOUND * (comparisons.known / ratios.shape[1]) ** 0.5)


def by_pooled_spread(comparisons: Comparisons) -> Decisions:
    """Decide by Student's t with the spread of processes in all rows that were measured together.

    It holds where processes of all rows differ alike.
    """
    ratios = np.median(comparisons.b, axis=2) - np.median(comparisons.a, axis=2)
    count = ratios.shape[1]
    bound = T_BOUNDS[(count - 1) * (comparisons.rows - 1)]
    return around(ratios.mean(1), bound * (2 * comparisons.pooled / count) ** 0.5)


def around(middles: NDArray, reach: NDArray) -> Decisions:
    """Return the decisions of intervals around ``middles``: rows differ if 0 is outside."""
    return Decisions(abs(middles) > reach, middles - reach, middles + reach)


def by_levels(comparisons: Comparisons) -> Decisions:
    """Decide by a bootstrap that draws pairs of processes, then turns of each.

    Source:
        Davison and Hinkley, "Bootstrap Methods and their Application", section 3.8; Kalibera and
        Jones, "Rigorous Benchmarking in Reasonable Time", 2013.
    """
    return within(drawn_means(comparisons.b - comparisons.a, SEED))


def by_levels_apart(comparisons: Comparisons) -> Decisions:
    """Decide by a bootstrap that draws processes of each row by themselves, then their turns."""
    return within(drawn_means(comparisons.b, SEED) - drawn_means(comparisons.a, SEED + 1))


def drawn_means(logs: NDArray, seed: int) -> NDArray:
    """Return [n, resamples] means over drawn processes of the medians of their drawn turns.

    A median of drawn turns is the mean of the two in their middle, whose ranks are drawn once for
    all comparisons.
    """
    _, count, turns = logs.shape
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, count, (RESAMPLES, count))
    ranks = np.sort(generator.integers(0, turns, (RESAMPLES, count, turns)), axis=2)
    low, high = ranks[..., (turns - 1) // 2], ranks[..., turns // 2]
    means = [
        (each[chosen, low] + each[chosen, high]).mean(axis=1) / 2 for each in np.sort(logs, axis=2)
    ]
    return np.array(means)


def within(resampled: NDArray) -> Decisions:
    """Return the decisions of intervals that hold the middle of [n, resamples] log ratios."""
    low, high = np.percentile(resampled, [2.5, 97.5], axis=1)
    return Decisions((low > 0) | (high < 0), low, high)


SEVERAL = SIZES[1:]
OF_BENCH, OF_DIFF = "the test of `fcn bench`", "the test of `fcn bench diff`"
BOOTSTRAP, STUDENT = "bootstrap of processes, then turns", "Student's t over processes"
KNOWN = "normal, with the spread of two plain rows in all other groups"
POOLED = f"{STUDENT}, with their spread in all rows of a group"
DESIGNS = (
    Design("turns", f"{OF_BENCH}: all turns, paired", (1, 3), False, SOME, by_turns),
    Design("processes", f"{STUDENT}, paired", SEVERAL, False, MANY, by_processes),
    Design("levels", BOOTSTRAP, SIZES, False, MANY // 20, by_levels),
    Design("pooled spread", POOLED, SEVERAL, False, MANY, by_pooled_spread),
    Design("known spread", KNOWN, SIZES[:3], False, MANY, by_known_spread, 20),
    Design("turns, apart", f"{OF_DIFF}: all turns", (1,), True, SOME, by_turns_apart),
    Design("processes, apart", STUDENT, SEVERAL, True, SOME, by_processes_apart),
    Design("levels, apart", BOOTSTRAP, SIZES, True, SOME, by_levels_apart),
)
