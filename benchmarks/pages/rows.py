"""The rows of a benchmark's page: their cells, places on a line, rounds and paired tests."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.bench_text import finding, pixel_rate, reason_of
from benchmarks.pages.compare_view import backend_color, significant, size
from common.backends import BACKENDS

STATUSES = {
    "ok": ("✓", "ok"),
    "invalid": ("≠", "invalid"),
    "failed": ("✕", "failed"),
    "unsupported": ("–", "unsupported"),
    "running": ("…", "not measured"),
}


def is_start(row: dict[str, Any]) -> bool:
    """Tell whether a row's samples are starts of a process, told in seconds and not as rates."""
    return bool(row["case"] == "first_step")


def measure_of(row: dict[str, Any]) -> str:
    """Return what is told of a row's samples."""
    return "Done after" if is_start(row) else "Examples/s"


def shown(row: dict[str, Any], seconds: float) -> float:
    """Return what is told of a sample: examples a second, or the seconds of a start."""
    return seconds if is_start(row) else row["batch_size"] / seconds


def values_of(row: dict[str, Any]) -> list[float]:
    """Return what is told of a row's samples, one by one; nothing where it has no figure."""
    if row["figures"] is None:
        return []
    return [shown(row, s["seconds"]) for s in row["samples"] if s["dropped"] is None]


def row_view(row: dict[str, Any], top: float) -> dict[str, Any]:
    """Return the cells of one row, and its place on a line that ends at ``top``."""
    symbol, label = STATUSES[row["status"]]
    view = {
        "backend": row["backend"],
        "title": row["title"],
        "track": row["track"],
        "status": row["status"],
        "symbol": symbol,
        "label": label,
        "reason": reason_of(row),
        "warnings": row["warnings"],
        "figures": None,
    }
    figures = row["figures"]
    if figures is None:
        return view
    told, itself = figures["examples_per_second"], figures["self_ratio"]
    step, unit = figures["step_seconds"]["median"], ""
    if is_start(row):
        told, step, unit = figures["step_seconds"], figures["steady_seconds"], " s"
    limit, even = figures["limit"], figures["break_even"]
    device = figures["device_memory_peak_bytes"]
    places = {name: 100 * told[name] / top for name in ("median", "low", "high")}
    view["figures"] = {
        "rate": significant(told["median"]) + unit,
        "interval": f"{significant(told['low'])} to {significant(told['high'])}{unit}",
        "dropped": figures["dropped_samples"],
        "taken": len(row["samples"]),
        "milliseconds": significant(1000 * step, 4),
        "pixels": pixel_rate(figures) if "pixels_per_second" in figures else "",
        "itself": f"{itself['low']:.2f} to {itself['high']:.2f}" if itself else "–",
        "limit": f"{limit['fraction']:.0%}" if limit else "–",
        "bound": limit["bound"] if limit else "",
        "first": f"{figures['first_step_seconds']:.2f} s",
        "even": "" if even is None else pays(even),
        "memory": size(figures["host_memory_peak_bytes"]),
        "device_memory": size(device) if device else "",
        "places": places,
        "width": max(places["high"] - places["low"], 0.3),
        "samples": [100 * value / top for value in values_of(row)],
        "order": {
            "rate": -figures["examples_per_second"]["median"],
            "first": figures["first_step_seconds"],
            "memory": device or figures["host_memory_peak_bytes"],
        },
    }
    return view


def pays(even: dict[str, Any]) -> str:
    """Return after how many steps a longer first step has been caught up."""
    other = even["against"].split("/")
    name = f"{BACKENDS.get(other[1], other[1])} {other[2]}"
    return f"never catches {name}" if even["steps"] is None else f"{even['steps']} steps to {name}"


def pair_view(entry: dict[str, Any], rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return one paired test as words."""
    a, b = (f"{rows[entry[side]]['title']} {rows[entry[side]]['track']}" for side in "ab")
    return {
        "pair": f"{b} over {a}",
        "tracks": " ".join(dict.fromkeys(rows[entry[side]]["track"] for side in "ab")),
        "ratio": f"{entry['ratio']:.3f}",
        "interval": f"{entry['low']:.3f} to {entry['high']:.3f}",
        "p": f"{entry['p_corrected']:.3g}",
        "said": finding(entry),
    }


def chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is told of the rows by round, a line a row: uPlot's data."""
    rounds = sorted({sample["round"] for row in rows for sample in row["samples"]})
    lines = []
    for row in rows:
        if row["figures"] is None:
            continue
        of_round = [
            [s["seconds"] for s in row["samples"] if s["round"] == n and s["dropped"] is None]
            for n in rounds
        ]
        lines.append(
            {
                "title": f"{row['title']} {row['track']}",
                "track": row["track"],
                "color": backend_color(row["backend"]),
                "values": [
                    shown(row, sum(turns) / len(turns)) if turns else None for turns in of_round
                ],
            }
        )
    return {"rounds": rounds, "lines": lines}


def round_rows(chart: dict[str, Any]) -> list[list[str]]:
    """Return the numbers of a chart: a round, and the value of each line in it."""
    return [
        [str(number), *("–" if value is None else significant(value) for value in values)]
        for number, *values in zip(
            chart["rounds"], *(line["values"] for line in chart["lines"]), strict=True
        )
    ]
