"""A benchmark's results as one page that needs no other file and no network."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.pages import accuracy as trainings
from benchmarks.pages import proof as parity
from benchmarks.pages import roofline
from benchmarks.pages import rows as words
from benchmarks.pages.facts import bench_facts, computed_on, machine_names
from benchmarks.pages.html import render
from benchmarks.records.check import problems
from benchmarks.records.documents import Bench, Row
from benchmarks.records.equivalence import TARGET_ABOVE_BACKGROUND
from benchmarks.records.training_documents import Accuracy
from common.machine.files import write_text


def write_page(document: Bench, path: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write the page of one benchmark, and of others beside it; no ratio crosses two of them.

    A proof that `fcn parity` left in the folder of the page is a section of it.

    Raises:
        InputError: If what lies there is no proof of this version.
    """
    documents = [document, *beside]
    machines = list(zip(machine_names(documents), documents, strict=True))
    shown = groups(documents)
    html = render(
        document,
        verdict=verdict(document),
        verdict_of=verdict,
        computed_on=computed_on(document),
        machines=machines,
        problems=[(name, line) for name, each in machines for line in problems(each)],
        groups=shown,
        charts=[words.chart(rows) for _, _, rows in shown],
        words=words,
        cases=CASES,
        parity=parity,
        proof=parity.stored_proof(path.parent),
        roofline=roofline,
        trainings=trainings,
        target=TARGET_ABOVE_BACKGROUND,
        gallery=trainings.accuracy_gallery(document, path.parent),
        facts_of=bench_facts,
    )
    write_text(path, html)
    return path


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
        blind = sum(words.finding(entry).startswith("too few") for entry in comparisons)
        parts.append(
            f"{differ} of {len(comparisons)} paired tests find a difference"
            + (f", {blind} have too few pairs to tell" if blind else "")
        )
    if "accuracy" in document:
        parts.append(trained(document["accuracy"]))
    return "; ".join(parts) + "."


def trained(accuracy: Accuracy) -> str:
    """Return who finished the trainings, and how many tests of equivalence say so."""
    names = [row["title"] for row in trainings.finished_rows(accuracy)]
    tests = accuracy["equivalence"]
    shown = sum(test["equivalent"] for test in tests)
    return (
        f"{', '.join(names) or 'no backend'} trained from {accuracy['seeds']} seeds each, "
        f"and {shown} of {len(tests)} tests show their scores equivalent"
    )


def groups(documents: Sequence[Bench]) -> list[tuple[str, Bench, list[Row]]]:
    """Return (machine, document, rows) of every table that was reached.

    Tables of one case, batch and precision stand in a row.
    """
    reached = [
        (name, document, rows)
        for name, document in zip(machine_names(documents), documents, strict=True)
        for rows in words.tables(document["rows"])
        if words.was_reached(rows)
    ]
    titles = list(dict.fromkeys(words.row_title(rows[0]) for _, _, rows in reached))
    return sorted(reached, key=lambda group: titles.index(words.row_title(group[2][0])))
