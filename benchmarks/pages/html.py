"""What all pages share: the templates, the assets, and figures in the page's own colours."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.pages.format import moment
from common.backends import BACKENDS
from common.machine.files import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.records.documents import Bench
    from benchmarks.records.run_documents import Interval, Proof
    from benchmarks.records.training_documents import Compared

HERE = Path(__file__).parent
COLORS = ("#c84c00", "#0067b0", "#007a5a", "#9a3fa8", "#5b5b00")
"""Of the backends, by ``backend_color``; as in page.css."""
TEXT, MUTED = "#1a1f26", "#545d69"
SYMBOLS = {
    "ok": "✓",
    "differs": "≠",
    "invalid": "≠",
    "failed": "✕",
    "missing": "–",
    "unsupported": "–",
    "running": "…",
}
"""By the status of a row."""


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
    templates.filters["backend_color"] = backend_color
    templates.globals["symbols"] = SYMBOLS
    return templates


def asset(name: str) -> Markup:
    """Return a file of ``assets``, to stand in a page as it is."""
    from markupsafe import Markup

    return Markup((HERE / "assets" / name).read_text(encoding="utf-8"))


def render(
    document: Bench | Compared | Proof,
    verdict: str,
    sections: Sequence[tuple[str, str]],
    script: bool = True,
    **parts: object,
) -> str:
    """Return a page: HTML that needs no other file and no network.

    Args:
        document: The results; its kind is the name of the template.
        verdict: What the results say, in one sentence.
        sections: (identity, title) of those that are linked at the top.
        script: Whether the page has charts, and a script of its own.
        parts: What its template shows.
    """
    kind = document["kind"]
    assets = {"styles": [asset("page.css")], "scripts": []}
    if script:
        assets = {
            "styles": [asset("vendor/uPlot.min.css"), asset("page.css")],
            "scripts": [chart_library(), asset(f"{kind}.js")],
        }
    template = environment().get_template(f"{kind}.html.j2")
    return template.render(
        document=document,
        created=moment(document["created"]),
        verdict=verdict,
        sections=sections,
        download=download(document),
        **assets,
        **parts,
    )


def chart_library() -> Markup:
    """Return uPlot with its licence."""
    from markupsafe import Markup

    return Markup(f"/*\n{asset('vendor/uPlot-LICENSE')}*/\n{asset('vendor/uPlot.iife.min.js')}")


def download(document: Bench | Compared | Proof) -> str:
    """Return ``document`` as the base64 that a link of the page downloads as JSON."""
    return base64.b64encode(json.dumps(document, indent=1).encode()).decode()


class Value(NamedTuple):
    """A cell of a table that becomes cards on a narrow screen; ``kind`` is the note's class."""

    label: str
    text: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Strip:
    """Samples, their median and its interval on a line; places in percent of its length."""

    samples: list[str]
    median: str
    low: str
    width: str
    has_interval: bool


def strip(
    interval: Interval, samples: Sequence[float], top: float, has_interval: bool = True
) -> Strip:
    """Return the places on a line from 0 to ``top``."""
    median, low, high = (
        100 * value / top for value in (interval["median"], interval["low"], interval["high"])
    )
    places = [f"{100 * sample / top:.2f}" for sample in samples]
    width = max(0.3, high - low)  # A narrower one could not be seen.
    return Strip(places, f"{median:.2f}", f"{low:.2f}", f"{width:.2f}", has_interval)


def can_draw() -> bool:
    """Tell whether matplotlib is here; a bare container's pages have the numbers alone."""
    return find_spec("matplotlib") is not None


def svg(figure: Figure, salt: str) -> Markup:
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


def write_png(figure: Figure | None, path: Path) -> bool:
    """Write a figure as PNG; False if there is none."""
    if figure is None:
        return False
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_bytes(path, buffer.getvalue())
    return True


def mute(axes: Axes) -> None:
    """Give ``axes`` the page's ink."""
    axes.tick_params(colors=MUTED, which="both")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(TEXT)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
    axes.grid(color=MUTED, alpha=0.2)
