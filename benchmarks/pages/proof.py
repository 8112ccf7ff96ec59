"""The proof of equal work as a page, as a section of other pages, and as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from benchmarks.pages.facts import proof_facts
from benchmarks.pages.format import bound_text, error_text, number, text_table
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, can_draw, mute, render, svg
from benchmarks.records.run_documents import Proof, ProofPart, ProofRow
from common.backends import BACKENDS
from common.errors import InputError
from common.machine.files import write_text
from common.reference.tolerances import BOUNDS, PROOF, Bound

if TYPE_CHECKING:
    from markupsafe import Markup

FORMAT_VERSION = 1
LEAST = 1e-17
"""Drawn for a distance of zero, which a logarithmic axis cannot show."""


class Largest(NamedTuple):
    """The largest error of one quantity in each row, below a bound that has a reason."""

    quantity: str
    bound: float
    reason: str
    errors: list[float | None]


class Part(NamedTuple):
    """One backbone: its rows are those whose backends came to an answer."""

    document: ProofPart
    rows: list[ProofRow]
    largest: list[Largest]

    def names(self, quantity: str) -> list[str]:
        """Return the layers or parameters that a quantity has an error of."""
        return list(dict.fromkeys(name for row in self.rows for name in row["errors"][quantity]))


class View(NamedTuple):
    """What ``parity_section.html.j2`` shows; of each part the losses' distances as SVG."""

    document: Proof
    conditions: str
    verdict: str
    parts: list[Part]
    curves: list[Markup | None]
    bounds: Mapping[str, Mapping[str, Bound]] = BOUNDS


def write_page(proof: Proof, path: Path) -> Path:
    """Write the page that shows ``proof`` alone: one file, no network."""
    view = view_of(proof)
    write_text(path, render(proof, verdict=view.verdict, proof=view, facts=proof_facts(proof)))
    return path


def stored_proof(folder: Path) -> View | None:
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
    return view_of(cast(Proof, proof))


def view_of(proof: Proof) -> View:
    """Return what the section shows."""
    parts = parts_of(proof)
    return View(proof, conditions(proof), verdict(proof), parts, [drift_curves(p) for p in parts])


def parts_of(proof: Proof) -> list[Part]:
    """Return what page and text show of each backbone."""
    parts = []
    for document in proof["backbones"]:
        rows = [row for row in document["rows"] if "errors" in row]
        largest = []
        for quantity in PROOF:
            bound = BOUNDS[quantity][proof["precision"]]
            limit = max(document["limits"]) if quantity == "trace" else bound.limit
            errors = [largest_error(row, quantity) for row in rows]
            largest.append(Largest(quantity, limit, bound.reason, errors))
        parts.append(Part(document, rows, largest))
    return parts


def largest_error(row: ProofRow, quantity: str) -> float | None:
    """Return a row's largest error; None if there is none, or one is no finite number."""
    errors = row["errors"].get(quantity, {}).values()
    finite = [error for error in errors if error is not None]
    return max(finite, default=None) if len(finite) == len(errors) else None


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


def drift_curves(part: Part) -> Markup | None:
    """Return the losses' distance from the reference by step, as SVG; None without matplotlib."""
    if not can_draw():
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    document = part.document
    steps, yardstick = range(len(document["losses"])), document["yardstick"]

    def draw(values: Sequence[float | None], color: str, label: str, style: str) -> None:
        shown = [math.nan if v is None else max(v, LEAST) for v in values]
        axes.plot(steps, shown, style, color=color, label=label, markersize=3)

    for row in part.rows:
        color = COLORS[backend_color(row["backend"])]
        draw(row["drift"], color, row["title"], "-o")
        if row["drift_float64"]:
            draw(row["drift_float64"], color, f"{row['title']}, float64", ":")
    if yardstick:
        one, other = yardstick["threads"]
        label = f"{BACKENDS[yardstick['backend']]}, {other} against {one} threads"
        draw(yardstick["drift"], MUTED, label, "--")
    draw(document["limits"], MUTED, "bound", "-")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", xlabel="step", ylabel="relative distance")
    mute(axes)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=TEXT, fontsize=8)
    return svg(figure, document["backbone"])


def text_of(proof: Proof) -> str:
    """Return the proof as text: each backbone's layers, gradients, largest errors and losses."""
    text = [f"{conditions(proof)}: relative errors against the float64 reference"]
    for part in parts_of(proof):
        heads = [row["backend"] for row in part.rows]
        text += ["", part.document["backbone"], ""]
        for quantity in ("layer, evaluation", "layer, training", "gradient"):
            bound = bound_text(BOUNDS[quantity][proof["precision"]].limit)
            table = [[f"{quantity} (bound {bound})", *heads]]
            for name in part.names(quantity):
                errors = [row["errors"][quantity].get(name) for row in part.rows]
                table.append([name, *map(error_text, errors)])
            text += [text_table(table), ""]
        table = [["largest", "bound", *heads]]
        for quantity, limit, _, errors in part.largest:
            table.append([quantity, bound_text(limit), *map(error_text, errors)])
        text += [text_table(table), "", losses_text(part), ""]
        text += [outcome(row) for row in part.document["rows"]]
    return "\n".join(text)


def losses_text(part: Part) -> str:
    """Return the reference's loss at every step, and how far each backend's is from it."""
    document, columns = part.document, {row["backend"]: row["drift"] for row in part.rows}
    for row in part.rows:
        if row["drift_float64"]:
            columns[f"{row['backend']} float64"] = row["drift_float64"]
    if yardstick := document["yardstick"]:
        one, other = yardstick["threads"]
        name = f"{yardstick['backend']} {other} against {one} threads"
        columns[name] = [*yardstick["drift"]]
    table = [["step", "loss", "bound", *columns]]
    for step, loss in enumerate(document["losses"]):
        errors = [document["limits"][step], *(column[step] for column in columns.values())]
        table.append([str(step), number(loss, 6), *map(error_text, errors)])
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
