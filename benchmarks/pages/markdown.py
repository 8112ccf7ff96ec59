"""A benchmark's training rows as a table in Markdown, for a README."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.bench_text import case_name, few_rounds
from benchmarks.pages.compare_view import significant, size
from benchmarks.pages.facts import computed_on
from benchmarks.records.comparisons import KEY
from common.backends import device_kind
from common.errors import InputError

BESIDE = ("predict", "load", "epoch")
"""Cases whose rates stand in the training rows, where they were measured under the same key."""

Row = dict[str, Any]


def markdown(document: dict[str, Any]) -> str:
    """Return a table for each batch, precision, crop and device; what it rests on stands below.

    What an interrupted benchmark did not reach has none.

    Raises:
        InputError: If the document has no row of ``train`` that was measured.
    """
    document = document | {"rows": [r for r in document["rows"] if r["status"] != "running"]}
    tables: dict[tuple[str, ...], list[Row]] = {}
    for row in document["rows"]:
        if row["case"] == "train":
            tables.setdefault(place(row), []).append(row)
    if not tables:
        raise InputError("--markdown: these results have no measured row of the case train")
    return "\n\n".join(table(document, rows) for rows in tables.values())


def place(row: Row) -> tuple[str, ...]:
    """Return what a table's rows share: the key without the case."""
    return tuple(str(row[name]) for name in KEY if name not in ("case", "variant"))


def table(document: dict[str, Any], rows: list[Row]) -> str:
    """Return one table and its caption."""
    peers = [row for row in document["rows"] if place(row) == place(rows[0])]
    rates = {
        (case_name(row), row["backend"], row["track"]): row
        for row in peers
        if row["case"] in BESIDE
    }
    # Rates of a case that no backend of these tracks has been timed in would be an empty column.
    tracks = {row["track"] for row in rows}
    cases = list(dict.fromkeys(case for case, _, track in rates if track in tracks))
    heads = ["backend", "track", "train", "of the limit", *cases, "first step", "memory"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        others = [rate(rates.get((case, row["backend"], row["track"]))) for case in cases]
        lines.append([row["title"], row["track"], rate(row), *figures(row, others)])
    cells = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{cells}\n\n{caption(document, rows)}"


def rate(row: Row | None) -> str:
    """Return examples a second with their interval, or why there are none."""
    if row is None:
        return "–"
    if row["figures"] is None:
        return str(row["status"])
    found = row["figures"]["examples_per_second"]
    median, low, high = (significant(found[name]) for name in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def figures(row: Row, others: list[str]) -> list[str]:
    """Return the cells of a training row behind its rate."""
    found = row["figures"]
    if found is None:
        return ["–", *others, "–", "–"]
    share = f"{found['limit']['fraction']:.0%}" if found["limit"] else "–"
    # MXNet tells no device memory; the host's would stand among those of the others.
    on_gpu = device_kind(row["processes"][-1]["backend"]["device"]) == "gpu"
    memory = found["device_memory_peak_bytes" if on_gpu else "host_memory_peak_bytes"]
    first = f"{found['first_step_seconds']:.1f} s"
    return [share, *others, first, size(memory) if memory else "–"]


def caption(document: dict[str, Any], rows: list[Row]) -> str:
    """Return the conditions of a table, its machine and versions, as a paragraph."""
    first, machine = rows[0], document["hardware"]
    rounds = document["settings"]["rounds"]
    height, width = first["crop"]
    limit = document["limits"].get(first["precision"])
    versions = {
        row["title"]: row["processes"][-1]["backend"]["versions"]
        for row in rows
        if row["processes"]
    }
    said = [
        f"Examples/s: median of the turns of {rounds} rounds, two each, and its "
        f"95 % bootstrap interval; {first['backbone']}, "
        f"{first['recipe']}, batch {first['batch_size']}, {height}×{width}, {first['precision']}, "
        f"{computed_on(document, rows)}, {machine['cpus']} CPUs, "
        f"{machine['system']}, Python {machine['python']}",
        "; ".join(
            ", ".join(f"{name} {version}" for name, version in found.items())
            for found in versions.values()
        ),
    ]
    if limit:
        said.insert(1, f"A matrix product reached {limit['flops_per_second'] / 1e9:,.0f} GFLOP/s")
    if few := few_rounds(document):
        said.insert(1, f"Only {few}")
    return "".join(f"{line}.\n" for line in said if line).rstrip("\n")
