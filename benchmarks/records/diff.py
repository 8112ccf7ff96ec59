"""`fcn bench diff OLD NEW`: what changed between two results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.pages.bench_text import columns, finding
from benchmarks.records.documents import Row
from benchmarks.records.figures import kept_seconds
from benchmarks.records.results import read_results
from benchmarks.records.statistics import UNPAIRED_TEST, judgement, least_p_unpaired, unpaired
from common.errors import InputError
from common.options import Parser

ALIKE = ("processor", "cpus", "system")
"""Of the hardware: rows of machines that differ in one of these are not compared."""


def diff(argv: Sequence[str]) -> int:
    """Say what changed between two results; rows that are not alike are refused."""
    parser = Parser(
        prog="fcn bench diff",
        description=f"Say which rows changed from OLD to NEW, by a {UNPAIRED_TEST}, "
        "corrected after Holm.",
    )
    parser.add_argument(
        "old", type=Path, metavar="OLD", help="bench.json, or the folder that holds it"
    )
    parser.add_argument("new", type=Path, metavar="NEW", help="likewise")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    args = parser.parse_args(argv)
    old, new = read_results(args.old), read_results(args.new)
    refused = unlike(old, new)
    if refused:
        raise InputError(f"{args.new} and {args.old} are not alike: {refused}")
    entries, left_out = changes(old, new)
    if not entries:
        said = "; ".join(left_out[:3]) or "they share no row"
        raise InputError(f"{args.new} and {args.old} have no rows to compare: {said}")
    if args.json:
        print(json.dumps({"rows": entries, "left_out": left_out}, indent=2))
        return 0
    lines: list[Sequence[str]] = [("row", "old ms", "new ms", "new/old [95 %]", "")]
    for entry in entries:
        lines.append(
            (
                entry["key"],
                f"{entry['old'] * 1000:.4g}",
                f"{entry['new'] * 1000:.4g}",
                f"{entry['ratio']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]",
                entry["said"],
            )
        )
    print(columns(lines))
    for line in left_out:
        print(f"not compared: {line}")
    return 0


def unlike(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return why nothing of two documents may be compared, or None."""
    for name in ALIKE:
        if old["hardware"][name] != new["hardware"][name]:
            return f"{name} {old['hardware'][name]!r} there, {new['hardware'][name]!r} here"
    return None


def changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return an entry for each row of both documents, and why others are left out."""
    before = {row["key"]: row for row in old["rows"]}
    entries, left_out = [], []
    for row in new["rows"]:
        other = before.pop(row["key"], None)
        if other is None:
            left_out.append(f"{row['key']}: only in the new one")
        elif row["status"] != "ok" or other["status"] != "ok":
            left_out.append(f"{row['key']}: {other['status']} there, {row['status']} here")
        elif not kept_seconds(other) or not kept_seconds(row):
            left_out.append(f"{row['key']}: every sample of it was dropped")
        elif reason := other_conditions(other, row):
            left_out.append(f"{row['key']}: {reason}")
        else:
            entries.append(change(other, row))
    left_out += [f"{key}: only in the old one" for key in before]
    p_values, least = [e["p_value"] for e in entries], [e["least_p"] for e in entries]
    for entry, judged in zip(entries, judgement(p_values, least), strict=True):
        entry |= judged
        was, now = entry["old_versions"], entry["new_versions"]
        versions = [
            f"{name} {was.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name)
        ]
        verdict = finding(entry, "slower" if entry["ratio"] > 1 else "faster", "no change shown")
        entry["said"] = verdict + (f" ({', '.join(versions)})" if versions else "")
    return entries, left_out


def other_conditions(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Return what differs in how two rows of the same key were computed, versions apart."""
    a, b = old["processes"][-1], new["processes"][-1]
    for name in ("device", "threads", "precision", "deterministic"):
        if a["backend"].get(name) != b["backend"].get(name):
            return f"{name} {a['backend'].get(name)} there, {b['backend'].get(name)} here"
    if a["switches"] != b["switches"]:
        return f"switches {a['switches']} there, {b['switches']} here"
    was, now = a["environment"], b["environment"]
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            return f"{name} {was.get(name, 'unset')} there, {now.get(name, 'unset')} here"
    if (card := gpu_names(old)) != (other := gpu_names(new)):
        return f"GPU {card or 'unknown'} there, {other or 'unknown'} here"
    return None


def gpu_names(row: dict[str, Any]) -> str:
    """Return the name of the GPU whose state stands beside a row's samples."""
    return ", ".join(sorted({sample["gpu"]["name"] for sample in row["samples"] if sample["gpu"]}))


def change(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Compare one row of two runs."""
    a, b = list(kept_seconds(cast(Row, old)).values()), list(kept_seconds(cast(Row, new)).values())
    return {
        "key": new["key"],
        "old": float(np.median(a)),
        "new": float(np.median(b)),
        "old_versions": old["processes"][-1]["backend"]["versions"],
        "new_versions": new["processes"][-1]["backend"]["versions"],
        "least_p": least_p_unpaired(len(a), len(b)),
        **unpaired(a, b),
    }
