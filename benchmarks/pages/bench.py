"""A benchmark's results as one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages.accuracy import accuracy_gallery, accuracy_view
from benchmarks.pages.bench_text import NOT_REACHED, finding, is_unfinished, row_title, was_reached
from benchmarks.pages.compare_view import backend_color, moment
from benchmarks.pages.facts import computed_on, facts, machine_names
from benchmarks.pages.heat import gate_table
from benchmarks.pages.html import asset, chart_library, download, environment, svg
from benchmarks.pages.proof import section
from benchmarks.pages.roofline import roofline, roofline_rows
from benchmarks.pages.rows import chart, measure_of, pair_view, round_rows, row_view, values_of
from benchmarks.records.check import problems
from benchmarks.records.comparisons import KEY
from benchmarks.records.equivalence import TARGET_ABOVE_BACKGROUND
from common.backends import BACKENDS
from common.machine.files import write_text

FILTERS = ("case", "batch_size", "precision", "track")
"""What the page can be narrowed to beside the machine; each is an attribute of every row."""


def write_page(document: dict[str, Any], path: Path, beside: Sequence[dict[str, Any]] = ()) -> Path:
    """Write the page of one benchmark, and of others beside it; no ratio crosses two of them.

    A proof that `fcn parity` left in the folder of the page is a section of it.

    Raises:
        InputError: If what lies there is no proof of this version.
    """
    documents = [document, *beside]
    templates = environment()
    templates.filters["backend_color"] = backend_color
    found = groups(documents)
    html = templates.get_template("bench.html.j2").render(
        styles=asset("vendor/uPlot.min.css") + asset("report.css"),
        library=chart_library(),
        script=asset("bench.js"),
        document=document,
        created=moment(document["created"]),
        verdict=verdict(document),
        target=TARGET_ABOVE_BACKGROUND,
        computed_on=computed_on(document),
        machines=[
            machine_view(each, name)
            for each, name in zip(documents, machine_names(documents), strict=True)
        ],
        groups=found,
        not_reached=NOT_REACHED,
        unfinished=is_unfinished(document),
        choices={"machine": machine_names(documents)}
        | {name: choices(documents, name) for name in FILTERS},
        gallery=accuracy_gallery(document["accuracy"], path.parent)
        if "accuracy" in document
        else None,
        charts=[group["chart"] for group in found],
        proof=section(path.parent, "The whole proof"),
    )
    write_text(path, html)
    return path


def machine_view(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what the page shows of one results file, its tables of rates apart."""
    picture = roofline(document)
    return {
        "name": name,
        "created": moment(document["created"]),
        "verdict": verdict(document),
        "problems": problems(document),
        "not_reached": [row_title(r[0]) for r in tables(document) if not was_reached(r)],
        "gates": gate_table(tables(document)),
        "limits": limits(document),
        "roofline": svg(picture, document["created"]) if picture else None,
        "points": roofline_rows(document),
        "accuracy": accuracy_view(document["accuracy"], document["created"])
        if "accuracy" in document
        else None,
        "facts": facts(document),
        "download": download(document),
    }


def verdict(document: dict[str, Any]) -> str:
    """Return what was measured, and which rows have no figure, in one sentence."""
    rows = document["rows"]
    measured = [row for row in rows if row["status"] == "ok"]
    names = list(dict.fromkeys(row["title"] for row in measured))
    found = []
    if rows or "accuracy" not in document:
        found.append(f"{len(measured)} of {len(rows)} rows have figures")
    if names:
        found[0] += f" ({', '.join(names)}), each after its worker reproduced the float64 reference"
    differ = [entry for entry in document["comparisons"] if entry["differ"]]
    if document["comparisons"]:
        untold = [e for e in document["comparisons"] if finding(e).startswith("too few")]
        found.append(
            f"{len(differ)} of {len(document['comparisons'])} paired tests find a difference"
            + (f", {len(untold)} have too few pairs to tell" if untold else "")
        )
    if "accuracy" in document:
        found.append(trained(document["accuracy"]))
    return "; ".join(found) + "."


def trained(accuracy: dict[str, Any]) -> str:
    """Return who finished the trainings, and how many tests of equivalence say so."""
    names = [row["title"] for row in accuracy["rows"] if row["status"] == "ok"]
    tests = accuracy["equivalence"]
    shown = sum(test["equivalent"] for test in tests)
    return (
        f"{', '.join(names) or 'no backend'} trained from {accuracy['seeds']} seeds each, "
        f"and {shown} of {len(tests)} tests show their scores equivalent"
    )


def choices(documents: list[dict[str, Any]], name: str) -> list[str]:
    """Return the values of one key, in the order of the rows."""
    return list(dict.fromkeys(str(row[name]) for each in documents for row in each["rows"]))


def tables(document: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the rows that may be compared with each other, a table each."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in document["rows"]:
        found.setdefault(tuple(str(row[name]) for name in KEY), []).append(row)
    return list(found.values())


def groups(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all tables that were reached; those of one case, batch and precision in a row."""
    found = [
        group(rows, document, name)
        for document, name in zip(documents, machine_names(documents), strict=True)
        for rows in tables(document)
        if was_reached(rows)
    ]
    titles = list(dict.fromkeys(entry["title"] for entry in found))
    return sorted(found, key=lambda entry: titles.index(entry["title"]))


def group(rows: list[dict[str, Any]], document: dict[str, Any], machine: str) -> dict[str, Any]:
    """Return one table: its title, its rows, their paired tests and their samples."""
    first = rows[0]
    height, width = first["crop"]
    keys = {row["key"]: row for row in rows}
    top = max((value for row in rows for value in values_of(row)), default=1.0) * 1.02
    return {
        "title": row_title(first),
        "machine": machine,
        "under": f"{first['backbone']}, recipe {first['recipe']}, {height}×{width}, "
        f"device {first['device']}",
        "attributes": {"machine": machine}
        | {name: str(first[name]) for name in FILTERS if name != "track"},
        "rows": [row_view(row, top) for row in rows],
        "test": document["test"],
        "tests": [
            pair_view(entry, keys)
            for entry in document["comparisons"]
            if entry["a"] in keys and entry["b"] in keys
        ],
        "measure": measure_of(first),
        "chart": (drawn := chart(rows)),
        "numbers": round_rows(drawn),
    }


def limits(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the machine's limits in each precision, and what each backend reached of its own."""
    return [
        {
            "precision": precision,
            "highest": rates_of(limit),
            "by_backend": [
                (name := entry["backend"], BACKENDS.get(name, name), rates_of(entry))
                for entry in limit["by_backend"]
            ],
        }
        for precision, limit in document["limits"].items()
        if limit
    ]


def rates_of(limit: dict[str, Any]) -> list[str]:
    """Return the arithmetic rate and the copy rate as text, or why there are none."""
    if "flops_per_second" not in limit:
        return [limit.get("reason", "not measured")]
    return [
        f"{limit['flops_per_second'] / 1e9:,.0f} GFLOP/s",
        f"{limit['bytes_per_second'] / 1e9:,.1f} GB/s",
    ]
