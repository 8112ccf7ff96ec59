"""The accuracy case as text and as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_tables import columns
from benchmarks.pages import COLORS
from benchmarks.report_view import backend_color
from common.files import write_bytes


def accuracy_lines(accuracy: dict[str, Any]) -> list[str]:
    """Return the scores of every backend and the tests of every pair, a line each."""
    recipe = accuracy["config"]["recipe"]
    void, (height, width) = recipe["void"], recipe["crop"]
    lines = [
        f"accuracy, {recipe['backbone']}, {recipe['name']}, batch {recipe['batch_size']}, "
        f"{height}x{width}, {accuracy['seeds']} seeds: mean [least, most]"
    ]
    cells = [("backend", "pixel accuracy", "mean IoU", "to target", "agreement")]
    notes = []
    for row in accuracy["rows"]:
        runs = row["runs"]
        if row["status"] != "ok":
            notes.append(f"  {row['backend']}: {row['status']}: {row['reason']}")
        if not runs:
            continue
        scores = [[run["scores"][void][name] for run in runs] for name in accuracy["margins"]]
        times = [run["seconds_to_target"] for run in runs]
        reached = [seconds for seconds in times if seconds is not None]
        parts = [run["agreement"] for run in runs if run["agreement"] is not None]
        cells.append(
            (
                row["backend"],
                *(f"{np.mean(s):.4f} [{min(s):.4f}, {max(s):.4f}]" for s in scores),
                f"{np.mean(reached):.1f} s, {len(reached)} of {len(times)}" if reached else "never",
                f"{max(parts):.2g} of its bound" if parts else "not shown",
            )
        )
    lines += [columns(cells), *notes]
    for test in accuracy["equivalence"]:
        said = "equivalent" if test["equivalent"] else "equivalence not shown"
        lines.append(
            f"  {' - '.join(test['backends'])}, {test['score']}: {test['mean']:+.4f} "
            f"[{test['low']:+.4f}, {test['high']:+.4f}] within {test['margin']}: {said} "
            f"(p {test['p']:.2g}, {len(test['differences'])} pairs)"
        )
    return lines


def draw_accuracy(accuracy: dict[str, Any], path: Path) -> bool:
    """Draw every backend's mean curve and the spread over its seeds; False if there is none."""
    rows = [row for row in accuracy["rows"] if row["runs"]]
    if not rows:
        return False
    from matplotlib.figure import Figure

    void = accuracy["config"]["recipe"]["void"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), accuracy["margins"], strict=True):
        for row in rows:
            curves = np.array(
                [[epoch["scores"][void][name] for epoch in run["epochs"]] for run in row["runs"]]
            )
            color = COLORS[backend_color(row["backend"])]
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(epochs, curves.mean(0), "o-", color=color, label=row["title"])
            axes.fill_between(epochs, curves.min(0), curves.max(0), color=color, alpha=0.15)
        axes.set(xlabel="epoch", title=name.replace("_", " "))
        axes.legend(loc="lower right")
    figure.suptitle("mean over seeds; shaded: least and most")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())
    return True
