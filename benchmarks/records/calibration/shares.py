"""How often each design is wrong, computed from a calibration's samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.calibration.designs import DESIGNS, Design
from benchmarks.records.calibration.documents import PLAIN_ROWS, Calibration, Group
from benchmarks.records.statistics import LEVEL

COVERAGE, TOLERANCE = 0.95, 0.01
"""What the 95 % intervals shall cover; how far a share may be from what it shall be."""
NORMAL_BOUND = 1.959964
"""The 97.5 % point of the normal distribution."""
PLAIN_PAIRS = PLAIN_ROWS // 2
"""Comparisons of two plain rows in a group; no two of them share a process."""
Standing = Literal["held", "missed", "open"]


class Share(NamedTuple):
    """A share of comparisons with Wilson's 95 % interval.

    Attributes:
        comparisons: How many, such as are independent of each other.
    """

    value: float
    low: float
    high: float
    comparisons: int

    def standing(self, target: float) -> Standing:
        """Return whether the share is what it shall be, by its interval; open: too few tell."""
        least, most = target - TOLERANCE, target + TOLERANCE
        if least <= self.low and self.high <= most:
            return "held"
        return "missed" if self.high < least or self.low > most else "open"


@dataclass(frozen=True)
class Outcome:
    """How often one design is right with so many processes a row.

    Attributes:
        minutes: What the groups of one comparison took, in the mean.
        differ: Slowdown -> the share of comparisons that are called different; of 0, false alarms.
        covered: Slowdown -> the share of intervals that hold the true ratio.
    """

    design: Design
    size: int
    minutes: float
    differ: dict[float, Share]
    covered: dict[float, Share]

    @property
    def false_alarms(self) -> Share:
        """Return the share of comparisons of two plain rows that are called different."""
        return self.differ[0.0]

    @property
    def standing(self) -> Standing:
        """Return whether both false alarms and intervals are as they shall be."""
        parts = {self.false_alarms.standing(LEVEL), self.covered[0.0].standing(COVERAGE)}
        return "missed" if "missed" in parts else "open" if "open" in parts else "held"


class Spread(NamedTuple):
    """Standard deviations of log times, so shares of a step's time.

    Attributes:
        turns: From turn to turn of one process, what turns side by side share left out.
        processes: From process to process, side by side.
        apart: From process to process of groups that are apart in time.
    """

    turns: float
    processes: float
    apart: float


def wilson(share: float, count: int) -> Share:
    """Return a share with its 95 % interval.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z = NORMAL_BOUND**2 / count
    center = (share + z / 2) / (1 + z)
    reach = NORMAL_BOUND / (1 + z) * (share * (1 - share) / count + z / (4 * count)) ** 0.5
    low, high = max(0.0, center - reach), min(1.0, center + reach)
    return Share(share, min(share, low), max(share, high), count)  # Equal, but for rounding.


def usable(calibration: Calibration) -> list[Group]:
    """Return the groups in which every row can be judged."""
    return [
        group
        for group in calibration["groups"]
        if all(row["reason"] is None for row in group["rows"])
    ]


def outcomes(calibration: Calibration) -> list[Outcome]:
    """Return the outcome of every design and number of processes that the groups are enough for."""
    groups = usable(calibration)
    minutes = float(np.mean([group["minutes"] for group in groups])) if groups else 0.0
    results = []
    for design in DESIGNS:
        for size in design.sizes:
            if not blocks_of(groups, size, design.apart):
                continue
            differ, covered = {}, {}
            for slowdown in (0.0, *calibration["slowdowns"]):
                differ[slowdown], covered[slowdown] = shares(groups, design, size, slowdown)
            cost = minutes * size * (2 if design.apart else 1)
            results.append(Outcome(design, size, cost, differ, covered))
    return results


def shares(
    groups: Sequence[Group], design: Design, size: int, slowdown: float
) -> tuple[Share, Share]:
    """Return the share of comparisons that are called different, and of intervals that are right.

    Comparisons side by side share no process. Those of two times share how the machine drifted in
    between, so all of one pair of times count as one.
    """
    differ, covered = [], []
    blocks = blocks_of(groups, size, design.apart)
    for first, second in blocks:
        for a, b in places(first[0], slowdown, design.apart):
            decision = design.decide(
                [(seconds(x, a), seconds(y, b)) for x, y in zip(first, second, strict=True)]
            )
            differ.append(decision.differ)
            covered.append(decision.low <= 1 + slowdown <= decision.high)
    count = len(blocks) if design.apart else len(differ)
    return wilson(float(np.mean(differ)), count), wilson(float(np.mean(covered)), count)


def blocks_of(
    groups: Sequence[Group], size: int, apart: bool
) -> list[tuple[Sequence[Group], Sequence[Group]]]:
    """Return the groups of each comparison: those of its first row, and those of its second.

    ``size`` successive groups stand for each row, the same ones for both, or such as are ``apart``
    by half of the calibration.
    """
    half = len(groups) // 2
    shift, end = (half, half) if apart else (0, len(groups))
    starts = range(0, end - size + 1, size)
    return [(groups[i : i + size], groups[i + shift : i + shift + size]) for i in starts]


def places(group: Group, slowdown: float, apart: bool) -> Iterator[tuple[int, int]]:
    """Yield the places of two rows whose true ratio is 1 + ``slowdown``, for each comparison."""
    if slowdown:
        slowdowns = [row["slowdown"] for row in group["rows"]]
        place = slowdowns.index(slowdown)
        yield place - PLAIN_ROWS, place
    elif apart:
        yield from ((place, place) for place in range(PLAIN_ROWS))
    else:
        yield from ((2 * pair, 2 * pair + 1) for pair in range(PLAIN_PAIRS))


def seconds(group: Group, place: int) -> NDArray:
    """Return the seconds a step of one row, turn by turn."""
    return np.array(group["rows"][place]["seconds"])


def spread(calibration: Calibration) -> Spread | None:
    """Return how much times differ from turn to turn and from process to process.

    The variance of two processes' mean log ratio is twice that from process to process, and what
    their turns bring, which the turns themselves tell. None without two groups that can be judged.
    """
    groups = usable(calibration)
    if len(groups) < 2:
        return None
    beside, noise = squares(groups, apart=False)
    away, noise_apart = squares(groups, apart=True)
    turns = noise * len(groups[0]["rows"][0]["seconds"]) / 2
    processes, apart = max(0.0, beside - noise) / 2, max(0.0, away - noise_apart) / 2
    return Spread(turns**0.5, processes**0.5, apart**0.5)


def squares(groups: Sequence[Group], apart: bool) -> tuple[float, float]:
    """Return the mean square of plain rows' mean log ratios, and the part that turns bring."""
    means, noises = [], []
    for first, second in blocks_of(groups, 1, apart):
        for a, b in places(first[0], 0.0, apart):
            x, y = np.log(seconds(first[0], a)), np.log(seconds(second[0], b))
            means.append((y.mean() - x.mean()) ** 2)
            variances = [x.var(ddof=1), y.var(ddof=1)] if apart else [(y - x).var(ddof=1)]
            noises.append(sum(variances) / len(x))
    return float(np.mean(means)), float(np.mean(noises))
