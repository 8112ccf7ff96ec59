"""Which rows of a benchmark may be divided by each other, and what the ratios say."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.records.figures import kept_seconds
from benchmarks.records.statistics import judgement, least_p, paired
from common.backends import device_kind

KEY = ("case", "variant", "backbone", "recipe", "batch_size", "crop", "precision", "device")
"""What two rows must share for any ratio between them, beside either the track or the backend."""


def kind_of(row: dict[str, Any]) -> str:
    """Return ``cpu`` or ``gpu``, what a measured row was computed on: ``auto`` may mean either."""
    kinds = {device_kind(process["backend"]["device"]) for process in row["processes"]}
    return " and ".join(sorted(kinds))


def conditions(row: dict[str, Any]) -> list[Any]:
    """Return what no ratio may cross."""
    return [*(row[name] for name in KEY), kind_of(row)]


def crossed(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """Return what differs between two rows that no ratio may cross."""
    different = [name for name in KEY if a[name] != b[name]]
    if kind_of(a) != kind_of(b):
        different.append(f"{kind_of(a)} and {kind_of(b)}")
    if a["track"] != b["track"] and a["backend"] != b["backend"]:
        different.append("track and backend")
    return different[0] if different else None


def compare_rows(document: dict[str, Any]) -> None:
    """Test every pair of rows that may be compared, and find what compiling has to pay back.

    Pairs: two backends on the same track, or two tracks of the same backend; all else equal.
    """
    ok = [row for row in document["rows"] if row["status"] == "ok"]
    document["comparisons"] = []
    families: dict[str, list[dict[str, Any]]] = {}
    for a, b in combinations(ok, 2):
        kind = "backends" if a["track"] == b["track"] else "tracks"
        same_backend = a["backend"] == b["backend"]
        if conditions(a) != conditions(b) or (kind == "tracks") != same_backend:
            continue
        x, y = kept_seconds(a), kept_seconds(b)
        shared = sorted(x.keys() & y.keys())
        result = paired([x[n] for n in shared], [y[n] for n in shared])
        if result is None:
            continue
        entry = {"kind": kind, "a": a["key"], "b": b["key"], **result}
        families.setdefault(json.dumps([kind, *conditions(a)]), []).append(entry)
    for family in families.values():
        p_values = [entry["p_value"] for entry in family]
        least = [least_p(entry["pairs"]) for entry in family]
        for entry, judged in zip(family, judgement(p_values, least), strict=True):
            entry |= judged
        document["comparisons"] += family
    for row in ok:
        row["figures"]["break_even"] = None
        if not CASES[row["case"]].compiles:
            continue
        tracks = [
            other
            for other in ok
            if other["backend"] == row["backend"] and conditions(other) == conditions(row)
        ]
        cheapest = min(tracks, key=lambda other: start_and_step(other["figures"])[0])
        row["figures"]["break_even"] = break_even(row["figures"], cheapest)


def break_even(figures: dict[str, Any], cheapest: dict[str, Any]) -> dict[str, Any] | None:
    """Return after how many steps a row has caught up with its backend's cheapest track.

    That is the one whose first step is done first. ``steps`` is null where it never does.
    """
    other = cheapest["figures"]
    if other is figures:
        return None
    (start, step), (first, pace) = start_and_step(figures), start_and_step(other)
    lost, gained = start - first, pace - step
    steps = int(np.ceil(lost / gained)) + 1 if gained > 0 else None
    return {"against": cheapest["key"], "steps": steps}


def start_and_step(figures: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds until a row's first step is done, and those of each later step."""
    step = figures["step_seconds"]["median"]
    if "steady_seconds" in figures:
        return step, figures["steady_seconds"]
    return figures["first_step_seconds"], step
