"""Medians, intervals and tests. NumPy alone, so that a bare container computes the same."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Place = tuple[int, int, int]
"""Of a sample: its process, counted from 0, the round of that process, and the turn."""

SEED = 0
"""Of every random draw here: the same samples give the same figures everywhere."""
RESAMPLES = 2000
PROCESSES, ROUNDS = 5, 5
"""Of a row, and of each of its processes, unless an option says otherwise: so many find a step that
is 5 % slower (`benchmarks/results/cpu-amd-epyc-zen5/calibration`)."""
LEVEL = 0.05
"""A difference is shown when its p-value, corrected for the tests of its table, is below it."""
PAIRED_TEST = "Student's t over processes, of the median log ratio of their paired turns, Holm"
UNPAIRED_TEST = "Student's t over processes, of the median log time of their turns"
ONE_PROCESS = "one process tells no difference from chance"
"""Why a comparison is no verdict. What a process has by chance, such as where its memory lies, all
its turns share; how much that is, only further processes tell."""

Kind = Literal["backends", "tracks"]
"""What a pair of rows differs in."""
Finite = Annotated[float, ("maximum", 1e18)]


class Interval(TypedDict):
    """What samples give for one row, and its 95 % interval.

    Attributes:
        median: Of several processes the geometric mean of their medians.
    """

    median: Finite
    low: Finite
    high: Finite


class Test(TypedDict):
    """The test that the comparisons rest on."""

    name: str
    level: float


class TimeRatio(TypedDict):
    """A ratio of times with its 95 % interval."""

    ratio: float
    low: float
    high: float


class Ratio(TimeRatio):
    """A ratio of paired turns.

    Attributes:
        p_value: In early files alone.
    """

    pairs: int
    p_value: NotRequired[float]


class ComparedRatio(TimeRatio):
    """A ratio of two rows' times.

    Attributes:
        pairs: Of processes; of turns where a row has one process.
        p_value: null where a row has one process.
    """

    pairs: int
    p_value: float | None


class Pair(ComparedRatio):
    """Two rows, all else equal: of two backends on a track, or of two tracks of a backend."""

    kind: Kind
    a: str
    b: str


class Judgement(TypedDict):
    """What a table's tests say of one of them, corrected for their number.

    Attributes:
        p_corrected: null where there is no p-value.
        least_p: In early files alone.
        not_judged: Why the test is no verdict, as for a busy machine; differ is false then.
    """

    p_corrected: float | None
    least_p: NotRequired[float]
    differ: bool
    not_judged: NotRequired[str]


def student_p(t: float, degrees: int) -> float:
    """Return how often Student's t with so many degrees of freedom is at least as far from 0.

    Source:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4: the finite
        sums for whole degrees of freedom.
    """
    angle = math.atan2(abs(t), degrees**0.5)
    sine, cosine = math.sin(angle), math.cos(angle)
    odd, total = degrees % 2, 0.0
    term = cosine if odd else 1.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    within = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return max(0.0, 1 - within)


@lru_cache
def student_bound(degrees: int) -> float:
    """Return the t that is exceeded, on either side, as often as ``LEVEL`` says."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, degrees) > LEVEL else (low, middle)
    return low


def median_logs(seconds: Mapping[Place, float]) -> NDArray:
    """Return the median log of each process' seconds."""
    processes: dict[int, list[float]] = {}
    for place in sorted(seconds):
        processes.setdefault(place[0], []).append(seconds[place])
    return np.array([np.median(np.log(values)) for values in processes.values()])


def bootstrap_medians(samples: Sequence[float], generator: np.random.Generator) -> NDArray:
    """Return the medians of ``RESAMPLES`` samples drawn with replacement."""
    values = np.asarray(samples, np.float64)
    return np.median(generator.choice(values, (RESAMPLES, len(values))), axis=1)


def interval(samples: Sequence[float]) -> Interval:
    """Return the median of ``samples`` and the bootstrap's 95 % interval of it.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentile method).
    """
    medians = bootstrap_medians(samples, np.random.default_rng(SEED))
    low, high = np.percentile(medians, [2.5, 97.5])
    return {"median": float(np.median(samples)), "low": float(low), "high": float(high)}


def interval_of_row(seconds: Mapping[Place, float]) -> Interval:
    """Return what a row's samples give: by Student's t over the logs of its processes' medians.

    Of a row with one process the bootstrap over its turns tells how sure that process' median is,
    and nothing of other processes.
    """
    logs = median_logs(seconds)
    if len(logs) < 2:
        return interval(list(seconds.values()))
    middle, error = mean_and_error(logs)
    reach = student_bound(len(logs) - 1) * error
    median, low, high = (math.exp(log) for log in (middle, middle - reach, middle + reach))
    return {"median": median, "low": low, "high": high}


def mean_and_error(values: NDArray) -> tuple[float, float]:
    """Return the mean of two values or more, and its standard error."""
    return float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5


def tested(middle: float, error: float, degrees: int, pairs: int) -> ComparedRatio:
    """Return Student's test of a log ratio with its standard error."""
    reach = student_bound(degrees) * error
    p_value = student_p(middle / error, degrees) if error > 0 else float(middle == 0)
    ratio, low, high = (math.exp(log) for log in (middle, middle - reach, middle + reach))
    return {"pairs": pairs, "ratio": ratio, "low": low, "high": high, "p_value": p_value}


def paired(a: Mapping[Any, float], b: Mapping[Any, float]) -> Ratio | None:
    """Compare times of the same turns: the median of b's over a's, and its bootstrap interval.

    A turn is paired with a turn, since their ratio is free of what a round did to both. None with
    fewer than three pairs.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) < 3:
        return None
    logs = interval([math.log(b[key] / a[key]) for key in shared])
    ratio, low, high = (math.exp(logs[name]) for name in ("median", "low", "high"))
    return {"pairs": len(shared), "ratio": ratio, "low": low, "high": high}


def side_by_side(a: Mapping[Place, float], b: Mapping[Place, float]) -> ComparedRatio | None:
    """Compare two rows that were measured side by side, b's time to a's.

    Of each process of the rows the median log ratio of its turns is one value, and Student's t
    tests their mean: what two processes of a row differ in by chance is in the test. Of one process
    there is a ratio over its turns, and no test. None where too few turns are shared.
    """
    shared = a.keys() & b.keys()
    logs = median_logs({place: b[place] / a[place] for place in shared})
    if len(logs) < 2:
        ratio = paired(a, b)
        return {**ratio, "p_value": None} if ratio else None
    return tested(*mean_and_error(logs), len(logs) - 1, len(logs))


def apart(a: Mapping[Place, float], b: Mapping[Place, float]) -> ComparedRatio:
    """Compare two rows that were measured at different times: the ratio of b's time to a's.

    Student's t for two samples, of the median log time of each process. Of one process there is a
    ratio of medians with the bootstrap's interval, and no test.
    """
    logs = [median_logs(seconds) for seconds in (a, b)]
    counts = [len(each) for each in logs]
    if min(counts) < 2:
        generator = np.random.default_rng(SEED)
        medians = [bootstrap_medians([*each.values()], generator) for each in (a, b)]
        low, high = np.percentile(medians[1] / medians[0], [2.5, 97.5])
        ratio = float(np.median([*b.values()]) / np.median([*a.values()]))
        turns = min(len(a), len(b))
        return {"pairs": turns, "ratio": ratio, "low": low, "high": high, "p_value": None}
    degrees = sum(counts) - 2
    squares = sum(float(((each - each.mean()) ** 2).sum()) for each in logs)
    error = (squares / degrees * sum(1 / count for count in counts)) ** 0.5
    return tested(float(logs[1].mean() - logs[0].mean()), error, degrees, min(counts))


def withheld(judgement: Judgement, reason: str | None) -> Judgement:
    """Return a judgement that is no verdict where there is a ``reason`` against one."""
    return {**judgement, "differ": False, "not_judged": reason} if reason else judgement


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    order, times = np.argsort(p_values), np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(times * np.asarray(p_values)[order]).clip(max=1)
    return corrected.tolist()


def judge(p_values: Sequence[float | None]) -> list[Judgement]:
    """Judge the tests of one table together; one without a p-value is not judged."""
    known = iter(holm([p_value for p_value in p_values if p_value is not None]))
    corrected = [None if p_value is None else next(known) for p_value in p_values]
    return [
        {"p_corrected": None, "differ": False, "not_judged": ONE_PROCESS}
        if p_value is None
        else {"p_corrected": p_value, "differ": p_value < LEVEL}
        for p_value in corrected
    ]
