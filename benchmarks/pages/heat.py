"""How far each timed row was from the float64 reference: what its gate has proved, as a table."""

from __future__ import annotations

from typing import Any

from benchmarks.pages.bench_text import row_title
from benchmarks.pages.proof import cell

Row = dict[str, Any]


def gate_table(tables: list[list[Row]]) -> dict[str, Any]:
    """Return a column for each backend and track, and lines of cells below each table's title.

    Args:
        tables: Rows of one machine, those of a table together. Rows that came to no gate are blank.
    """
    proved = [[row for row in rows if row["gate"]] for rows in tables]
    names = dict.fromkeys((row["title"], row["track"]) for rows in proved for row in rows)
    # By track, as the tables are, whatever the first of them has.
    tracks = list(dict.fromkeys(track for _, track in names))
    heads = sorted(names, key=lambda name: tracks.index(name[1]))
    return {
        "heads": heads,
        "parts": [(row_title(rows[0]), lines(rows, heads)) for rows in proved if rows],
    }


def lines(rows: list[Row], heads: list[tuple[str, str]]) -> list[tuple[str, str, list[Any]]]:
    """Return (quantity, bound, a cell for each head) of one table."""
    by_head = {(row["title"], row["track"]): row["gate"]["checks"] for row in rows}
    found = []
    for quantity in dict.fromkeys(name for checks in by_head.values() for name in checks):
        checks = [by_head.get(head, {}).get(quantity) for head in heads]
        bounds = {
            bound_text(check["bound"]): None for check in checks if check is not None
        }  # A track's own code may be allowed more.
        cells = [cell(check["error"], check["bound"]) if check else ("", 0) for check in checks]
        found.append((quantity.replace("_", " "), " or ".join(bounds), cells))
    return found


def bound_text(bound: float) -> str:
    """Return a bound as a reader writes it; bytes have none."""
    return f"{bound:.0e}" if bound else "equal"
