"""What the project's pages share: templates, assets, and a figure in the page's own colours."""

from __future__ import annotations

import base64
import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COLORS = ("#c84c00", "#0067b0", "#007a5a", "#9a3fa8", "#5b5b00")
"""Of the backends, by `compare_view.backend_color`; as in report.css."""
TEXT, MUTED = "#1a1f26", "#545d69"


def environment() -> Any:
    """Return the templates' environment: all text is escaped, an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "assets"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> Any:
    """Return a file of ``assets``, to stand in a page as it is."""
    from markupsafe import Markup

    return Markup((HERE / "assets" / name).read_text(encoding="utf-8"))


def chart_library() -> Any:
    """Return uPlot with its licence."""
    from markupsafe import Markup

    return Markup(f"/*\n{asset('vendor/uPlot-LICENSE')}*/\n{asset('vendor/uPlot.iife.min.js')}")


def download(document: dict[str, Any]) -> str:
    """Return ``document`` as the base64 that a link of the page downloads as JSON."""
    return base64.b64encode(json.dumps(document, indent=1).encode()).decode()


def can_draw() -> bool:
    """Tell whether matplotlib is here; a bare container's pages have the numbers alone."""
    return find_spec("matplotlib") is not None


def svg(figure: Any, salt: str) -> Any:
    """Return a matplotlib figure as SVG whose colours are the page's, light or dark.

    Text stays text; without a date and with a fixed salt the same figure gives the same page.
    """
    from markupsafe import Markup
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for number, color in enumerate(COLORS):
        text = text.replace(color, f"var(--c{number})")
    text = text.replace(TEXT, "var(--text)").replace(MUTED, "var(--muted)")
    return Markup(text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1))


def mute(axes: Any) -> None:
    """Give ``axes`` the page's ink."""
    axes.tick_params(colors=MUTED, which="both")
    for item in (axes.xaxis.label, axes.yaxis.label):
        item.set_color(TEXT)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    axes.grid(color=MUTED, alpha=0.2)
