"""The roofline picture: what a row reaches below what the machine could do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages.bench_text import row_title
from benchmarks.pages.compare_view import backend_color, significant
from benchmarks.pages.html import COLORS, MUTED, TEXT, can_draw, mute
from common.machine.files import write_bytes

MARKERS = {"train": "o", "predict": "s", "upsample": "^", "loss": "D"}


def roofline(document: dict[str, Any]) -> Any | None:
    """Return every measured row with flops over its arithmetic intensity.

    None if there is no such row or no matplotlib.

    Source:
        Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", 2009.
    """
    rows = rows_with_flops(document)
    if not rows or not can_draw():
        return None
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    reached = [row["figures"]["limit"]["intensity"] for row in rows]
    intensities = np.geomspace(min(1, *reached) / 2, 2 * max(100, *reached), 100)
    for precision, limit in document["limits"].items():
        if limit:
            slope = intensities * limit["bytes_per_second"]
            roof = np.minimum(slope, limit["flops_per_second"]) / 1e9
            axes.plot(intensities, roof, color=MUTED, linewidth=1.5)
            place = (intensities[-1], roof[-1])
            axes.annotate(f"{precision} limit", place, ha="right", va="bottom", color=TEXT)
    handles = {}
    for row in rows:
        limit, color = row["figures"]["limit"], COLORS[backend_color(row["backend"])]
        whole = row["track"] == "default"
        style: dict[str, Any] = {
            "color": color,
            "fillstyle": "full" if whole else "none",
            "linestyle": "none",
        }
        marker = MARKERS.get(row["case"], "o")
        at = [limit["intensity"]], [limit["flops_per_second"] / 1e9]
        axes.plot(*at, marker=marker, markersize=8, **style)
        handles[row["title"]] = Line2D([], [], marker="o", color=color, linestyle="none")
        handles[row["case"]] = Line2D([], [], marker=marker, color=MUTED, linestyle="none")
        if not whole:
            handles[f"hollow: {row['track']}"] = Line2D(
                [], [], marker="o", color=MUTED, fillstyle="none", linestyle="none"
            )
    axes.set(xscale="log", yscale="log", xlabel="FLOPs a byte", ylabel="GFLOP/s")
    mute(axes)
    figure.legend(
        handles.values(), handles, loc="outside right upper", frameon=False, labelcolor=TEXT
    )
    return figure


def rows_with_flops(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that have a place in the picture."""
    rows = [row for row in document["rows"] if row["figures"] and row["figures"]["limit"]]
    return [row for row in rows if row["figures"]["flops"] > 0]


def roofline_rows(document: dict[str, Any]) -> list[list[str]]:
    """Return the numbers of the picture: table, row, FLOPs a byte and GFLOP/s of each point."""
    return [
        [
            row_title(row),
            f"{row['title']} {row['track']}",
            significant(row["figures"]["limit"]["intensity"]),
            significant(row["figures"]["limit"]["flops_per_second"] / 1e9),
        ]
        for row in rows_with_flops(document)
    ]


def draw_roofline(document: dict[str, Any], path: Path) -> bool:
    """Draw the roofline as PNG; False if no row has a place in it."""
    figure = roofline(document)
    if figure is None:
        return False
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())
    return True
