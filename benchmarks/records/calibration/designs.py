"""Ways to decide whether two rows differ, each from one process a row or from several.

Two rows of one group are measured side by side: their turns are paired. Rows of two groups are
measured apart in time, and nothing pairs them. NumPy alone.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.statistics import LEVEL, RESAMPLES, SEED, middle, paired, unpaired

Pair = tuple[NDArray, NDArray]
"""The seconds a step of two processes, turn by turn."""
T_BOUNDS = {1: 12.706205, 2: 4.302653, 4: 2.776445, 8: 2.306004}
"""Degrees of freedom -> the 97.5 % point of Student's t."""
SIZES = (1, 2, 3, 5)
"""Processes a row."""


class Decision(NamedTuple):
    """What a design says of two rows: whether they differ, and the 95 % interval of their ratio."""

    differ: bool
    low: float
    high: float


class Design(NamedTuple):
    """A way to decide whether two rows differ.

    Attributes:
        name: In tables.
        sentence: What is computed.
        sizes: Processes a row.
        apart: Whether the two rows are of groups that are apart in time.
        decide: A decision from a pair of processes for each group.
    """

    name: str
    sentence: str
    sizes: tuple[int, ...]
    apart: bool
    decide: Callable[[Sequence[Pair]], Decision]


def by_turns(pairs: Sequence[Pair]) -> Decision:
    """Decide as `fcn bench` does: a paired test of all turns, whichever process they are of."""
    a, b = (np.concatenate(seconds) for seconds in zip(*pairs, strict=True))
    test = paired(a.tolist(), b.tolist())
    if test is None:
        raise ValueError("a comparison needs three turns")
    return Decision(test["p_value"] < LEVEL, test["low"], test["high"])


def by_processes(pairs: Sequence[Pair]) -> Decision:
    """Decide by Student's t over one number a pair of processes: the median of its log ratios."""
    logs = np.array([np.median(np.log(b / a)) for a, b in pairs])
    return around(float(logs.mean()), float(logs.std(ddof=1)) / len(logs) ** 0.5, len(logs) - 1)


def by_levels(pairs: Sequence[Pair]) -> Decision:
    """Decide by a bootstrap that draws pairs of processes, then turns of each.

    Source:
        Davison and Hinkley, "Bootstrap Methods and their Application", section 3.8; Kalibera and
        Jones, "Rigorous Benchmarking in Reasonable Time", 2013.
    """
    generator = np.random.default_rng(SEED)
    return within(drawn_means([np.log(b / a) for a, b in pairs], generator))


def by_turns_apart(pairs: Sequence[Pair]) -> Decision:
    """Decide as `fcn bench diff` does: an unpaired test of all turns."""
    a, b = (np.concatenate(seconds) for seconds in zip(*pairs, strict=True))
    test = unpaired(a.tolist(), b.tolist())
    return Decision(test["p_value"] < LEVEL, test["low"], test["high"])


def by_processes_apart(pairs: Sequence[Pair]) -> Decision:
    """Decide by Student's t for two samples, of one number a process: its median log time."""
    a, b = (
        np.array([np.median(np.log(s)) for s in seconds]) for seconds in zip(*pairs, strict=True)
    )
    error = ((a.var(ddof=1) + b.var(ddof=1)) / len(a)) ** 0.5
    return around(float(b.mean() - a.mean()), float(error), 2 * len(a) - 2)


def by_levels_apart(pairs: Sequence[Pair]) -> Decision:
    """Decide by a bootstrap that draws processes of each row by themselves, then their turns."""
    generator = np.random.default_rng(SEED)
    a, b = (
        drawn_means([np.log(s) for s in seconds], generator) for seconds in zip(*pairs, strict=True)
    )
    return within(b - a)


def drawn_means(processes: Sequence[NDArray], generator: np.random.Generator) -> NDArray:
    """Return ``RESAMPLES`` means over drawn processes of the medians of their drawn turns."""
    logs = np.stack(processes)
    count, turns = logs.shape
    chosen = generator.integers(0, count, (RESAMPLES, count, 1))
    drawn = generator.integers(0, turns, (RESAMPLES, count, turns))
    return np.asarray(np.median(logs[chosen, drawn], axis=2).mean(axis=1))


def around(mean: float, error: float, degrees: int) -> Decision:
    """Return the decision of a t-test of a mean log ratio with its standard error."""
    reach = T_BOUNDS[degrees] * error
    return Decision(abs(mean) > reach, float(np.exp(mean - reach)), float(np.exp(mean + reach)))


def within(log_ratios: NDArray) -> Decision:
    """Return the decision of an interval: rows differ if it leaves out a ratio of 1."""
    low, high = np.exp(middle(log_ratios))
    return Decision(not low <= 1 <= high, float(low), float(high))


DESIGNS = (
    Design("turns", "the test of `fcn bench`: all turns, paired", SIZES, False, by_turns),
    Design("processes", "Student's t over processes, paired", SIZES[1:], False, by_processes),
    Design("levels", "bootstrap of processes, then turns", SIZES, False, by_levels),
    Design("turns, apart", "the test of `fcn bench diff`: all turns", (1,), True, by_turns_apart),
    Design("processes, apart", "Student's t over processes", SIZES[1:], True, by_processes_apart),
    Design("levels, apart", "bootstrap of processes, then turns", SIZES, True, by_levels_apart),
)
