"""What a benchmark leaves: documents, tables and pages, and the command's exit status."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from benchmarks.pages.bench_text import table
from benchmarks.pages.format import counted
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.documents import Bench, Row
from benchmarks.records.results import Results, read_document
from benchmarks.records.training_documents import AccuracyRow
from common.errors import printable
from common.machine.files import write_text

TABLE = "bench.txt"


def conclude(results: Results) -> None:
    """Compare what has been measured, write it, and check what was written.

    The page needs packages that a bare container does not have; there the table is a text file.
    """
    document, folder = results.document, results.folder
    compare_rows(document)
    results.save()
    write_text(folder / TABLE, table(document) + "\n")
    read_document(folder, Bench)
    if not has_pages():
        return
    from benchmarks.pages.bench import render_page
    from benchmarks.pages.html import write_png
    from benchmarks.pages.roofline import roofline
    from benchmarks.pages.studies.accuracy import accuracy_curves

    write_png(roofline(document), folder / "roofline.png")
    write_text(folder / "report.html", render_page(document, folder))
    if "accuracy" in document:
        write_png(accuracy_curves(document["accuracy"]), folder / "accuracy.png")


def has_pages() -> bool:
    """Return whether the package that writes pages is installed; a bare container lacks it."""
    return find_spec("jinja2") is not None


def status_of(documents: Sequence[Bench]) -> int:
    """Return the exit status of benchmarks; say why if none has a figure."""
    rows: list[Row | AccuracyRow] = [row for document in documents for row in document["rows"]]
    for document in documents:
        rows += document["accuracy"]["rows"] if "accuracy" in document else []
    statuses = {row["status"] for row in rows}
    failed = bool(statuses & {"failed", "invalid", "differs"})
    if statuses and not statuses & {"ok", "running"}:
        reasons = list(dict.fromkeys(str(row["reason"]) for row in rows))
        others = counted(len(reasons) - 1, "other reason")
        more = f" (and {others}, above)" if len(reasons) > 1 else ""
        print(printable(f"error: no row has a figure: {reasons[0]}{more}"), file=sys.stderr)
        return 1 if failed else 2
    return int(failed)
