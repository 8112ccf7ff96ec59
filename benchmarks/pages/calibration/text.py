"""A calibration as text: the table of designs, and what it shows."""

from collections.abc import Sequence

from benchmarks.pages.format import count_word, counted, markdown_table, significant, text_table
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import (
    TOLERANCE,
    Outcome,
    Share,
    spread,
    usable,
)
from benchmarks.records.statistics import LEVEL
from common.backends import BACKENDS

STANDINGS = {"held": "holds", "missed": "misses", "open": "open"}


def heads(calibration: Calibration) -> list[str]:
    """Return the heads of the table of designs."""
    finds = [f"finds {100 * slowdown:g} %" for slowdown in calibration["slowdowns"]]
    return ["design", "processes", "minutes", "of", "false alarms", "covers", "level", *finds]


def design_rows(calibration: Calibration, results: Sequence[Outcome]) -> list[list[str]]:
    """Return the cells of a table with a row for each design and number of processes."""
    return [
        [
            result.design.name,
            str(result.size),
            significant(result.minutes, 2),
            f"{result.false_alarms.comparisons:.0f}",
            share_text(result.false_alarms),
            share_text(result.covered[0.0]),
            STANDINGS[result.standing],
            *(share_text(result.differ[slowdown], 0) for slowdown in calibration["slowdowns"]),
        ]
        for result in results
    ]


def coverage_heads(calibration: Calibration) -> list[str]:
    """Return the heads of the table of intervals."""
    truths = [f"covers {1 + slowdown:g}" for slowdown in calibration["slowdowns"]]
    return ["design", "processes", "covers 1", *truths]


def coverage_rows(results: Sequence[Outcome]) -> list[list[str]]:
    """Return the cells of a table of how often each design's intervals hold the true ratio."""
    return [
        [result.design.name, str(result.size), *map(share_text, result.covered.values())]
        for result in results
    ]


def share_text(share: Share, digits: int = 1) -> str:
    """Return a share in percent with its interval."""
    value, low, high = (f"{100 * part:.{digits}f}" for part in (share.value, share.low, share.high))
    return f"{value} % [{low}, {high}]"


def title(calibration: Calibration) -> str:
    """Return what was measured."""
    settings = calibration["settings"]
    (backend,), (case,), (batch,) = settings["backends"], settings["cases"], settings["batch_sizes"]
    height, width = settings["crop"]
    return (
        f"{BACKENDS.get(backend, backend)}, {case}, batch {batch}, {height}×{width}, "
        f"{counted(settings['rounds'], 'round')}, {counted(len(calibration['groups']), 'group')}"
    )


def verdict(calibration: Calibration, results: Sequence[Outcome]) -> str:
    """Return how often `fcn bench` errs, and which design does not, in two or three sentences."""
    groups = len(calibration["groups"])
    today = next((r for r in results if (r.design.name, r.size) == ("turns", 1)), None)
    if today is None:
        return f"None of {counted(groups, 'group')} can be judged." if groups else "No group yet."
    text = (
        "With one process a row, `fcn bench` calls a backend different from itself in "
        f"{share_text(today.false_alarms)} of comparisons (level {100 * LEVEL:g} %), and its "
        f"intervals cover the true ratio in {share_text(today.covered[0.0])}."
    )
    beside = [r for r in results if not r.design.apart]
    held = min((r for r in beside if r.standing == "held"), key=lambda r: r.minutes, default=None)
    if held is not None:
        processes = f"{count_word(held.size)} process{'es' if held.size > 1 else ''} a row"
        return f"{text} The cheapest design that is right: {held.design.sentence}, {processes}."
    tolerance = f"± {100 * TOLERANCE:g} %"
    if all(r.standing == "missed" for r in beside):
        return f"{text} No design here is within {tolerance}."
    return f"{text} More groups have to tell which design is within {tolerance}."


def notices(calibration: Calibration) -> list[str]:
    """Return what a reader has to know before using the shares, a sentence each."""
    groups, judged = calibration["groups"], usable(calibration)
    lines = []
    if len(judged) < len(groups):
        reasons = [row["reason"] for group in groups for row in group["rows"] if row["reason"]]
        lines.append(
            f"{len(groups) - len(judged)} of {counted(len(groups), 'group')} are left out: "
            f"{reasons[0]}"
        )
    if (variation := spread(calibration)) is not None:
        turns, processes, apart = (f"{100 * value:.2f} %" for value in variation)
        lines.append(
            f"Standard deviation of a step's time: from turn to turn {turns}, from process to "
            f"process {processes} side by side and {apart} apart in time"
        )
    return lines


def calibration_text(calibration: Calibration, results: Sequence[Outcome]) -> str:
    """Return a calibration as lines of text."""
    parts = [title(calibration)]
    if results:
        parts.append(text_table([heads(calibration), *design_rows(calibration, results)]))
        parts.append(LEGEND)
    parts += [f"note: {line}" for line in notices(calibration)]
    return "\n".join([*parts, verdict(calibration, results)])


def calibration_markdown(calibration: Calibration, results: Sequence[Outcome]) -> str:
    """Return what a calibration shows and its table of designs, for a document."""
    parts = [verdict(calibration, results), *(f"{line}." for line in notices(calibration))]
    if results:
        parts.append(markdown_table([heads(calibration), *design_rows(calibration, results)]))
        parts.append(LEGEND)
    return "\n\n".join([*parts, f"{title(calibration)}."])


LEGEND = (
    "Brackets hold 95 % intervals. processes: of each row; minutes: of all their groups; of: how "
    "many comparisons of two plain rows would be as sure if no two shared a process; covers: "
    f"intervals that hold the true ratio 1; level: whether false alarms are {100 * LEVEL:g} ± "
    f"{100 * TOLERANCE:g} % and intervals cover {100 - 100 * LEVEL:g} ± {100 * TOLERANCE:g} %, by "
    "their intervals; open: too few groups tell."
)
