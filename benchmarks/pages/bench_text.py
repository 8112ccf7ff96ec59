"""A benchmark's results as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.records.statistics import LEVEL


def case_name(row: dict[str, Any]) -> str:
    """Return a row's case, and its variant where there are several."""
    return f"{row['case']} ({row['variant']})" if row["variant"] else str(row["case"])


def was_reached(rows: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a benchmark has come to the rows of a table before it ended."""
    return any(row["status"] != "running" for row in rows)


def is_unfinished(document: dict[str, Any]) -> bool:
    """Tell whether a benchmark has ended before all rows were measured."""
    return any(row["status"] == "running" for row in document["rows"])


def batch_name(row: dict[str, Any]) -> str:
    """Return a row's batch size in words."""
    return f"batch {row['batch_size']}"


def row_title(row: dict[str, Any]) -> str:
    """Return what the rows of one table share, and another table's do not."""
    return f"{case_name(row)}, {batch_name(row)}, {row['precision']}"


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text, each column as wide as its widest cell."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


LEAST_ROUNDS = 5
"""Fewer are a look, and no table to publish."""
NOT_REACHED = "not measured when the benchmark ended"
HEADS = (
    "backend",
    "track",
    "examples/s [95 %]",
    "ms/step",
    "itself",
    "first step",
    "compiling",
    "pays after",
    "memory",
    "of limit",
)


def table(document: dict[str, Any]) -> str:
    """Return the whole table: a block for each case, batch and precision."""
    machine = document["hardware"]
    settings = document["settings"]
    lines = [
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; "
        f"{settings['recipe']}, {settings['rounds']} rounds, seed {settings['seed']}"
    ]
    for precision, limit in document["limits"].items():
        if limit:
            lines.append(
                f"limits in {precision}: {limit['flops_per_second'] / 1e9:.0f} GFLOP/s, "
                f"{limit['bytes_per_second'] / 1e9:.1f} GB/s"
            )
    blocks: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in document["rows"]:
        place = (row["case"], row["variant"], row["batch_size"], row["precision"])
        blocks.setdefault(place, []).append(row)
    for rows in filter(was_reached, blocks.values()):
        lines += ["", *block(rows, document["comparisons"])]
    if left := [row_title(rows[0]) for rows in blocks.values() if not was_reached(rows)]:
        lines += ["", f"{NOT_REACHED}:", *(f"  {title}" for title in left)]
    if is_unfinished(document):
        lines += ["", "`fcn bench --resume DIR` goes on"]
    if "accuracy" in document:
        from benchmarks.pages.accuracy import accuracy_lines

        lines += ["", *accuracy_lines(document["accuracy"])]
    return "\n".join(lines)


def block(rows: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one case."""
    first = rows[0]
    lines = [
        f"{case_name(first)}, {first['backbone']}, {batch_name(first)}, "
        f"{first['crop'][0]}x{first['crop'][1]}, {first['precision']}"
    ]
    cells: list[Sequence[str]] = [HEADS]
    notes = []
    for row in rows:
        figures = row["figures"]
        name = f"{row['backend']} {row['track']}"
        if figures is None:
            status = "not measured" if row["status"] == "running" else row["status"]
            cells.append((row["backend"], row["track"], status, *[""] * (len(HEADS) - 3)))
            notes.append(f"  {name}: {reason_of(row)}")
            continue
        cells.append(row_cells(row, figures))
        if "pixels_per_second" in figures:
            notes.append(f"  {name}: {pixel_rate(figures)}")
        notes += [f"  {name}: {warning}" for warning in row["warnings"]]
    lines.append(columns(cells))
    keys = {row["key"] for row in rows}
    for entry in comparisons:
        if entry["a"] in keys:
            lines.append(comparison_line(entry))
    return lines + notes


def few_rounds(document: dict[str, Any]) -> str | None:
    """Return that a document has too few rounds to be published, or None."""
    rounds = document["settings"]["rounds"]
    if rounds >= LEAST_ROUNDS:
        return None
    return f"{rounds} rounds: a table to be published has {LEAST_ROUNDS} at least"


def pixel_rate(figures: dict[str, Any]) -> str:
    """Return how many pixels are given a label in a second, in words."""
    return f"{figures['pixels_per_second'] / 1e6:.3g} million pixels/s"


def reason_of(row: dict[str, Any]) -> str | None:
    """Return why a row has no figures."""
    return NOT_REACHED if row["status"] == "running" else row["reason"]


def row_cells(row: dict[str, Any], figures: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a measured row."""
    rate, step = figures["examples_per_second"], figures["step_seconds"]
    itself, even, limit = figures["self_ratio"], figures["break_even"], figures["limit"]
    paid = "-"
    if even is not None:
        paid = "never" if even["steps"] is None else f"{even['steps']} steps"
    shown = f"{rate['median']:.3g} [{rate['low']:.3g}, {rate['high']:.3g}]"
    if row["case"] == "first_step":
        shown = f"done after {step['median']:.1f} s [{step['low']:.1f}, {step['high']:.1f}]"
        step = {"median": figures["steady_seconds"]}
    memory = figures["host_memory_peak_bytes"] / 2**30
    device = figures["device_memory_peak_bytes"]
    return (
        row["backend"],
        row["track"],
        shown,
        f"{step['median'] * 1000:.4g}",
        f"{itself['low']:.2f}-{itself['high']:.2f}" if itself else "-",
        f"{figures['first_step_seconds']:.2f} s",
        f"{figures['compile_seconds']:.2f} s",
        paid,
        f"{memory:.2f} GiB" + (f" + {device / 2**30:.2f}" if device else ""),
        f"{limit['fraction']:.0%} {limit['bound']}" if limit else "-",
    )


def comparison_line(entry: dict[str, Any]) -> str:
    """Return one comparison as a sentence about times."""
    left, right = (" ".join(entry[side].split("/")[1:3]) for side in "ab")
    return (
        f"  {right} takes {entry['ratio']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}] "
        f"of {left}'s time: {finding(entry)} (p {entry['p_corrected']:.3g})"
    )


def finding(entry: dict[str, Any], shown: str = "differ", none: str = "no difference shown") -> str:
    """Return what a test found, in words; one that could find nothing shows nothing."""
    if entry["differ"]:
        return shown
    if entry.get("least_p", 0.0) < LEVEL:
        return none
    return f"too few {'pairs' if 'pairs' in entry else 'samples'} to tell"
