"""A benchmark's results as one page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.cases import CASES
from benchmarks.pages.accuracy import AccuracyView, accuracy_gallery, accuracy_view
from benchmarks.pages.facts import Block, bench_facts, computed_on, machine_names
from benchmarks.pages.format import bound_text, moment
from benchmarks.pages.html import download, render, svg
from benchmarks.pages.proof import Cell, cell, stored_proof
from benchmarks.pages.roofline import point_rows, roofline
from benchmarks.pages.rows import (
    NOT_REACHED,
    Chart,
    Measure,
    Pair,
    RowView,
    chart,
    finding,
    is_unfinished,
    measure_of,
    pair,
    round_rows,
    row_title,
    row_view,
    tables,
    values_of,
    was_reached,
)
from benchmarks.records.check import problems
from benchmarks.records.documents import BackendRates, Bench, Check, Limit, Row
from benchmarks.records.equivalence import TARGET_ABOVE_BACKGROUND
from benchmarks.records.training_documents import Accuracy
from common.backends import BACKENDS
from common.machine.files import write_text

if TYPE_CHECKING:
    from markupsafe import Markup


class GateLine(NamedTuple):
    """The errors of one quantity in one table, a cell a backend and track."""

    quantity: str
    bound: str
    cells: list[Cell]


class GateTable(NamedTuple):
    """How far each timed row was from the float64 reference: (title, lines) by table."""

    heads: list[tuple[str, str]]
    parts: list[tuple[str, list[GateLine]]]


class LimitView(NamedTuple):
    """The machine's limits in one precision; of each backend (name, title, rates)."""

    precision: str
    highest: list[str]
    by_backend: list[tuple[str, str, list[str]]]


@dataclass(frozen=True)
class MachineView:
    """What the page shows of one results file, its tables of rates apart."""

    name: str
    created: str
    verdict: str
    problems: list[str]
    not_reached: list[str]
    gates: GateTable
    limits: list[LimitView]
    roofline: Markup | None
    points: list[list[str]]
    accuracy: AccuracyView | None
    facts: list[Block]
    download: str


@dataclass(frozen=True)
class Group:
    """One table of rates: its rows, their paired tests and their samples by round.

    ``attributes`` are what the page can be narrowed to.
    """

    title: str
    machine: str
    conditions: str
    attributes: dict[str, str]
    measure: Measure
    rows: list[RowView]
    test: str
    pairs: list[Pair]
    chart: Chart
    numbers: list[list[str]]


def write_page(document: Bench, path: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write the page of one benchmark, and of others beside it; no ratio crosses two of them.

    A proof that `fcn parity` left in the folder of the page is a section of it.

    Raises:
        InputError: If what lies there is no proof of this version.
    """
    documents = [document, *beside]
    names = machine_names(documents)
    machines = [machine_view(each, name) for each, name in zip(documents, names, strict=True)]
    tables, values = groups(documents), choices(documents)
    accuracy, proof = document.get("accuracy"), stored_proof(path.parent)
    gallery = accuracy_gallery(accuracy, path.parent) if accuracy else None
    is_shown = {
        ("rates", "Rates"): tables,
        ("gates", "Parity"): any(machine.gates.parts for machine in machines),
        ("parity", "The whole proof"): proof,
        ("limits", "Limits"): any(machine.limits for machine in machines),
        ("accuracy", "Accuracy"): any(machine.accuracy for machine in machines),
        ("gallery", "Gallery"): gallery,
        ("manifest", "Manifest"): True,
    }
    html = render(
        document,
        verdict(document),
        [section for section, shown in is_shown.items() if shown],
        computed_on=computed_on(document),
        machines=machines,
        groups=tables,
        choices=values,
        sentences={name: CASES[name].sentence for name in values.get("case", []) if name in CASES},
        not_reached=NOT_REACHED.capitalize(),
        unfinished=is_unfinished(document["rows"]),
        target=TARGET_ABOVE_BACKGROUND,
        proof=proof,
        heading="The whole proof",
        gallery=gallery,
        charts=[group.chart for group in tables],
    )
    write_text(path, html)
    return path


def machine_view(document: Bench, name: str) -> MachineView:
    """Return what the page shows of one results file."""
    picture, accuracy = roofline(document), document.get("accuracy")
    by_table = tables(document["rows"])
    return MachineView(
        name=name,
        created=moment(document["created"]),
        verdict=verdict(document),
        problems=problems(document),
        not_reached=[row_title(rows[0]) for rows in by_table if not was_reached(rows)],
        gates=gate_table(by_table),
        limits=limit_views(document["limits"]),
        roofline=svg(picture, document["created"]) if picture else None,
        points=point_rows(document),
        accuracy=accuracy_view(accuracy, document["created"]) if accuracy else None,
        facts=bench_facts(document),
        download=download(document),
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


def choices(documents: Sequence[Bench]) -> dict[str, list[str]]:
    """Return what the page can be narrowed to: the values of each key, in the rows' order."""
    values: dict[str, dict[str, None]] = {"machine": dict.fromkeys(machine_names(documents))}
    for row in (row for each in documents for row in each["rows"]):
        for name, value in (*attributes(row).items(), ("track", row["track"])):
            values.setdefault(name, {})[value] = None
    return {name: list(of_name) for name, of_name in values.items()}


def attributes(row: Row) -> dict[str, str]:
    """Return what tells the tables of one machine apart."""
    return {
        "case": row["case"],
        "batch_size": str(row["batch_size"]),
        "precision": row["precision"],
    }


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
    first, test = rows[0], document["test"]
    height, width = first["crop"]
    keys = {row["key"]: row for row in rows}
    top = 1.02 * max((value for row in rows for value in values_of(row)), default=1.0)
    lines = chart(rows)
    return Group(
        title=row_title(first),
        machine=machine,
        conditions=f"{first['backbone']}, recipe {first['recipe']}, {height}×{width}, "
        f"device {first['device']}",
        attributes={"machine": machine, **attributes(first)},
        measure=measure_of(first),
        rows=[row_view(row, top) for row in rows],
        test=f"{test['name']}, level {test['level']}",
        pairs=[
            pair(entry, keys)
            for entry in document["comparisons"]
            if entry["a"] in keys and entry["b"] in keys
        ],
        chart=lines,
        numbers=round_rows(lines),
    )


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
        cells = [cell(check["error"], check["bound"]) if check else Cell("", 0) for check in checks]
        lines.append(GateLine(quantity.replace("_", " "), " or ".join(bounds), cells))
    return lines


def limit_views(limits: Mapping[str, Limit | None]) -> list[LimitView]:
    """Return the machine's limits in each precision, and what each backend reached of its own."""
    return [
        LimitView(
            precision,
            rates_of(limit),
            [
                (name := entry["backend"], BACKENDS.get(name, name), rates_of(entry))
                for entry in limit["by_backend"]
            ],
        )
        for precision, limit in limits.items()
        if limit
    ]


def rates_of(limit: Limit | BackendRates) -> list[str]:
    """Return the arithmetic rate and the copy rate as text, or why there are none."""
    if "flops_per_second" not in limit:
        return [limit.get("reason", "not measured")]
    return [
        f"{limit['flops_per_second'] / 1e9:,.0f} GFLOP/s",
        f"{limit['bytes_per_second'] / 1e9:,.1f} GB/s",
    ]
