"""How often each design is wrong, computed from a calibration's samples.

Side by side, all processes of one kind in a group are alike, and so are all groups. So a comparison
of k processes a row may take any k groups, and any two rows of each: many more comparisons than
such as share no process. Their mean is as sure as a jackknife over the groups says.
"""

from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.calibration.designs import DESIGNS, SIZES, Comparisons, Design
from benchmarks.records.calibration.documents import PLAIN_ROWS, Calibration, Group
from benchmarks.records.statistics import LEVEL, SEED

NORMAL_BOUND = 1.959964
"""The 97.5 % point of the normal distribution."""
COVERAGE, TOLERANCE = 0.95, 0.01
"""What the 95 % intervals shall cover; how far a share may be from what it shall be."""
PLAIN_PAIRS = PLAIN_ROWS // 2
"""Comparisons of two plain rows in a group of which no two share a process."""
Standing = Literal["held", "missed", "open"]


class Share(NamedTuple):
    """A share of comparisons with Wilson's 95 % interval.

    Attributes:
        comparisons: How many independent ones would be as sure.
    """

    value: float
    low: float
    high: float
    comparisons: float

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
        rounds: Of a process.
        minutes: What the groups of one comparison took, in the mean; None for fewer rounds than
            were measured.
        differ: Slowdown -> the share of comparisons that are called different; of 0, false alarms.
        covered: Slowdown -> the share of intervals that hold the true ratio.
    """

    design: Design
    size: int
    rounds: int
    minutes: float | None
    differ: dict[float, Share]
    covered: dict[float, Share]

    @property
    def false_alarms(self) -> Share:
        """Return the share of comparisons of two plain rows that are called different."""
        return self.differ[0.0]

    @property
    def planted(self) -> list[Share]:
        """Return the shares of intervals that hold the ratio of each planted slowdown.

        That they hold the ratio 1 of two plain rows is no second finding: rows are called different
        where an interval leaves 1 out.
        """
        return [share for slowdown, share in self.covered.items() if slowdown]

    @property
    def standing(self) -> Standing:
        """Return whether both false alarms and all intervals are as they shall be."""
        parts = {self.false_alarms.standing(LEVEL), *(s.standing(COVERAGE) for s in self.planted)}
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


def wilson(share: float, count: float) -> Share:
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


class Choice(NamedTuple):
    """The processes of comparisons, n of them, with k processes a row.

    Attributes:
        first, second: [n, k]: the groups of either row's processes.
        a, b: [n, k]: their places in these groups.
        independent: How many comparisons share nothing.
    """

    first: NDArray
    second: NDArray
    a: NDArray
    b: NDArray
    independent: int


def outcomes(calibration: Calibration) -> list[Outcome]:
    """Return the outcome of every design and number of processes that the groups are enough for."""
    groups = usable(calibration)
    if not groups:
        return []
    logs = np.log([[row["seconds"] for row in group["rows"]] for group in groups])
    minutes = float(np.mean([group["minutes"] for group in groups]))
    whole = calibration["settings"]["rounds"]
    results = []
    for design in DESIGNS:
        for size in design.sizes:
            needed = size * (2 if design.apart else 1)
            if len(groups) < needed:
                continue
            for rounds in sorted({whole, *design.fewer} if size == SIZES[-1] else {whole}):
                if rounds > whole:
                    continue
                differ, covered = {}, {}
                for place, slowdown in enumerate((0.0, *calibration["slowdowns"])):
                    slowed = PLAIN_ROWS + place - 1 if place else None
                    differ[slowdown], covered[slowdown] = shares(
                        logs[..., : 2 * rounds], design, size, slowdown, slowed
                    )
                known = minutes * needed if rounds == whole else None
                results.append(Outcome(design, size, rounds, known, differ, covered))
    return results


def shares(
    logs: NDArray, design: Design, size: int, slowdown: float, slowed: int | None
) -> tuple[Share, Share]:
    """Return the share of comparisons that are called different, and of intervals that are right.

    Args:
        logs: [groups, rows, turns]: log seconds a step.
        design: Which decides.
        size: Processes a row.
        slowdown: The true ratio of the compared rows less 1.
        slowed: The place of the row that is compared with plain ones; None: plain ones are.
    """
    choose = choice_apart if design.apart else choice_beside
    choice = choose(len(logs), size, slowed, design.draws)
    compared = Comparisons(logs[choice.first, choice.a], logs[choice.second, choice.b])
    decisions, truth = design.decide(compared), np.log1p(slowdown)
    differ = decisions.differ
    held = (decisions.low <= truth) & (truth <= decisions.high)
    if design.apart:
        differ_share, held_share = (wilson(v.mean(), choice.independent) for v in (differ, held))
        return differ_share, held_share
    members = np.zeros((len(differ), len(logs)), bool)
    np.put_along_axis(members, choice.first, True, axis=1)
    return with_jackknife(differ, members, choice), with_jackknife(held, members, choice)


def choice_beside(groups: int, size: int, slowed: int | None, draws: int) -> Choice:
    """Return all comparisons of one process a row, or ``draws`` drawn ones of several."""
    plain = range(PLAIN_ROWS)
    pairs = np.array(
        list(combinations(plain, 2)) if slowed is None else list(product(plain, [slowed]))
    )
    independent = groups // size * (PLAIN_PAIRS if slowed is None else 1)
    if size == 1:
        first = np.repeat(np.arange(groups), len(pairs))[:, None]
        a, b = (np.tile(pairs[:, side], groups)[:, None] for side in (0, 1))
        return Choice(first, first, a, b, independent)
    generator = np.random.default_rng(SEED)
    first = generator.permuted(np.tile(np.arange(groups), (draws, 1)), axis=1)[:, :size]
    chosen = pairs[generator.integers(0, len(pairs), draws)]
    a, b = (chosen[:, side, None].repeat(size, axis=1) for side in (0, 1))
    return Choice(first, first, a, b, min(independent, draws))


def choice_apart(groups: int, size: int, slowed: int | None, draws: int) -> Choice:
    """Return comparisons of successive groups with such as half of the calibration lies between.

    All of the same groups share how the machine drifted in between: they count as one.
    """
    half = groups // 2
    blocks = np.arange(half // size * size).reshape(-1, size)
    first = np.repeat(blocks, PLAIN_ROWS, axis=0)
    a = np.tile(np.arange(PLAIN_ROWS), len(blocks))[:, None].repeat(size, axis=1)
    b = a if slowed is None else np.full_like(a, slowed)
    return Choice(first, first + half, a, b, len(blocks))


def with_jackknife(values: NDArray, members: NDArray, choice: Choice) -> Share:
    """Return the mean of drawn comparisons, as sure as a jackknife over the groups says.

    Its variance has a part of the draws, which are no more than they are. A mean over all
    comparisons is never less sure than one over such as share nothing.

    Args:
        values: [n]: true or false.
        members: [n, groups]: whether a comparison has processes of a group.
        choice: Of the comparisons.

    Source:
        Hoeffding, "A Class of Statistics with Asymptotically Normal Distribution", 1948; Efron and
        Stein, "The Jackknife Estimate of Variance", 1981, which says that it is no less than true.
    """
    share, groups = float(values.mean()), members.shape[1]
    without = (~members).sum(0)
    if groups < 2 or not without.all():
        return wilson(share, choice.independent)
    means = (values[:, None] & ~members).sum(0) / without
    variance = (groups - 1) / groups * float(((means - means.mean()) ** 2).sum())
    effective = share * (1 - share) / variance if variance > 0 else 0.0
    return wilson(share, max(choice.independent, min(effective, len(values))))


def spread(calibration: Calibration) -> Spread | None:
    """Return how much times differ from turn to turn and from process to process.

    The variance of two processes' mean log ratio is twice that from process to process, and what
    their turns bring, which the turns themselves tell. None without two groups that can be judged.
    """
    groups = usable(calibration)
    if len(groups) < 2:
        return None
    logs = np.log([[row["seconds"] for row in group["rows"]] for group in groups])
    count = logs.shape[2]
    x, y = (logs[:, side:PLAIN_ROWS:2] for side in (0, 1))
    noise = float((y - x).var(axis=2, ddof=1).mean()) / count
    beside = float(((y - x).mean(axis=2) ** 2).mean())
    half = len(logs) // 2
    x, y = logs[:half, :PLAIN_ROWS], logs[half : 2 * half, :PLAIN_ROWS]
    noise_apart = float((x.var(axis=2, ddof=1) + y.var(axis=2, ddof=1)).mean()) / count
    away = float(((y - x).mean(axis=2) ** 2).mean())
    variances = noise * count, max(0.0, beside - noise), max(0.0, away - noise_apart)
    return Spread(*((variance / 2) ** 0.5 for variance in variances))
