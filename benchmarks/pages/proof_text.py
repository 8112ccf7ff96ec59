"""The proof of equal work as tables on a terminal."""

from __future__ import annotations

from typing import Any

from common.reference.tolerances import BOUNDS, PROOF

Row = dict[str, Any]


def text_of(result: dict[str, Any]) -> str:
    """Return the whole result: for each backbone its layers, gradients, summary and losses."""
    images = "generated images" if result["data"]["generated"] else "real images"
    height, width = result["crop"]
    lines = [
        f"{precision_of(result)}, batch {result['batch']}, {height}x{width}, {images}: relative "
        "errors against the float64 reference"
    ]
    for part in result["backbones"]:
        lines += ["", part["backbone"], ""]
        proven = [row for row in part["rows"] if "errors" in row]
        precision = result["precision"]
        for quantity in ("layer, evaluation", "layer, training", "gradient"):
            lines += [*_table(proven, quantity, precision), ""]
        lines += [*_summary(proven, precision), "", *_traces(part, proven), ""]
        lines += [_verdict(row) for row in part["rows"]]
    return "\n".join(lines)


def precision_of(result: dict[str, Any]) -> str:
    """Return the precision, and what was turned off: nothing could be before there was the key."""
    return ", without ".join([result["precision"], *result.get("without", [])])


def _table(rows: list[Row], quantity: str, precision: str) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row["errors"][quantity])
    body = [[name, *(_cell(row["errors"][quantity].get(name)) for row in rows)] for name in names]
    limit = BOUNDS[quantity][precision].limit
    return _aligned([[f"{quantity} (bound {limit:.0e})", *_heads(rows)], *body])


def _summary(rows: list[Row], precision: str) -> list[str]:
    """Return the largest error of each quantity, beside its bound and the bound's reason."""
    lines = [["largest", "bound", *_heads(rows)]]
    for quantity in PROOF:
        cells = []
        for row in rows:
            values = row["errors"].get(quantity, {}).values()
            cells.append(_cell(None if None in values else max(values, default=None)))
        lines.append([quantity, f"{BOUNDS[quantity][precision].limit:.0e}", *cells])
    return _aligned(lines)


def _traces(part: dict[str, Any], rows: list[Row]) -> list[str]:
    """Return the reference's loss at every step and how far each backend's is from it."""
    heads = ["step", "loss", *_heads(rows)]
    columns: list[list[float | None]] = [row["drift"] for row in rows]
    for row in rows:
        if row["drift_float64"]:
            heads.append(f"{row['backend']} float64")
            columns.append(row["drift_float64"])
    if part["yardstick"]:
        one, other = part["yardstick"]["threads"]
        heads.append(f"{part['yardstick']['backend']} {other} thr. - {one} thr.")
        columns.append(part["yardstick"]["drift"])
    lines = [[*heads[:2], "bound", *heads[2:]]]
    for step, (loss, limit) in enumerate(zip(part["losses"], part["limits"], strict=True)):
        cells = [_cell(limit), *(_cell(column[step]) for column in columns)]
        lines.append([str(step), f"{loss:.6f}", *cells])
    return _aligned(lines)


def _verdict(row: Row) -> str:
    if row["status"] != "ok":
        return f"{row['backend']}: {row['status']}: {row['reason']}"
    worst = row["worst"]
    share = worst["error"] / worst["limit"] if worst["limit"] else 0.0
    return (
        f"{row['backend']}: ok; nearest to its bound is {worst['quantity']} {worst['name']}, "
        f"at {share:.0%} of it"
    )


def _heads(rows: list[Row]) -> list[str]:
    return [row["backend"] for row in rows]


def _cell(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
