"""The proof of equal work as a page, as a section of other pages, and as text."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pages.facts import proof_facts
from benchmarks.pages.format import (
    bound_text,
    counted,
    crop_text,
    error_text,
    number,
    small_percent,
    text_table,
)
from benchmarks.pages.html import COLORS, MUTED, TEXT, backend_color, mute, new_figure, render
from benchmarks.records.proof_documents import Proof, ProofPart, ProofRow, Yardstick
from benchmarks.records.results import read_document
from common.backends import BACKENDS
from common.machine.files import write_text
from common.reference.inputs import PROBE
from common.reference.tolerances import BOUNDS, PROOF
from common.run.plots import whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 5
"""Quantities of a summary; those that break their bounds are more."""
LEAST = 1e-17
"""Drawn for a distance of zero, which a logarithmic axis cannot show."""


def write_page(proof: Proof, path: Path) -> Path:
    """Write the page that shows ``proof`` alone: one file, no network."""
    # The template calls this module's functions, as it does where the proof is a section.
    parts = {"parity": sys.modules[__name__], "facts": proof_facts(proof)}
    write_text(path, render(proof, verdict=verdict(proof), proof=proof, **parts))
    return path


def stored_proof(folder: Path) -> Proof | None:
    """Return the proof for another page; None where none lies beside its results.

    Raises:
        InputError: If ``parity/parity.json`` in ``folder`` is not a sound proof.
    """
    source = folder / "parity" / "parity.json"
    return read_document(source, Proof) if source.is_file() else None


def proved_rows(part: ProofPart) -> list[ProofRow]:
    """Return the rows whose backends came to an answer."""
    return [row for row in part["rows"] if "errors" in row]


def names_of(part: ProofPart, quantity: str) -> list[str]:
    """Return the layers or parameters that a quantity has an error of."""
    rows = proved_rows(part)
    return list(dict.fromkeys(name for row in rows for name in row["errors"][quantity]))


def largest(proof: Proof, part: ProofPart) -> list[tuple[str, float, str, list[float | None]]]:
    """Return every quantity, its bound, the bound's reason, and each row's largest error."""
    lines = []
    for quantity in PROOF:
        if not any(quantity in row["errors"] for row in proved_rows(part)):
            continue  # Early proofs have fewer quantities.
        bound = BOUNDS[quantity][proof["precision"]]
        limit = max(part["limits"]) if quantity == "trace" else bound.limit
        errors = [largest_error(row, quantity) for row in proved_rows(part)]
        lines.append((quantity, limit, bound.reason, errors))
    return lines


def largest_error(row: ProofRow, quantity: str) -> float | None:
    """Return a row's largest error; None if there is none, or one is no finite number."""
    errors = row["errors"].get(quantity, {}).values()
    finite = [error for error in errors if error is not None]
    return max(finite, default=None) if len(finite) == len(errors) else None


def conditions(proof: Proof) -> str:
    """Return what the errors were measured with, in words."""
    precision = ", without ".join([proof["precision"], *proof.get("without", [])])
    images = "generated images" if proof["data"]["generated"] else "photographs"
    recipe = proof["backbones"][0].get("recipe")
    named = f"{recipe['name']}, " if recipe and recipe["name"] != PROBE else ""
    head = recipe.get("head", "fcn32s") if recipe else "fcn32s"
    named += f"{head}, " if head != "fcn32s" else ""
    return f"{named}{precision}, batch {proof['batch']}, {crop_text(proof['crop'])}, {images}"


def verdict(proof: Proof) -> str:
    """Return the outcome in one sentence."""
    rows = [row for part in proof["backbones"] for row in part["rows"]]
    bad = [row for row in rows if row["status"] != "ok"]
    if not bad:
        titles = dict.fromkeys(row["title"] for row in rows)
        return f"{', '.join(titles)}: every error is within its bound."
    more = f" ({len(bad) - 1} more below)" if len(bad) > 1 else ""
    return f"{bad[0]['title']} {bad[0]['status']}: {bad[0]['reason']}{more}."


def drift_curves(part: ProofPart) -> Figure | None:
    """Return the losses' distance from the reference by step; None without matplotlib."""
    if not (figure := new_figure(9, 3.6)):
        return None
    axes = figure.subplots()

    def draw(values: Sequence[float | None], color: str, label: str, style: str) -> None:
        shown = [math.nan if v is None else max(v, LEAST) for v in values]
        axes.plot(range(len(values)), shown, style, color=color, label=label, markersize=3)

    for row in proved_rows(part):
        color = COLORS[backend_color(row["backend"])]
        draw(row["drift"], color, row["title"], "-o")
        if row["drift_float64"]:
            draw(row["drift_float64"], color, f"{row['title']}, float64", ":")
    if yardstick := part["yardstick"]:
        title = BACKENDS.get(yardstick["backend"], yardstick["backend"])
        label = f"{title}, {thread_numbers(yardstick)}"
        draw(yardstick["drift"], MUTED, label, "--")
    draw(part["limits"], MUTED, "bound", "-")
    axes.xaxis.set_major_locator(whole_numbers())
    axes.set(yscale="log", xlabel="step", ylabel="relative distance")
    mute(axes)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=TEXT, fontsize=8)
    return figure


def thread_numbers(yardstick: Yardstick) -> str:
    """Return with which numbers of threads a backend is compared with itself."""
    usual, changed = yardstick["threads"]
    return f"{changed} against {counted(usual, 'thread')}"


def text_of(proof: Proof) -> str:
    """Return the proof as text: each backbone's layers, gradients, largest errors and losses."""
    text = [f"{conditions(proof)}: relative errors against the float64 reference"]
    for part in proof["backbones"]:
        rows = proved_rows(part)
        heads = [row["backend"] for row in rows]
        text += ["", part["backbone"], ""]
        for quantity in ("layer, evaluation", "layer, training", "gradient"):
            bound = bound_text(BOUNDS[quantity][proof["precision"]].limit)
            lines = [
                [name, *(error_text(row["errors"][quantity].get(name)) for row in rows)]
                for name in names_of(part, quantity)
            ]
            text += [text_table([[f"{quantity} (bound {bound})", *heads], *lines]), ""]
        table = [["largest", "bound", *heads]]
        for quantity, limit, _, errors in largest(proof, part):
            table.append([quantity, bound_text(limit), *map(error_text, errors)])
        text += [text_table(table), "", losses_text(part), "", *map(outcome, part["rows"])]
    return "\n".join(text)


def summary_of(proof: Proof) -> str:
    """Return the verdict, and of each backbone the errors that are nearest to their bounds."""
    text = [verdict(proof), f"{conditions(proof)}: relative errors against the float64 reference"]
    for part in proof["backbones"]:
        table = [["nearest to its bound", "bound", *(row["backend"] for row in proved_rows(part))]]
        for quantity, limit, _, errors in sorted(largest(proof, part), key=_share, reverse=True):
            line = [quantity, bound_text(limit), *map(error_text, errors)]
            if len(table) <= SHOWN or _share((quantity, limit, "", errors)) > 1:
                table.append(line)
        shown = [text_table(table)] if proved_rows(part) else []
        text += ["", part["backbone"], *shown, *map(outcome, part["rows"])]
    return "\n".join(text)


def _share(line: tuple[str, float, str, list[float | None]]) -> float:
    """Return how large the largest error of a line of ``largest`` is in terms of its bound."""
    _, limit, _, errors = line
    if None in errors:
        return math.inf
    worst = max((error for error in errors if error is not None), default=0.0)
    return worst / limit if limit else math.inf * worst if worst else 0.0


def losses_text(part: ProofPart) -> str:
    """Return the reference's loss at every step, and how far each backend's is from it."""
    rows, yardstick = proved_rows(part), part["yardstick"]
    columns = {row["backend"]: row["drift"] for row in rows}
    columns |= {f"{r['backend']} float64": d for r in rows if (d := r["drift_float64"])}
    if yardstick:
        columns[f"{yardstick['backend']} {thread_numbers(yardstick)}"] = [*yardstick["drift"]]
    table = [["step", "loss", "bound", *columns]]
    for step, (loss, *errors) in enumerate(
        zip(part["losses"], part["limits"], *columns.values(), strict=True)
    ):
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
        f"with an error of {small_percent(share)} of what is allowed"
    )
