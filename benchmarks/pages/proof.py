"""The proof of equal work as a page, as a section of other pages, and as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from benchmarks.pages.facts import proof_facts
from benchmarks.pages.format import bound_text, error_text, text_table
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, can_draw, mute, render, svg
from benchmarks.records.run_documents import Proof, ProofPart, ProofRow
from common.backends import BACKENDS
from common.errors import InputError
from common.machine.files import write_text
from common.reference.tolerances import BOUNDS, PROOF

if TYPE_CHECKING:
    from markupsafe import Markup

FORMAT_VERSION = 1
SHADES = (1e-3, 1e-2, 1e-1, 1)
"""Shares of a bound at which the heat map's shade changes; beyond the last it is broken."""
LEAST = 1e-17
"""Drawn for a distance of zero, which a logarithmic axis cannot show."""
BY_LAYER = ("layer, evaluation", "layer, training")


class Cell(NamedTuple):
    """An error's text, and how many of ``SHADES`` its share of the bound passes."""

    text: str
    shade: int


class Line(NamedTuple):
    """The errors of one layer or parameter, a cell a backend; twice so many for two quantities."""

    name: str
    cells: list[Cell]


class Largest(NamedTuple):
    """The largest errors of one quantity, a cell a backend, below a bound that has a reason."""

    quantity: str
    bound: str
    reason: str
    cells: list[Cell]


class Loss(NamedTuple):
    """The reference's loss at one step, and each backend's distance from it."""

    step: int
    loss: str
    bound: str
    distances: list[str]


@dataclass(frozen=True)
class PartView:
    """What the section shows of one backbone; ``notes`` are (backend, status, reason)."""

    backbone: str
    titles: list[str]
    notes: list[tuple[str, str, str | None]]
    summary: list[Largest]
    layers: list[Line]
    gradients: list[Line]
    losses: list[Loss]
    curves: Markup | None


@dataclass(frozen=True)
class ProofView:
    """What ``proof_section.html.j2`` shows."""

    conditions: str
    sentence: str
    parts: list[PartView]


def write_page(proof: Proof, path: Path) -> Path:
    """Write the page that shows ``proof`` alone: one file, no network."""
    sections = [("parity", "Errors"), ("manifest", "Manifest")]
    view, facts = proof_view(proof), proof_facts(proof)
    html = render(
        proof, view.sentence, sections, script=False, proof=view, heading="Errors", facts=facts
    )
    write_text(path, html)
    return path


def stored_proof(folder: Path) -> ProofView | None:
    """Return the section for another page; None where no proof lies beside its results.

    Raises:
        InputError: If ``parity/parity.json`` in ``folder`` is not a proof of this version.
    """
    source = folder / "parity" / "parity.json"
    if not source.is_file():
        return None
    try:
        proof = json.loads(source.read_text(encoding="utf-8"))
        is_known = proof["kind"] == "parity" and proof["version"] == FORMAT_VERSION
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source}: is not a proof's result ({error})") from error
    if not is_known:
        raise InputError(f"{source}: is not a proof of version {FORMAT_VERSION}")
    return proof_view(cast(Proof, proof))


def proof_view(proof: Proof) -> ProofView:
    """Return what the section shows: a sentence, and each backbone's tables and curves."""
    parts = [part_view(part, proof["precision"]) for part in proof["backbones"]]
    return ProofView(conditions(proof), verdict(proof), parts)


def conditions(proof: Proof) -> str:
    """Return what the errors were measured with, in words."""
    precision = ", without ".join([proof["precision"], *proof.get("without", [])])
    height, width = proof["crop"]
    images = "generated images" if proof["data"]["generated"] else "photographs"
    return f"{precision}, batch {proof['batch']}, {height}×{width}, {images}"


def verdict(proof: Proof) -> str:
    """Return the outcome in one sentence."""
    rows = [row for part in proof["backbones"] for row in part["rows"]]
    bad = [row for row in rows if row["status"] != "ok"]
    if not bad:
        titles = dict.fromkeys(row["title"] for row in rows)
        return f"{', '.join(titles)}: every error is within its bound."
    more = f" ({len(bad) - 1} more below)" if len(bad) > 1 else ""
    return f"{bad[0]['title']} {bad[0]['status']}: {bad[0]['reason']}{more}."


def part_view(part: ProofPart, precision: str) -> PartView:
    """Return the tables and curves of one backbone."""
    rows = proved_rows(part)
    return PartView(
        backbone=part["backbone"],
        titles=[row["title"] for row in rows],
        notes=[
            (row["title"], row["status"], row["reason"])
            for row in part["rows"]
            if row["status"] != "ok"
        ],
        summary=summary(rows, part["limits"], precision),
        layers=lines(rows, BY_LAYER, precision),
        gradients=lines(rows, ("gradient",), precision),
        losses=[
            Loss(
                step, f"{loss:.6f}", bound_text(bound), [error_text(r["drift"][step]) for r in rows]
            )
            for step, (loss, bound) in enumerate(zip(part["losses"], part["limits"], strict=True))
        ],
        curves=drift_curves(part, rows),
    )


def proved_rows(part: ProofPart) -> list[ProofRow]:
    """Return the rows whose backends came to an answer."""
    return [row for row in part["rows"] if "errors" in row]


def summary(rows: Sequence[ProofRow], limits: Sequence[float], precision: str) -> list[Largest]:
    """Return the largest error of each quantity."""
    largest = []
    for quantity in PROOF:
        bound = BOUNDS[quantity][precision]
        limit = max(limits) if quantity == "trace" else bound.limit
        cells = [cell(largest_error(row["errors"].get(quantity, {})), limit) for row in rows]
        largest.append(Largest(quantity, bound_text(limit), bound.reason, cells))
    return largest


def largest_error(errors: Mapping[str, float | None]) -> float | None:
    """Return the largest of some errors; None if there is none, or one is no finite number."""
    finite = [error for error in errors.values() if error is not None]
    return max(finite, default=None) if len(finite) == len(errors) else None


def lines(rows: Sequence[ProofRow], quantities: Sequence[str], precision: str) -> list[Line]:
    """Return the errors of each layer or parameter: a cell for every quantity and backend."""
    names = dict.fromkeys(name for row in rows for name in row["errors"][quantities[0]])
    return [
        Line(
            name,
            [
                cell(row["errors"][quantity].get(name), BOUNDS[quantity][precision].limit)
                for quantity in quantities
                for row in rows
            ],
        )
        for name in names
    ]


def cell(error: float | None, limit: float) -> Cell:
    """Return an error as a cell of a heat map."""
    if error is None:
        return Cell(error_text(error), len(SHADES))
    share = error / limit if limit else float(error > 0) * 2
    return Cell(error_text(error), sum(share > shade for shade in SHADES))


def drift_curves(part: ProofPart, rows: Sequence[ProofRow]) -> Markup | None:
    """Return the losses' distance from the reference by step, as SVG; None without matplotlib."""
    if not can_draw():
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    steps = range(len(part["losses"]))

    def draw(values: Sequence[float | None], color: str, label: str, style: str) -> None:
        shown = [math.nan if v is None else max(v, LEAST) for v in values]
        axes.plot(steps, shown, style, color=color, label=label, markersize=3)

    for row in rows:
        color = COLORS[backend_color(row["backend"])]
        draw(row["drift"], color, row["title"], "-o")
        if row["drift_float64"]:
            draw(row["drift_float64"], color, f"{row['title']}, float64", ":")
    if part["yardstick"]:
        one, other = part["yardstick"]["threads"]
        label = f"{BACKENDS[part['yardstick']['backend']]}, {other} against {one} threads"
        draw(part["yardstick"]["drift"], MUTED, label, "--")
    draw(part["limits"], MUTED, "bound", "-")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", xlabel="step", ylabel="relative distance")
    mute(axes)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=TEXT, fontsize=8)
    return svg(figure, part["backbone"])


def text_of(proof: Proof) -> str:
    """Return the proof as text: each backbone's layers, gradients, largest errors and losses."""
    text = [f"{conditions(proof)}: relative errors against the float64 reference"]
    precision = proof["precision"]
    for part in proof["backbones"]:
        rows = proved_rows(part)
        heads = [row["backend"] for row in rows]
        text += ["", part["backbone"], ""]
        for quantity in (*BY_LAYER, "gradient"):
            bound = bound_text(BOUNDS[quantity][precision].limit)
            head = [f"{quantity} (bound {bound})", *heads]
            text += [error_table(head, lines(rows, (quantity,), precision)), ""]
        largest = summary(rows, part["limits"], precision)
        table = [(line.quantity, line.bound, *(c.text for c in line.cells)) for line in largest]
        text += [
            text_table([("largest", "bound", *heads), *table]),
            "",
            losses_text(part, rows),
            "",
        ]
        text += [outcome(row) for row in part["rows"]]
    return "\n".join(text)


def error_table(head: Sequence[str], lines: Sequence[Line]) -> str:
    """Return errors by layer or parameter as a table of text."""
    return text_table([head, *((line.name, *(c.text for c in line.cells)) for line in lines)])


def losses_text(part: ProofPart, rows: Sequence[ProofRow]) -> str:
    """Return the reference's loss at every step, and how far each backend's is from it."""
    columns = {row["backend"]: row["drift"] for row in rows}
    columns |= {
        f"{row['backend']} float64": row["drift_float64"] for row in rows if row["drift_float64"]
    }
    if part["yardstick"]:
        one, other = part["yardstick"]["threads"]
        name = f"{part['yardstick']['backend']} {other} against {one} threads"
        columns[name] = [*part["yardstick"]["drift"]]
    table = [["step", "loss", "bound", *columns]]
    for step, (loss, bound) in enumerate(zip(part["losses"], part["limits"], strict=True)):
        distances = [error_text(column[step]) for column in columns.values()]
        table.append([str(step), f"{loss:.6f}", bound_text(bound), *distances])
    return text_table(table)


def outcome(row: ProofRow) -> str:
    """Return what the proof says of one backend."""
    if row["status"] != "ok":
        return f"{row['backend']}: {row['status']}: {row['reason']}"
    worst = row["worst"]
    share = (worst["error"] or 0.0) / worst["limit"] if worst["limit"] else 0.0
    return (
        f"{row['backend']}: ok; nearest to its bound is {worst['quantity']} {worst['name']}, "
        f"at {share:.0%} of it"
    )
