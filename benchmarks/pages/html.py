"""What all pages share: the templates, the assets, and figures in the page's own colours."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pages.format import WORDS, join
from benchmarks.pages.gallery import legend_answers, legend_classes
from common.backends import BACKENDS
from common.machine.files import write_file

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.records.results import AnyDocument

HERE = Path(__file__).parent
COLORS = ("#c84c00", "#0067b0", "#007a5a", "#9a3fa8", "#5b5b00")
"""Of the backends, by ``backend_color``; as in page.css."""
DASHES = ("-", "--", ":", "-.")
"""Of the lines of a picture, so that none is known by its colour alone."""
TEXT, MUTED = "#1a1f26", "#545d69"
SHADES = (1e-3, 1e-2, 1e-1, 1)
"""Shares of a bound at which the heat map's shade changes; beyond the last it is broken."""


def backend_color(name: str) -> int:
    """Return the number of a backend's colour and dash pattern, the same on every page."""
    return list(BACKENDS).index(name) if name in BACKENDS else len(BACKENDS)


@cache
def environment() -> Environment:
    """Return the templates' environment: all text is escaped, an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "assets"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= WORDS
    more = (backend_color, download, legend_answers, legend_classes, shade, svg)
    templates.filters |= {function.__name__: function for function in more}
    templates.filters["listed"] = join
    templates.globals["backends"] = BACKENDS
    return templates


def render(document: AnyDocument, **parts: object) -> str:
    """Return a page: HTML that needs no other file and no network.

    Args:
        document: The results; the template has the name of their kind.
        parts: What the template shows beside the results; ``verdict`` is one sentence about them,
            ``charts`` the data of the page's script, if it has one.
    """
    return render_template(f"{document['kind']}.html.j2", document=document, **parts)


def render_template(name: str, **parts: object) -> str:
    """Return the page of a template, which shows ``parts``."""
    return environment().get_template(name).render(**parts)


def download(document: AnyDocument) -> str:
    """Return ``document`` as the base64 that a link of the page downloads as JSON."""
    return base64.b64encode(json.dumps(document, indent=1).encode()).decode()


def shade(error: float | None, bound: float) -> int:
    """Return how many of ``SHADES`` an error's share of its bound passes."""
    if error is None:
        return len(SHADES)
    share = error / bound if bound else float(error > 0) * 2
    return sum(share > limit for limit in SHADES)


def new_figure(width: float, height: float) -> Figure | None:
    """Return an empty figure, its sides in inches.

    None without matplotlib: the pages of a bare container have the numbers alone.
    """
    if find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure | None, salt: str) -> Markup:
    """Return a matplotlib figure as SVG whose colours are the page's, light or dark.

    Text stays text; without a date and with a fixed salt the same figure gives the same page.
    Nothing where there is no figure.
    """
    from markupsafe import Markup

    if figure is None:
        return Markup("")
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for index, color in enumerate(COLORS):
        text = text.replace(color, f"var(--c{index})")
    text = text.replace(TEXT, "var(--text)").replace(MUTED, "var(--muted)")
    return Markup(text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1))


def write_png(figure: Figure | None, path: Path) -> None:
    """Write a figure as PNG, if there is one."""
    if figure:
        write_file(path, lambda file: figure.savefig(file, format="png", dpi=150))


def mute(axes: Axes) -> None:
    """Give ``axes`` the page's ink."""
    axes.tick_params(colors=MUTED, which="both")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(TEXT)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    axes.grid(color=MUTED, alpha=0.2)
