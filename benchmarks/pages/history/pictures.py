"""The pictures of a history: a line a backend and track, file by file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from benchmarks.pages.history.words import commit, day, line_name, new_versions
from benchmarks.pages.html import COLORS, DASHES, MUTED, backend_color, mute, new_figure
from benchmarks.pages.rows import interval_of, measure_of
from benchmarks.records.history.lines import Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v")
"""Of the backends, so that no line is known by its colour alone."""
MOST_VERSIONS = 5
"""Lines of versions below a file."""
CROWDED = 8
"""Files from which on their names stand upright."""


def picture(panel: Panel) -> Figure | None:
    """Return the lines of a panel over its files; None without matplotlib."""
    count = len(panel.files)
    if not (figure := new_figure(min(16, max(9, 1.35 * count + 2)), 4.2)):
        return None
    axes = figure.subplots()
    tracks = dict.fromkeys(line.points[0].row["track"] for line in panel.lines)
    dashes = dict(zip(tracks, cycle(DASHES), strict=False))
    for line in panel.lines:
        draw(axes, panel, line, dashes[line.points[0].row["track"]])
    axes.set_xticks(range(count), names_of_files(panel), fontsize=8)
    axes.tick_params("x", rotation=90 if count > CROWDED else 0)
    axes.set_xlim(-0.3, count - 0.7)
    measure = measure_of(panel.lines[0].points[0].row)
    axes.set_ylabel(f"{measure.name}{measure.unit}")
    mute(axes)
    figure.legend(frameon=False, fontsize=9, loc="outside right upper")
    return figure


def draw(axes: Axes, panel: Panel, line: Line, dash: str) -> None:
    """Draw one line with the intervals of its points; those that a change led to are filled."""
    number = backend_color(line.points[0].row["backend"])
    color, marker = COLORS[number], MARKERS[number]
    places = [panel.files.index(point.stored) for point in line.points]
    intervals = [
        interval_of(point.row, point.row["figures"])
        for point in line.points
        if point.row["figures"]
    ]
    heights = [interval["median"] for interval in intervals]
    reach = [
        [interval["median"] - interval["low"] for interval in intervals],
        [interval["high"] - interval["median"] for interval in intervals],
    ]
    drawn = axes.errorbar(places, heights, yerr=reach, color=color, capsize=2, linestyle="none")
    drawn.lines[0].set(marker=marker, markerfacecolor="none", label=line_name(line))
    by_file = dict(zip(places, heights, strict=True))
    for step in line.steps:
        ends = [panel.files.index(point.stored) for point in (step.before, step.after)]
        levels = [by_file[place] for place in ends]
        if step.change:
            axes.plot(ends, levels, linestyle=dash, color=color)
        if step.change and step.change["differ"]:
            axes.plot(ends[1], levels[1], marker, color=color)
        if step.reason:
            axes.plot(ends, levels, linestyle=dash, color=MUTED, alpha=0.3)


def names_of_files(panel: Panel) -> list[str]:
    """Return what stands below each file: when, the commit, and versions that are new there."""
    return [
        "\n".join([*day(stored).split(", "), commit(stored), *shortened(news)])
        for stored, news in zip(panel.files, new_versions(panel), strict=True)
    ]


def shortened(lines: Sequence[str]) -> list[str]:
    """Return the first of ``lines``, and how many more there are."""
    more = len(lines) - MOST_VERSIONS
    return [*lines[:MOST_VERSIONS], *([f"+ {more} more"] if more > 0 else [])]
