"""A benchmark's results as one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import CASES
from benchmarks.pages import rows as words
from benchmarks.pages.accuracy import accuracy_gallery, accuracy_view
from benchmarks.pages.facts import bench_facts, computed_on, machine_names
from benchmarks.pages.format import bound_text
from benchmarks.pages.html import render, svg
from benchmarks.pages.proof import stored_proof
from benchmarks.pages.roofline import point_rows, roofline
from benchmarks.pages.rows import chart, finding, row_title, tables, values_of, was_reached
from benchmarks.records.check import problems
from benchmarks.records.documents import Bench, Check, Comparison, Row
from benchmarks.records.equivalence import TARGET_ABOVE_BACKGROUND
from benchmarks.records.training_documents import Accuracy
from common.backends import BACKENDS
from common.machine.files import write_text

if TYPE_CHECKING:
    from markupsafe import Markup

    from benchmarks.pages.accuracy import AccuracyView
    from benchmarks.pages.facts import Block
    from benchmarks.pages.rows import Chart


class GateLine(NamedTuple):
    """One quantity of a table: its bounds in words, and a check for each backend and track."""

    quantity: str
    bounds: str
    checks: list[Check | None]


class GateTable(NamedTuple):
    """How far each timed row was from the float64 reference: (title, lines) by table."""

    heads: list[tuple[str, str]]
    parts: list[tuple[str, list[GateLine]]]


class Machine(NamedTuple):
    """What the page shows of one results file, its tables of rates apart."""

    name: str
    document: Bench
    verdict: str
    problems: list[str]
    not_reached: list[str]
    gates: GateTable
    roofline: Markup | None
    points: list[list[str]]
    accuracy: AccuracyView | None
    facts: list[Block]


class Group(NamedTuple):
    """One table of rates and its paired tests; its lines end at ``top``."""

    title: str
    machine: str
    document: Bench
    rows: list[Row]
    comparisons: list[Comparison]
    top: float
    chart: Chart


def write_page(document: Bench, path: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write the page of one benchmark, and of others beside it; no ratio crosses two of them.

    A proof that `fcn parity` left in the folder of the page is a section of it.

    Raises:
        InputError: If what lies there is no proof of this version.
    """
    documents = [document, *beside]
    shown, accuracy = groups(documents), document.get("accuracy")
    html = render(
        document,
        verdict=verdict(document),
        computed_on=computed_on(document),
        machines=list(map(machine, documents, machine_names(documents))),
        groups=shown,
        words=words,
        cases=CASES,
        backends=BACKENDS,
        target=TARGET_ABOVE_BACKGROUND,
        proof=stored_proof(path.parent),
        gallery=accuracy_gallery(accuracy, path.parent) if accuracy else None,
        charts=[group.chart for group in shown],
    )
    write_text(path, html)
    return path


def machine(document: Bench, name: str) -> Machine:
    """Return what the page shows of one results file."""
    picture, accuracy = roofline(document), document.get("accuracy")
    by_table, salt = tables(document["rows"]), document["created"]
    return Machine(
        name,
        document,
        verdict(document),
        problems(document),
        [row_title(rows[0]) for rows in by_table if not was_reached(rows)],
        gate_table(by_table),
        svg(picture, salt) if picture else None,
        point_rows(document),
        accuracy_view(accuracy, salt) if accuracy else None,
        bench_facts(document),
    )


def verdict(document: Bench) -> str:
    """Return what was measured, and which rows have no figure, in one sentence."""
    rows, comparisons = document["rows"], document["comparisons"]
    measured = [row for row in rows if row["status"] == "ok"]
    parts = []
    if rows or "accuracy" not in document:
        parts.append(f"{len(measured)} of {len(rows)} rows have figures")
    if measured:
        names = ", ".join(dict.fromkeys(row["title"] for row in measured))
        parts[0] += f" ({names}), each after its worker reproduced the float64 reference"
    if comparisons:
        differ = sum(entry["differ"] for entry in comparisons)
        blind = sum(finding(entry).startswith("too few") for entry in comparisons)
        parts.append(
            f"{differ} of {len(comparisons)} paired tests find a difference"
            + (f", {blind} have too few pairs to tell" if blind else "")
        )
    if "accuracy" in document:
        parts.append(trained(document["accuracy"]))
    return "; ".join(parts) + "."


def trained(accuracy: Accuracy) -> str:
    """Return who finished the trainings, and how many tests of equivalence say so."""
    names = [row["title"] for row in accuracy["rows"] if row["status"] == "ok"]
    tests = accuracy["equivalence"]
    shown = sum(test["equivalent"] for test in tests)
    return (
        f"{', '.join(names) or 'no backend'} trained from {accuracy['seeds']} seeds each, "
        f"and {shown} of {len(tests)} tests show their scores equivalent"
    )


def groups(documents: Sequence[Bench]) -> list[Group]:
    """Return all tables that were reached; those of one case, batch and precision in a row."""
    reached = [
        group(rows, document, name)
        for document, name in zip(documents, machine_names(documents), strict=True)
        for rows in tables(document["rows"])
        if was_reached(rows)
    ]
    titles = list(dict.fromkeys(entry.title for entry in reached))
    return sorted(reached, key=lambda entry: titles.index(entry.title))


def group(rows: list[Row], document: Bench, machine: str) -> Group:
    """Return one table."""
    keys = {row["key"] for row in rows}
    pairs = [entry for entry in document["comparisons"] if {entry["a"], entry["b"]} <= keys]
    top = 1.02 * max((value for row in rows for value in values_of(row)), default=1.0)
    return Group(row_title(rows[0]), machine, document, rows, pairs, top, chart(rows))


def gate_table(by_table: Sequence[Sequence[Row]]) -> GateTable:
    """Return the proofs of the gate as a heat map. A row that came to no gate is blank."""
    proved = [[row for row in rows if row["gate"]] for rows in by_table]
    names = dict.fromkeys((row["title"], row["track"]) for rows in proved for row in rows)
    # By track, as the tables are, whatever the first of them has.
    tracks = list(dict.fromkeys(track for _, track in names))
    heads = sorted(names, key=lambda name: tracks.index(name[1]))
    return GateTable(
        heads, [(row_title(rows[0]), gate_lines(rows, heads)) for rows in proved if rows]
    )


def gate_lines(rows: Sequence[Row], heads: Sequence[tuple[str, str]]) -> list[GateLine]:
    """Return a line for each quantity of one table."""
    by_head: dict[tuple[str, str], Mapping[str, Check]] = {
        (row["title"], row["track"]): row["gate"]["checks"] for row in rows if row["gate"]
    }
    lines = []
    for quantity in dict.fromkeys(name for checks in by_head.values() for name in checks):
        checks = [by_head.get(head, {}).get(quantity) for head in heads]
        # A track's own code may be allowed more.
        bounds = dict.fromkeys(bound_text(check["bound"]) for check in checks if check)
        lines.append(GateLine(quantity.replace("_", " "), " or ".join(bounds), checks))
    return lines
