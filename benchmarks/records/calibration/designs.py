"""Ways to decide whether two rows differ, each from one process a row or from several.

Two rows of one group are measured side by side: their turns are paired. Rows of two groups are
measured apart in time, and nothing pairs them. NumPy alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.statistics import RESAMPLES, ROUNDS, SEED, student_bound

SIZES = (1, 2, 3, 5)
"""Processes a row."""
MANY, SOME = 20_000, 1000
"""Comparisons that are drawn where one takes microseconds, and where it takes a millisecond."""


class Comparisons(NamedTuple):
    """Comparisons of two rows, n of them, with k processes a row.

    Attributes:
        a, b: [n, k, turns]: log seconds a step. The i-th process of both rows is of one group,
            unless they are apart in time.
    """

    a: NDArray
    b: NDArray


class Decisions(NamedTuple):
    """What a design says of each comparison.

    Attributes:
        low, high: [n]: the 95 % interval of the log ratio, b to a.
    """

    low: NDArray
    high: NDArray

    @property
    def differ(self) -> NDArray:
        """[n]: whether the rows differ: 1 is not in the interval."""
        return (self.low > 0) | (self.high < 0)


class Design(NamedTuple):
    """A way to decide whether two rows differ.

    Attributes:
        name: In tables.
        sentence: What is computed.
        sizes: Processes a row.
        apart: Whether the two rows are of groups that are apart in time.
        draws: How many comparisons are drawn.
        decide: The decisions of comparisons.
        fewer: It is tried with so many rounds too, as if each process had ended after them.
    """

    name: str
    sentence: str
    sizes: tuple[int, ...]
    apart: bool
    draws: int
    decide: Callable[[Comparisons], Decisions]
    fewer: tuple[int, ...] = ()


def by_turns(comparisons: Comparisons) -> Decisions:
    """Decide by the bootstrap over the log ratios of all turns, whichever process they are of."""
    return within(drawn_medians(comparisons.b - comparisons.a, SEED))


def by_turns_apart(comparisons: Comparisons) -> Decisions:
    """Decide by the bootstrap over the turns of each row by themselves."""
    return within(drawn_medians(comparisons.b, SEED) - drawn_medians(comparisons.a, SEED + 1))


def drawn_medians(logs: NDArray, seed: int) -> NDArray:
    """Return [n, resamples] medians of drawn turns of all processes together."""
    return drawn_means(logs.reshape(len(logs), 1, -1), seed)


def by_processes(comparisons: Comparisons) -> Decisions:
    """Decide by Student's t over one number a pair of processes: the median of its log ratios."""
    ratios = np.median(comparisons.b - comparisons.a, axis=2)
    count = ratios.shape[1]
    return around(ratios.mean(1), student_bound(count - 1) * ratios.std(1, ddof=1) / count**0.5)


def by_processes_apart(comparisons: Comparisons) -> Decisions:
    """Decide by Student's t for two samples, of one number a process: its median log time."""
    a, b = (np.median(logs, axis=2) for logs in (comparisons.a, comparisons.b))
    count = a.shape[1]
    error = ((a.var(1, ddof=1) + b.var(1, ddof=1)) / count) ** 0.5
    return around(b.mean(1) - a.mean(1), student_bound(2 * count - 2) * error)


def around(middles: NDArray, reach: NDArray) -> Decisions:
    """Return the decisions of intervals around ``middles``."""
    return Decisions(middles - reach, middles + reach)


def by_levels(comparisons: Comparisons) -> Decisions:
    """Decide by a bootstrap that draws pairs of processes, then turns of each.

    Source:
        Davison and Hinkley, "Bootstrap Methods and their Application", section 3.8; Kalibera and
        Jones, "Rigorous Benchmarking in Reasonable Time", 2013.
    """
    return within(drawn_means(comparisons.b - comparisons.a, SEED))


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
    return Decisions(low, high)


SEVERAL = SIZES[1:]
FEWER = (1, 2, 3, ROUNDS)
"""Rounds of a process that are tried too, where more were measured."""
BOOTSTRAP = "the bootstrap over all turns, whichever process they are of"
LEVELS = "a bootstrap that draws processes, then turns of each"
STUDENT = "Student's t over processes"
BENCH, DIFF = "the test of `fcn bench`", "the test of `fcn bench diff`"
DESIGNS = (
    Design("turns", BOOTSTRAP, (1, 3), False, SOME, by_turns),
    Design("levels", LEVELS, SEVERAL, False, SOME, by_levels),
    Design("processes", f"{STUDENT}, paired: {BENCH}", SEVERAL, False, MANY, by_processes, FEWER),
    Design("turns, apart", f"{BOOTSTRAP} of a row", (1,), True, SOME, by_turns_apart),
    Design("processes, apart", f"{STUDENT}: {DIFF}", SEVERAL, True, SOME, by_processes_apart),
)
