"""Which rows of a benchmark may be divided by each other, and what the ratios show."""

import json
import math
from itertools import combinations
from typing import cast

from benchmarks.cases import CASES
from benchmarks.records.documents import (
    Bench,
    BreakEven,
    Comparison,
    Figures,
    Row,
    Settings,
)
from benchmarks.records.figures import disturbance, kept_seconds, summarize
from benchmarks.records.statistics import (
    LEVEL,
    ONE_PROCESS,
    PAIRED_TEST,
    Kind,
    Pair,
    judge,
    side_by_side,
    withheld,
)
from common.backends import device_kind

SHARED = (
    *("case", "variant", "backbone", "head", "recipe", "batch_size", "crop", "precision", "device"),
    "host",
)
"""What two rows must share before one is divided by the other. Of backend and track they must share
one too."""
COMPUTED_ON = "computed on"


def conditions(row: Row) -> dict[str, object]:
    """Return by name what no ratio may cross: ``SHARED``, and whether a CPU or a GPU computed.

    The device ``auto`` may mean either.
    """
    shared: dict[str, object] = {"head": "fcn32s", "host": None}
    shared |= {name: value for name, value in row.items() if name in SHARED}
    kinds = {device_kind(process["backend"]["device"]) for process in row["processes"]}
    return shared | {COMPUTED_ON: " and ".join(sorted(kinds))}


def crossed(a: Row, b: Row) -> str | None:
    """Return what differs between two rows that no ratio may cross, or None."""
    of_b = conditions(b)
    for name, value in conditions(a).items():
        if value != of_b[name]:
            return f"{value} and {of_b[name]}" if name == COMPUTED_ON else name
    neither = a["track"] != b["track"] and a["backend"] != b["backend"]
    return "track and backend" if neither else None


def compare_rows(document: Bench) -> None:
    """Test every pair of rows that may be compared, and find when compiling has paid off.

    A pair is two backends on one track, or two tracks of one backend, all else equal. The p-values
    of each table are corrected for their number. A comparison of a row that was disturbed is not
    judged, and says why.
    """
    measured = [row for row in document["rows"] if row["status"] == "ok"]
    tables: dict[str, list[Pair]] = {}
    for a, b in combinations(measured, 2):
        if crossed(a, b) or (a["track"], a["backend"]) == (b["track"], b["backend"]):
            continue
        if ratio := side_by_side(kept_seconds(a), kept_seconds(b)):
            kind: Kind = "backends" if a["track"] == b["track"] else "tracks"
            pair: Pair = {"kind": kind, "a": a["key"], "b": b["key"], **ratio}
            tables.setdefault(json.dumps([kind, conditions(a)]), []).append(pair)
    reasons = {row["key"]: reason for row in measured if (reason := disturbance(row))}
    document["comparisons"] = []
    for pairs in tables.values():
        judgements = judge([pair["p_value"] for pair in pairs])
        for pair, judgement in zip(pairs, judgements, strict=True):
            reason = reasons.get(pair["a"]) or reasons.get(pair["b"])
            document["comparisons"].append({**pair, **withheld(judgement, reason)})
    for row in measured:
        if row["figures"]:
            row["figures"]["break_even"] = break_even(row, measured)


def break_even(row: Row, measured: list[Row]) -> BreakEven | None:
    """Return after how many steps a row has caught up with its backend's quickest start.

    That is the track whose first step is done first, all else equal. None for that track itself,
    and where nothing is compiled.
    """
    figures = row["figures"]
    if figures is None or not CASES[row["case"]].compiles:
        return None
    alike = {**conditions(row), "backend": row["backend"]}
    tracks = [r for r in measured if {**conditions(r), "backend": r["backend"]} == alike]
    starts = [(*start_and_step(r["figures"]), r["key"]) for r in tracks if r["figures"]]
    (start, step), (first, pace, key) = start_and_step(figures), min(starts)
    if key == row["key"]:
        return None
    lost, gained = start - first, pace - step
    # Where it is even after a whole number of steps, rounding adds none.
    steps = math.ceil(lost / gained - 1e-9) + 1 if gained > 0 else None
    return {"against": key, "steps": steps}


def start_and_step(figures: Figures) -> tuple[float, float]:
    """Return the seconds until a row's first step is done, and those of each later step."""
    step = figures["step_seconds"]["median"]
    if "steady_seconds" in figures:
        return step, figures["steady_seconds"]
    return figures["first_step_seconds"], step


def is_early(settings: Settings) -> bool:
    """Return whether a benchmark is of before a row had several processes."""
    return "processes" not in settings


def bring_up_to_date(document: Bench) -> None:
    """Replace an early file's figures and tests by those that its samples give today.

    Its tests were over the turns of one process, and called a backend different from itself far too
    often. Where its samples give no figures, for `fcn bench check` to say so, none of its tests is
    judged.
    """
    rows = [of_one_process(row) for row in document["rows"]]
    computed: Bench = {**document, "rows": rows}
    document["test"] = {"name": PAIRED_TEST, "level": LEVEL}
    try:
        for row in rows:
            if row["status"] == "ok":
                summarize(computed, row)
        compare_rows(computed)
        document["rows"], document["comparisons"] = rows, computed["comparisons"]
    except (ArithmeticError, LookupError, ValueError):
        document["comparisons"] = [
            cast(Comparison, withheld(entry, ONE_PROCESS)) for entry in document["comparisons"]
        ]


def of_one_process(row: Row) -> Row:
    """Return an early row with all its turns in one process, although a resumed one had two.

    Only the last of them was asked what it used. A start of a process is one of its own.
    """
    if row["case"] in CASES and CASES[row["case"]].in_new_processes:
        return row.copy()
    samples = [sample.copy() for sample in row["samples"]]
    for sample in samples:
        sample["process"] = len(row["processes"]) - 1
    return {**row, "samples": samples}
