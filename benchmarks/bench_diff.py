"""`fcn bench check FILE` and `fcn bench diff OLD NEW`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_markdown import markdown
from benchmarks.bench_results import KEY, can_check_schema, kept_seconds, read_results
from benchmarks.bench_tables import columns, row_name, table
from benchmarks.statistics import LEVEL, UNPAIRED_TEST, holm, unpaired
from common.errors import InputError
from common.options import Parser

ALIKE = ("processor", "cpus", "system")
"""Of the hardware: rows of machines that differ in one of these are not compared."""


def check(argv: Sequence[str]) -> int:
    """Check a results file, of any machine, and show it; status 1 if it contradicts itself."""
    parser = Parser(prog="fcn bench check", description="Check a results file and show its table.")
    parser.add_argument("file", type=Path, help="bench.json, or the folder that holds it")
    parser.add_argument(
        "--markdown", action="store_true", help="print the rows of train alone, for a README"
    )
    args = parser.parse_args(argv)
    document = read_results(args.file)
    try:
        found = problems(document)
        print(markdown(document) if args.markdown else table(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if can_check_schema():
            raise
        raise InputError(f"{args.file}: is against the schema ({error!r})") from error
    for line in found:
        print(f"problem: {line}", file=sys.stderr if args.markdown else sys.stdout)
    if not found and not args.markdown:
        schema = "follows the schema" if can_check_schema() else "(schema unchecked: no jsonschema)"
        print(f"{args.file}: {schema} and agrees with itself")
    return int(bool(found))


def problems(document: dict[str, Any]) -> list[str]:
    """Return what in a document contradicts the rules or itself, a line each."""
    found = []
    keys = [row["key"] for row in document["rows"]]
    found += [f"{key} stands twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
    for row in document["rows"]:
        key = row["key"]
        if key != row_name(row):
            found.append(f"{key}: its fields say {row_name(row)}")
        if row["status"] != "ok":
            if row["figures"] is not None:
                found.append(f"{key}: {row['status']}, but it has figures")
            if row["status"] != "running" and not row["reason"]:
                found.append(f"{key}: {row['status']} without a reason")
            continue
        if row["figures"] is None:
            found.append(f"{key}: ok, but it has no figures")
            continue
        if not row["gate"] or not row["gate"]["passed"]:
            found.append(f"{key}: figures without proof of equal work")
        elif over := [n for n, c in row["gate"]["checks"].items() if not within(c)]:
            found.append(f"{key}: passed, but {over[0]} is over its bound")
        kept = list(kept_seconds(row).values())
        stated = row["figures"]["step_seconds"]["median"]
        if not kept or not np.isclose(np.median(kept), stated, rtol=1e-6):
            found.append(f"{key}: its median is not that of its samples")
        rounds = {sample["round"] for sample in row["samples"]}
        if len(rounds) < document["settings"]["rounds"]:
            found.append(f"{key}: {len(rounds)} of {document['settings']['rounds']} rounds")
    known = {row["key"]: row for row in document["rows"]}
    for entry in document["comparisons"]:
        a, b = known.get(entry["a"]), known.get(entry["b"])
        if a is None or b is None:
            found.append(f"a comparison names {entry['a']} or {entry['b']}, which is no row")
        elif unlike := crossed(a, b):
            found.append(f"a ratio crosses {unlike}: {entry['a']} and {entry['b']}")
    return found


def within(entry: dict[str, Any]) -> bool:
    """Tell whether a gate's error is within its bound."""
    return entry["error"] is not None and entry["error"] <= entry["bound"]


def crossed(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """Return what differs between two rows that no ratio may cross."""
    different = [name for name in KEY if a[name] != b[name]]
    if a["track"] != b["track"] and a["backend"] != b["backend"]:
        different.append("track and backend")
    return different[0] if different else None


def diff(argv: Sequence[str]) -> int:
    """Say what changed between two results; rows that are not alike are refused."""
    parser = Parser(
        prog="fcn bench diff",
        description=f"Say which rows changed from OLD to NEW, by a {UNPAIRED_TEST}, Holm.",
    )
    parser.add_argument("old", type=Path, help="bench.json, or the folder that holds it")
    parser.add_argument("new", type=Path, help="likewise")
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
        elif reason := other_conditions(other, row):
            left_out.append(f"{row['key']}: {reason}")
        else:
            entries.append(change(other, row))
    left_out += [f"{key}: only in the old one" for key in before]
    for entry, p_value in zip(entries, holm([e["p_value"] for e in entries]), strict=True):
        entry["p_corrected"] = p_value
        entry["differ"] = p_value < LEVEL
        was, now = entry["old_versions"], entry["new_versions"]
        versions = [
            f"{name} {was.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name)
        ]
        verdict = "no change shown"
        if entry["differ"]:
            verdict = "slower" if entry["ratio"] > 1 else "faster"
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
    return None


def change(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Compare one row of two runs."""
    a, b = list(kept_seconds(old).values()), list(kept_seconds(new).values())
    return {
        "key": new["key"],
        "old": float(np.median(a)),
        "new": float(np.median(b)),
        "old_versions": old["processes"][-1]["backend"]["versions"],
        "new_versions": new["processes"][-1]["backend"]["versions"],
        **unpaired(a, b),
    }
