"""Benchmarks from before a row had several processes: today's figures from their samples."""

from benchmarks.records.comparisons import compare_rows
from benchmarks.records.documents import Bench
from benchmarks.records.figures import summarize
from benchmarks.records.statistics import LEVEL, PAIRED_TEST


def is_early(document: Bench) -> bool:
    """Return whether a benchmark had one process a row, but for cases that start processes."""
    return "processes" not in document["settings"]


def bring_up_to_date(document: Bench) -> None:
    """Replace an early file's figures and tests by those that its samples give today.

    Its tests were over the turns of one process, and called a backend different from itself far too
    often. A file whose samples give no figures stays as it is, for `fcn bench check` to say so.
    """
    rows = [row.copy() for row in document["rows"]]
    computed: Bench = {**document, "rows": rows}
    try:
        for row in rows:
            if row["status"] == "ok":
                summarize(computed, row)
        compare_rows(computed)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return
    document["rows"], document["comparisons"] = rows, computed["comparisons"]
    document["test"] = {"name": PAIRED_TEST, "level": LEVEL}
