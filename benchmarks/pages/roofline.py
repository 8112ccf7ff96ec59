"""The roofline picture: the rates that rows reach below the machine's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.pages.format import significant
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, mute, new_figure
from benchmarks.pages.rows import case_of, row_title
from benchmarks.records.documents import Bench, Row

Fill = Literal["full", "none"]

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def points(document: Bench) -> list[tuple[Row, float, float]]:
    """Return (row, FLOPs a byte, GFLOP/s) of every measured row that does arithmetic."""
    return [
        (row, limit["intensity"], limit["flops_per_second"] / 1e9)
        for row in document["rows"]
        if (figures := row["figures"]) and (limit := figures["limit"]) and figures["flops"] > 0
    ]


def roofline(document: Bench) -> Figure | None:
    """Return a picture of every row's arithmetic rate over its arithmetic intensity.

    None if there is no such row or no matplotlib.

    Source:
        Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", 2009.
    """
    shown = points(document)
    if not shown or not (figure := new_figure(9, 4.5)):
        return None
    from matplotlib.lines import Line2D

    axes = figure.subplots()
    reached = [intensity for _, intensity, _ in shown]
    intensities = np.geomspace(min(1, *reached) / 2, 2 * max(100, *reached), 100)
    for precision, limit in document["limits"].items():
        if limit:
            slope = intensities * limit["bytes_per_second"]
            roof = np.minimum(slope, limit["flops_per_second"]) / 1e9
            axes.plot(intensities, roof, color=MUTED, linewidth=1.5)
            end = (intensities[-1], roof[-1])
            axes.annotate(f"{precision} limit", end, ha="right", va="bottom", color=TEXT)
    keys: dict[str, tuple[str, str, Fill]] = {}
    for row, intensity, rate in shown:
        color, marker = COLORS[backend_color(row["backend"])], case_of(row).marker
        fill: Fill = "full" if row["track"] == "default" else "none"
        axes.plot([intensity], [rate], marker, markersize=8, color=color, fillstyle=fill)
        keys |= {row["title"]: ("o", color, "full"), row["case"]: (marker, MUTED, "full")}
        if fill == "none":
            keys[f"hollow: {row['track']}"] = ("o", MUTED, fill)
    handles = [
        Line2D([], [], marker=marker, color=color, fillstyle=fill, linestyle="none")
        for marker, color, fill in keys.values()
    ]
    axes.set(xscale="log", yscale="log", xlabel="FLOPs a byte", ylabel="GFLOP/s")
    mute(axes)
    figure.legend(handles, keys, loc="outside right upper", frameon=False, labelcolor=TEXT)
    return figure


def point_rows(document: Bench) -> list[list[str]]:
    """Return the numbers of the picture: table, row, FLOPs a byte and GFLOP/s of each point."""
    return [
        [row_title(row), f"{row['title']} {row['track']}", *map(significant, place)]
        for row, *place in points(document)
    ]
