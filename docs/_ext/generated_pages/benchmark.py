"""The page of one stored benchmark: its tables as Markdown, so that the site's search has them."""

import re
import shlex
from collections.abc import Iterator, Sequence

from benchmarks.pages import rows as words
from benchmarks.pages.bench import verdict
from benchmarks.pages.bench_text import cells_and_notes, comparison_line, conditions, few_processes
from benchmarks.pages.facts import bench_facts, computed_on
from benchmarks.pages.format import counted
from benchmarks.pages.html import svg
from benchmarks.pages.roofline import roofline
from benchmarks.pages.studies.accuracy import HEADS, accuracy_title, score_rows
from benchmarks.records.documents import Bench, Row
from benchmarks.records.training_documents import Accuracy
from benchmarks.timing.settings import bench_parser
from common.options import as_typed
from common.recipes import RECIPES

from .markdown import facts_table, fenced, prose, table

FEW = 2
"""Tables of a page that need no list above them."""
FIGURE = '<div class="report-figure" tabindex="0" role="region" aria-label="Roofline">'
ROOFLINE = """\
Each row's arithmetic rate over its arithmetic intensity, below what the machine reaches: a matrix \
product is the flat line, a copy the slope."""


def summary(document: Bench) -> dict[str, str]:
    """Return what a table of all results says of a benchmark, by column."""
    settings = document["settings"]
    batches, sizes = settings["batch_sizes"], [tuple(row["crop"]) for row in document["rows"]]
    if not sizes:  # Trainings have no rows, and a recipe of their own.
        recipe = document["accuracy"]["config"]["recipe"]
        batches, sizes = [recipe["batch_size"]], [tuple(recipe["crop"])]
    images = ", ".join(f"{height}×{width}" for height, width in dict.fromkeys(sizes))
    numbers, precisions = ", ".join(map(str, batches)), ", ".join(settings["precisions"])
    return {
        "measured": ", ".join(settings["cases"]),
        "tracks": ", ".join(settings["tracks"]),
        "at": f"batch {numbers}, {images}, {precisions}",
    }


def machine(document: Bench) -> str:
    """Return the machine in a few words."""
    return f"{computed_on(document)}, {counted(document['hardware']['cpus'], 'CPU')}"


def packages(document: Bench) -> dict[str, str]:
    """Return the versions of the backends' packages."""
    processes = [process for row in document["rows"] for process in row["processes"]]
    records = [process["backend"]["versions"] for process in processes]
    if "accuracy" in document:
        records += [run["versions"] for row in document["accuracy"]["rows"] for run in row["runs"]]
    return {name: version for record in records for name, version in record.items()}


def command(document: Bench) -> str:
    """Return the command whose settings a benchmark has: the options that differ from defaults."""
    settings = document["settings"]
    recipe = RECIPES.get(settings["recipe"])
    line = ["fcn", "bench"]
    for action in bench_parser()._actions:
        value = settings.get(action.dest)
        default = list(action.default) if isinstance(action.default, tuple) else action.default
        # The recipe's own network is said by the recipe.
        if not value or value in (default, getattr(recipe, action.dest, None)):
            continue
        line.append(action.option_strings[0])
        if value is not True:
            typed = as_typed(action, value)
            line += typed.split(" ") if action.nargs else [typed]
    return shlex.join(line)


def blocks(document: Bench) -> Iterator[str]:
    """Yield the parts of the page that only a benchmark has."""
    yield f"{prose(verdict(document))}"
    if few := few_processes(document):
        yield fenced(f"{prose(few[0].upper() + few[1:])}.", "{note}")
    tables = list(filter(words.was_reached, words.tables(document["rows"])))
    titles = dict.fromkeys(words.row_title(rows[0]) for rows in tables)
    if len(titles) > FEW:
        yield "\n".join(f"- [{prose(title)}](#{slug(title)})" for title in titles)
    for rows in tables:
        yield from table_section(rows, document)
    if missing := words.not_reached(document):
        yield f"## Not measured when the benchmark ended\n\n{bullets(missing)}"
    if "accuracy" in document:
        yield from accuracy_section(document["accuracy"])
    if figure := svg(roofline(document), document["created"]):
        yield "## Roofline"
        yield ROOFLINE
        yield fenced(
            f"{FIGURE}{figure}</div>",
            "{raw} html",
        )
    facts = facts_table(bench_facts(document))
    yield "## What the figures rest on"
    yield fenced(facts, "{dropdown} Settings, machine, versions")


def slug(title: str) -> str:
    """Return the address that MyST gives a heading; the build fails where it gives another."""
    return re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))


def table_section(rows: Sequence[Row], document: Bench) -> Iterator[str]:
    """Yield one table, its paired tests and the notes on its rows."""
    cells, notes = cells_and_notes(rows)
    yield f"## {prose(words.row_title(rows[0]))}"
    yield f"{prose(conditions(rows[0]))}."
    yield table([[prose(cell) for cell in line] for line in cells], range(2, len(cells[0])))
    tests = list(map(comparison_line, words.paired_tests(rows, document)))
    if lines := [*tests, *notes]:
        title = "Paired tests and notes" if tests else "Notes"
        yield fenced(bullets(lines), f"{{dropdown}} {title}")


def accuracy_section(accuracy: Accuracy) -> Iterator[str]:
    """Yield the scores of the trainings."""
    yield "## Accuracy"
    yield f"{prose(accuracy_title(accuracy))}."
    yield table([list(HEADS), *score_rows(accuracy)], range(1, len(HEADS)))


def bullets(lines: Sequence[str]) -> str:
    """Return lines as a list."""
    return "\n".join(f"- {prose(line)}" for line in lines)
