"""Leads from each page to the same page in the other language.

The sites of the two languages lie beside each other, and each is built by itself: the other may be
there or come later. So every page has the link, and `_static/languages.js`, which a build writes
into each site that is there, shows it.
"""

from pathlib import Path

from docutils.nodes import document
from sphinx.application import Sphinx

from benchmarks.commands.docs import sites_of

NAMES = {"en": "English", "ja": "日本語"}


def add_link(app: Sphinx, page: str, template: str, context: dict, tree: document | None) -> None:
    """Say in a page's context where the page is in the other language."""
    other = next(name for name in NAMES if name != app.config.language)
    folder = sites_of(Path(app.outdir))[other].name
    address = f"{context['content_root']}../{folder}/{page}{app.builder.out_suffix}"
    context["other_language"] = {"code": other, "name": NAMES[other], "address": address}


def show_links(app: Sphinx, error: Exception | None) -> None:
    """Write into each site which languages are there."""
    sites = sites_of(Path(app.outdir))
    there = [name for name, site in sites.items() if (site / "index.html").is_file()]
    for name in there:
        script = f'document.documentElement.dataset.languages = "{" ".join(there)}";\n'
        (sites[name] / "_static" / "languages.js").write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.connect("html-page-context", add_link)
    app.connect("build-finished", show_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
