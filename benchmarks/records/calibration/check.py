"""What in a calibration contradicts itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from benchmarks.records.calibration.documents import PLAIN_ROWS, Calibration, Group
from benchmarks.records.figures import MOST_FOR_OTHERS

Listed = Literal["backends", "cases", "batch_sizes", "crop"]
LENGTHS: dict[Listed, int] = {"backends": 1, "cases": 1, "batch_sizes": 1, "crop": 2}
"""Of the lists among the settings of a calibration."""
SHORTEST = 1e-9
"""Seconds of a step that a clock can tell."""
ROUNDING = timedelta(seconds=2)
"""Of the times of two groups."""


def unreadable(calibration: Calibration) -> Iterator[str]:
    """Yield what leaves no figure to compute: settings, or rows that were not planted or timed."""
    settings = calibration["settings"]
    for name, count in LENGTHS.items():
        if (length := len(settings[name])) != count:
            yield f"settings/{name}: has {length} values, expected {count}"
    rounds = settings["rounds"]
    if rounds < 1:
        yield f"settings/rounds: {rounds}, expected 1 at least"
    slowdowns = calibration["slowdowns"]
    if 0.0 in slowdowns or len({*slowdowns}) < len(slowdowns):
        yield f"slowdowns: {slowdowns}, expected different ones above 0"
    if not any(calibration["budget"].values()):
        yield "budget: has neither minutes nor comparisons, so nothing would end it"
    planted = [0.0] * PLAIN_ROWS + slowdowns
    for number, group in enumerate(calibration["groups"]):
        place = f"groups/{number}"
        try:
            ended(group) + ROUNDING
        except (ValueError, OverflowError):
            yield f"{place}/started: {group['started']!r} is not a time"
        if [row["slowdown"] for row in group["rows"]] != planted:
            yield f"{place}/rows: are not {PLAIN_ROWS} plain ones and one for each slowdown"
        for row in group["rows"]:
            if row["reason"] is None and len(row["seconds"]) != 2 * rounds:
                turns = len(row["seconds"])
                yield f"{place}/rows: one has {turns} turns, expected {2 * rounds}"
            if row["seconds"] and min(row["seconds"]) < SHORTEST:
                yield f"{place}/rows: one has a step of {min(row['seconds']):g} s"


def problems(calibration: Calibration) -> Iterator[str]:
    """Yield what in a calibration contradicts itself, a line each."""
    groups = calibration["groups"]
    if groups and calibration["process"] is None:
        yield "its groups have no process"
    for number, group in enumerate(groups):
        for row in group["rows"]:
            share = row["other_cpu_share"]
            if row["reason"] is None and share is not None and share > MOST_FOR_OTHERS:
                yield f"group {number + 1}: is judged although others took {share:.0%} of the CPUs"
        if number and started(group) + ROUNDING < ended(groups[number - 1]):
            yield f"group {number + 1}: began before group {number} had ended"


def started(group: Group) -> datetime:
    """Return when a group began."""
    return datetime.fromisoformat(group["started"]).astimezone(UTC)


def ended(group: Group) -> datetime:
    """Return when a group had ended."""
    return started(group) + timedelta(minutes=group["minutes"])
