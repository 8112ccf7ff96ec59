"""A calibration as text: the table of designs, and what it shows."""

from collections.abc import Sequence

from benchmarks.pages.format import counted, crop_text, markdown_table, significant, text_table
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import (
    TOLERANCE,
    Outcome,
    Share,
    spread,
    usable,
)
from benchmarks.records.statistics import LEVEL, PROCESSES, ROUNDS
from common.backends import BACKENDS

STANDINGS = {"held": "holds", "missed": "misses", "open": "open"}
WITHIN = f"within ± {100 * TOLERANCE:g} %"
TOLD = {
    "held": f"all are {WITHIN} of that.",
    "missed": f"they are not all {WITHIN} of that.",
    "open": f"more groups have to tell whether all are {WITHIN} of that.",
}


def heads(calibration: Calibration) -> list[str]:
    """Return the heads of the table of designs."""
    finds = [f"finds {100 * slowdown:g} %" for slowdown in calibration["slowdowns"]]
    heads = ["design", "processes", "rounds", "minutes", "of", "false alarms", "covers", "level"]
    return [*heads, *finds]


def design_rows(calibration: Calibration, results: Sequence[Outcome]) -> list[list[str]]:
    """Return the cells of a table with a row for each design and number of processes and rounds."""
    return [
        [
            result.design.name,
            str(result.size),
            str(result.rounds),
            significant(result.minutes, 2),
            f"{result.false_alarms.comparisons:.0f}",
            share_text(result.false_alarms),
            share_text(min(result.planted)),
            STANDINGS[result.standing],
            *(share_text(result.differ[slowdown], 0) for slowdown in calibration["slowdowns"]),
        ]
        for result in results
    ]


def coverage_heads(calibration: Calibration) -> list[str]:
    """Return the heads of the table of intervals."""
    truths = [f"covers {1 + slowdown:g}" for slowdown in calibration["slowdowns"]]
    return ["design", "processes", "rounds", "covers 1", *truths]


def coverage_rows(results: Sequence[Outcome]) -> list[list[str]]:
    """Return the cells of a table of how often each design's intervals hold the true ratio."""
    return [
        [r.design.name, str(r.size), str(r.rounds), *map(share_text, r.covered.values())]
        for r in results
    ]


def share_text(share: Share, digits: int = 1) -> str:
    """Return a share in percent with its interval."""
    value, low, high = (f"{100 * part:.{digits}f}" for part in (share.value, share.low, share.high))
    return f"{value} % [{low}, {high}]"


def title(calibration: Calibration) -> str:
    """Return what was measured."""
    settings = calibration["settings"]
    (backend,), (case,), (batch,) = settings["backends"], settings["cases"], settings["batch_sizes"]
    return (
        f"{BACKENDS.get(backend, backend)}, {case}, batch {batch}, {crop_text(settings['crop'])}, "
        f"{counted(settings['rounds'], 'round')}, {counted(len(calibration['groups']), 'group')}"
    )


def verdict(calibration: Calibration, results: Sequence[Outcome]) -> str:
    """Return how often `fcn bench` errs, with several processes a row and with one."""
    groups = len(calibration["groups"])
    if not results:
        return f"None of {counted(groups, 'group')} can be judged." if groups else "No group yet."
    rounds = min(ROUNDS, calibration["settings"]["rounds"])
    chosen = {(r.design.name, r.size, r.rounds): r for r in results}
    bench, parts = chosen.get(("processes", PROCESSES, rounds)), []
    if bench is not None:
        parts.append(
            f"`fcn bench`, with {counted(PROCESSES, 'process')} a row of "
            f"{counted(rounds, 'round')} each, calls a backend different from itself in "
            f"{share_text(bench.false_alarms)} of comparisons. Its intervals hold the ratio of a "
            f"planted slowdown in {share_text(min(bench.planted))}, of that one of which fewest "
            f"hold it. Wanted are {100 * LEVEL:g} % and "
            f"{100 - 100 * LEVEL:g} %: {TOLD[bench.standing]}"
        )
    one = next((r for r in results if (r.design.name, r.size) == ("turns", 1)), None)
    if one is not None:
        parts.append(
            "With one process a row, as `--quick` has, a backend would be called different from "
            f"itself in {share_text(one.false_alarms)}, so no difference is judged."
        )
    return " ".join(parts)


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
    "Brackets hold 95 % intervals. processes: of each row; rounds: of each process, of two turns; "
    "minutes: of all their groups; of: how "
    "many comparisons of two plain rows would be as sure if no two shared a process; covers: "
    "intervals that hold the ratio of a planted slowdown, of that one of which fewest do; level: "
    f"whether false alarms are {100 * LEVEL:g} ± {100 * TOLERANCE:g} % and intervals of every "
    f"planted slowdown cover {100 - 100 * LEVEL:g} ± {100 * TOLERANCE:g} %, by their intervals; "
    "open: too few groups tell."
)
