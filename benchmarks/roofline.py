"""The roofline picture: what a row reaches below what the machine could do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_bytes

COLORS = {"torch": "#c84c00", "mxnet": "#007a5a", "jax": "#0067b0", "tf": "#a0408c"}
MARKERS = {"train": "o", "predict": "s", "upsample": "^", "epoch": "D"}


def draw_roofline(document: dict[str, Any], path: Path) -> bool:
    """Draw every measured row with flops over its arithmetic intensity; False if there is none.

    Source:
        Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model", 2009.
    """
    rows = [row for row in document["rows"] if row["figures"] and row["figures"]["limit"]]
    rows = [row for row in rows if row["figures"]["flops"] > 0]
    if not rows:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    intensities = np.geomspace(1, 1000, 100)
    for precision, limit in document["limits"].items():
        if limit:
            slope = intensities * limit["bytes_per_second"]
            roof = np.minimum(slope, limit["flops_per_second"]) / 1e9
            axes.plot(intensities, roof, color="0.4", linewidth=1.5)
            axes.annotate(
                f"{precision} limit", (intensities[-1], roof[-1]), ha="right", va="bottom"
            )
    seen = set()
    for row in rows:
        limit = row["figures"]["limit"]
        label = row["title"] if row["backend"] not in seen else None
        seen.add(row["backend"])
        axes.plot(
            [limit["intensity"]],
            [limit["flops_per_second"] / 1e9],
            MARKERS.get(row["case"], "o"),
            color=COLORS[row["backend"]],
            label=label,
            fillstyle="full" if row["track"] == "default" else "none",
        )
    axes.set(xscale="log", yscale="log", xlabel="flops a byte", ylabel="GFLOP/s")
    axes.set_title("circles train, squares predict, triangles upsample; hollow: not default")
    axes.legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())
    return True
