"""The roofline picture: what a row reaches below what the machine could do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from benchmarks.pages.format import significant
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, can_draw, mute
from benchmarks.pages.rows import case_of, row_title
from benchmarks.records.documents import Bench, Reached, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Fill = Literal["full", "none"]


class Point(NamedTuple):
    """A row that has a place in the picture, and its place."""

    row: Row
    place: Reached


def points(document: Bench) -> list[Point]:
    """Return every measured row that does arithmetic, with what it reached."""
    return [
        Point(row, figures["limit"])
        for row in document["rows"]
        if (figures := row["figures"]) and figures["limit"] and figures["flops"] > 0
    ]


def roofline(document: Bench) -> Figure | None:
    """Return every measured row with flops over its arithmetic intensity.

    None if there is no such row or no matplotlib.

    Source:
        Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", 2009.
    """
    shown = points(document)
    if not shown or not can_draw():
        return None
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    reached = [place["intensity"] for _, place in shown]
    intensities = np.geomspace(min(1, *reached) / 2, 2 * max(100, *reached), 100)
    for precision, limit in document["limits"].items():
        if limit:
            slope = intensities * limit["bytes_per_second"]
            roof = np.minimum(slope, limit["flops_per_second"]) / 1e9
            axes.plot(intensities, roof, color=MUTED, linewidth=1.5)
            end = (intensities[-1], roof[-1])
            axes.annotate(f"{precision} limit", end, ha="right", va="bottom", color=TEXT)
    handles: dict[str, Line2D] = {}

    def key(name: str, marker: str, color: str, fill: Fill) -> None:
        handles[name] = Line2D([], [], marker=marker, color=color, fillstyle=fill, linestyle="none")

    for row, place in shown:
        color, marker = COLORS[backend_color(row["backend"])], case_of(row).marker
        fill: Fill = "full" if row["track"] == "default" else "none"
        at = [place["intensity"]], [place["flops_per_second"] / 1e9]
        axes.plot(*at, marker, markersize=8, color=color, fillstyle=fill)
        key(row["title"], "o", color, "full")
        key(row["case"], marker, MUTED, "full")
        if fill == "none":
            key(f"hollow: {row['track']}", "o", MUTED, fill)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs a byte", ylabel="GFLOP/s")
    mute(axes)
    figure.legend(
        handles.values(), handles, loc="outside right upper", frameon=False, labelcolor=TEXT
    )
    return figure


def point_rows(document: Bench) -> list[list[str]]:
    """Return the numbers of the picture: table, row, FLOPs a byte and GFLOP/s of each point."""
    return [
        [
            row_title(row),
            f"{row['title']} {row['track']}",
            significant(place["intensity"]),
            significant(place["flops_per_second"] / 1e9),
        ]
        for row, place in points(document)
    ]
