"""The numbers behind a comparison's page: what its charts draw, its data tables, its manifest."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.pages.compare_view import backend_color, finished_rows, number, size
from common.data.voc import CLASSES
from common.recipes import VOID_READINGS

LEAST_DISTANCE = 1e-8
"""Below it a relative difference is drawn here: a logarithmic axis has no zero."""
SCORE_NAMES = {"pixel_accuracy": "Pixel accuracy", "mean_iou": "Mean IoU"}
ALL_SCORES = (
    ("pixel_accuracy", "Pixel accuracy"),
    ("mean_class_accuracy", "Mean class accuracy"),
    ("mean_iou", "Mean IoU"),
    ("frequency_weighted_iou", "Frequency-weighted IoU"),
)
READINGS = {"background": "void counts as background", "ignore": "void ignored"}
LOSS_LINES = 21


def readings(compare: dict[str, Any]) -> list[str]:
    """Return both readings of the void pixels, the recipe's first."""
    first = compare["config"]["recipe"]["void"]
    return sorted(VOID_READINGS, key=lambda void: void != first)


def chart_data(compare: dict[str, Any]) -> dict[str, Any]:
    """Return the series of the page's charts: one value a finished backend and step or epoch."""
    rows = finished_rows(compare)
    losses = [dict(row["steps"]) for row in rows]
    steps = sorted({step for series in losses for step in series})
    table = [[series.get(step) for series in losses] for step in steps]
    trace = compare["agreement"] or {"losses": [], "bounds": []}
    checked = steps[: len(trace["losses"])]
    return {
        "backends": [
            {"name": row["backend"], "title": row["title"], "color": backend_color(row["backend"])}
            for row in rows
        ],
        "steps": steps,
        "losses": _columns(table, len(rows), digits=7),
        "checked": checked,
        "distances": _columns(
            [
                [loss and max(abs(loss - exact) / abs(exact), LEAST_DISTANCE) for loss in line]
                for line, exact in zip(table, trace["losses"], strict=False)
            ],
            len(rows),
            digits=3,
        ),
        "bound": trace["bounds"],
        "epochs": _epochs(rows),
        "scores": _score_series(compare, rows),
    }


def _columns(table: list[list[float | None]], width: int, digits: int) -> list[list[float | None]]:
    """Return the columns of a table with as many digits as a reader of a chart can use."""

    def short(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.{digits}g}")

    return [[short(line[column]) for line in table] for column in range(width)]


def _epochs(rows: list[dict[str, Any]]) -> list[int]:
    return sorted({line["epoch"] + 1 for row in rows for line in row["epochs"]})


def _score_series(compare: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_epoch = [{line["epoch"] + 1: line for line in row["epochs"]} for row in rows]
    epochs = _epochs(rows)

    def series(pick: Any) -> list[list[float | None]]:
        return [[pick(lines[e]) if e in lines else None for e in epochs] for lines in by_epoch]

    found: list[dict[str, Any]] = []
    for void in readings(compare):
        for key, label in SCORE_NAMES.items():
            constants = series(lambda line, v=void, k=key: line["scores"][v][f"background_{k}"])
            found.append(
                {
                    "label": f"{label}, {READINGS[void]}",
                    "series": series(lambda line, v=void, k=key: line["scores"][v][k]),
                    "constant": constants[0] if constants else None,
                }
            )
    for key, label in {"val_loss": "Validation loss", "train_loss": "Training loss"}.items():
        found.append(
            {
                "label": f"{label}, mean of an epoch",
                "series": series(lambda line, k=key: line[k]),
                "constant": None,
            }
        )
    return [one for one in found if any(v is not None for line in one["series"] for v in line)]


def loss_rows(compare: dict[str, Any]) -> list[tuple[int, list[str]]]:
    """Return evenly spread steps, the first and the last among them, and each backend's loss."""
    charts = chart_data(compare)
    count = len(charts["steps"])
    chosen = np.unique(np.linspace(0, count - 1, min(count, LOSS_LINES)).round().astype(int))
    return [
        (charts["steps"][i], [number(column[i], 5) for column in charts["losses"]]) for i in chosen
    ]


def epoch_rows(compare: dict[str, Any]) -> list[tuple[int, str, list[str]]]:
    """Return (epoch, backend, figures) for every epoch of every finished row."""
    void = compare["config"]["recipe"]["void"]
    return [
        (
            line["epoch"] + 1,
            row["title"],
            [
                number(line["train_loss"]),
                number(line["val_loss"]),
                number(line["scores"][void]["pixel_accuracy"]),
                number(line["scores"][void]["mean_iou"]),
            ],
        )
        for row in finished_rows(compare)
        for line in row["epochs"]
    ]


def void_rows(
    compare: dict[str, Any],
) -> list[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    """Return for each reading of the void pixels (row, [(score, value)]), the recipe's first.

    The last row is that of always saying background.
    """
    rows = finished_rows(compare)
    tables = []
    for void in readings(compare):
        lines = [
            (row["title"], [(label, number(row["scores"][void][key])) for key, label in ALL_SCORES])
            for row in rows
        ]
        if rows:
            scores = rows[0]["scores"][void]
            share = scores["background_pixel_accuracy"]
            # It finds all of one class and none of the others; its one IoU is that class's share.
            class_accuracy = 1 / scores["classes_present"] if share else 0.0
            values = (share, class_accuracy, scores["background_mean_iou"], share**2)
            named = [(label, number(v)) for (_, label), v in zip(ALL_SCORES, values, strict=True)]
            lines.append(("Always background", named))
        tables.append((READINGS[void], lines))
    return tables


def class_rows(compare: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return each class of the truth and its IoU in every finished row, in the recipe's reading."""
    void = compare["config"]["recipe"]["void"]
    columns = [row["scores"][void]["class_iou"] for row in finished_rows(compare)]
    return [
        (CLASSES[index], [number(column[index], 3) for column in columns])
        for index in range(len(CLASSES))
        if any(column[index] is not None for column in columns)
    ]


def facts(compare: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the manifest: (group, [(name, value)])."""
    config, hardware = dict(compare["config"]), compare["hardware"]
    config["without"] = ", ".join(config.get("without", ())) or None
    run = {
        "Made": compare["created"],
        "Program's commit": compare["commit"] or "not from a checkout",
        **{_words(key): value for key, value in config.items() if key != "recipe"},
        **{f"Weights' {key}": value for key, value in (compare.get("weights") or {}).items()},
    }
    machine = dict(hardware)
    memory = machine.pop("memory_bytes", None)
    machine["memory"] = None if memory is None else size(memory)
    groups = [
        ("Run", run),
        ("Machine", {_words(key): value for key, value in machine.items()}),
        ("Data", {_words(key): value for key, value in compare["dataset"].items()}),
        ("Recipe", {_words(key): value for key, value in config["recipe"].items()}),
    ]
    for row in compare["rows"]:
        keys = ("device", "threads", "precision", "deterministic", "total_seconds")
        values = {_words(key): row[key] for key in keys if row.get(key) is not None}
        versions = {f"{name} version": text for name, text in (row.get("versions") or {}).items()}
        if values or versions:
            groups.append((row["title"], {**versions, **values}))
    return [(name, [(key, _text(value)) for key, value in of.items()]) for name, of in groups]


def _words(key: str) -> str:
    text = key.replace("_", " ")
    return (text[0].upper() + text[1:]).replace("Cpus", "CPUs").replace("Val ", "Validation ")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return str(value)
