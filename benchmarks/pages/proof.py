"""The proof of equal work as a page, and as a section of other pages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages.compare_view import backend_color
from benchmarks.pages.html import (
    COLORS,
    MUTED,
    TEXT,
    asset,
    can_draw,
    download,
    environment,
    mute,
    svg,
)
from benchmarks.pages.proof_text import precision_of
from common.backends import BACKENDS
from common.errors import InputError
from common.machine.files import write_text
from common.reference.tolerances import BOUNDS, PROOF

FORMAT_VERSION = 1
SHADES = (1e-3, 1e-2, 1e-1, 1)
"""Shares of a bound at which the heat map's shade changes; beyond the last it is broken."""
LEAST = 1e-17
"""Drawn for a distance of zero, which a logarithmic axis cannot show."""

Row = dict[str, Any]


def write_page(result: dict[str, Any], path: Path) -> Path:
    """Write the page that shows ``result`` alone: one file, no network."""
    page = environment().get_template("parity.html.j2")
    html = page.render(
        parity=view(result),
        result=result,
        styles=asset("report.css"),
        download=download(result),
    )
    write_text(path, html)
    return path


def section(folder: Path, heading: str = "Parity") -> Any:
    """Return the section for another page, or nothing where no proof lies beside its results.

    Raises:
        InputError: If ``parity/parity.json`` in ``folder`` is not a proof of this version.
    """
    from markupsafe import Markup

    source = folder / "parity" / "parity.json"
    if not source.is_file():
        return ""
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
        known = result["kind"] == "parity" and result["version"] == FORMAT_VERSION
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source}: is not a proof's result ({error})") from error
    if not known:
        raise InputError(f"{source}: is not a proof of version {FORMAT_VERSION}")
    template = environment().get_template("parity_section.html.j2")
    return Markup(template.render(parity=view(result), heading=heading))


def view(result: dict[str, Any]) -> dict[str, Any]:
    """Return what the templates show: a sentence, and for each backbone its tables and curves."""
    height, width = result["crop"]
    images = "generated images" if result["data"]["generated"] else "photographs"
    size = f"batch {result['batch']}, {height}×{width}"
    return {
        "conditions": f"{precision_of(result)}, {size}, {images}",
        "sentence": verdict(result),
        "parts": [_part(part, result["precision"]) for part in result["backbones"]],
    }


def verdict(result: dict[str, Any]) -> str:
    """Return the outcome in one sentence."""
    rows = [row for part in result["backbones"] for row in part["rows"]]
    bad = [row for row in rows if row["status"] != "ok"]
    if not bad:
        names = list(dict.fromkeys(row["title"] for row in rows))
        return f"{', '.join(names)}: every error is within its bound."
    first = bad[0]
    more = f" ({len(bad) - 1} more below)" if len(bad) > 1 else ""
    return f"{first['title']} {first['status']}: {first['reason']}{more}."


def _part(part: dict[str, Any], precision: str) -> dict[str, Any]:
    rows = [row for row in part["rows"] if "errors" in row]
    return {
        "backbone": part["backbone"],
        "heads": [(row["title"], backend_color(row["backend"])) for row in rows],
        "notes": [
            (row["title"], row["status"], row["reason"])
            for row in part["rows"]
            if row["status"] != "ok"
        ],
        "summary": _summary(rows, part["limits"], precision),
        "layers": _lines(rows, ("layer, evaluation", "layer, training"), precision),
        "gradients": _lines(rows, ("gradient",), precision),
        "losses": [
            (step, f"{loss:.6f}", f"{limit:.0e}", [_text(row["drift"][step]) for row in rows])
            for step, (loss, limit) in enumerate(zip(part["losses"], part["limits"], strict=True))
        ],
        "curves": drift_curves(part, rows),
        "yardstick": part["yardstick"],
    }


def _summary(
    rows: list[Row], limits: list[float], precision: str
) -> list[tuple[str, str, str, list[Any]]]:
    """Return (quantity, bound, reason, a cell a backend) with the largest error of each."""
    found = []
    for quantity in PROOF:
        bound = BOUNDS[quantity][precision]
        limit = max(limits) if quantity == "trace" else bound.limit
        cells = [cell(_largest(row["errors"].get(quantity, {})), limit) for row in rows]
        found.append((quantity, f"{limit:.0e}", bound.reason, cells))
    return found


def _largest(errors: Mapping[str, float | None]) -> float | None:
    known = [error for error in errors.values() if error is not None]
    return max(known, default=None) if len(known) == len(errors) else None


def _lines(
    rows: list[Row], quantities: tuple[str, ...], precision: str
) -> list[tuple[str, list[list[Any]]]]:
    """Return (layer or parameter, for each quantity a cell a backend)."""
    names = dict.fromkeys(name for row in rows for name in row["errors"][quantities[0]])
    return [
        (
            name,
            [
                [
                    cell(row["errors"][quantity].get(name), BOUNDS[quantity][precision].limit)
                    for row in rows
                ]
                for quantity in quantities
            ],
        )
        for name in names
    ]


def cell(error: float | None, limit: float) -> tuple[str, int]:
    """Return an error's text and how many of ``SHADES`` its share of the bound passes."""
    if error is None:
        return "–", len(SHADES)
    share = error / limit if limit else float(error > 0) * 2
    return _text(error), sum(share > shade for shade in SHADES)


def _text(error: float | None) -> str:
    return "–" if error is None else "0" if error == 0 else f"{error:.1e}"


def drift_curves(part: dict[str, Any], rows: list[Row]) -> Any:
    """Return the losses' distance from the reference by step, as SVG; None without matplotlib."""
    if not can_draw():
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    steps = range(len(part["losses"]))

    def draw(values: list[float | None], **style: Any) -> None:
        axes.plot(steps, [math.nan if v is None else max(v, LEAST) for v in values], **style)

    for row in rows:
        color = COLORS[backend_color(row["backend"])]
        draw(row["drift"], color=color, marker="o", markersize=3, label=row["title"])
        if row["drift_float64"]:
            label = f"{row['title']}, float64"
            draw(row["drift_float64"], color=color, linestyle=":", label=label)
    if part["yardstick"]:
        one, other = part["yardstick"]["threads"]
        label = f"{BACKENDS[part['yardstick']['backend']]}, {other} against {one} threads"
        draw(part["yardstick"]["drift"], color=MUTED, linestyle="--", label=label)
    draw(part["limits"], color=MUTED, linewidth=1, label="bound")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(yscale="log", xlabel="step", ylabel="relative distance")
    mute(axes)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=TEXT, fontsize=8)
    return svg(figure, part["backbone"])
