"""Puts the README at the beginning of the site, and lets links to it lead there.

GitHub shows the same documents as the site. Their links to files outside `docs/` are turned into
links to pages as Sphinx reads them.
"""

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
MIRROR = re.compile(r"(?:torch|mxnet|jax|tf)_impl/(\w+)\.py")
READMES = {"en": "README.md", "ja": "README.ja.md"}
LANGUAGES = ("English · [日本語](README.ja.md)\n\n", "[English](README.md) · 日本語\n\n")
"""The READMEs' links to each other, which the head of every page of the site has."""
PLACE = "<!-- the README -->\n"


def page_of(path: str) -> str:
    """Return the page, from the top of the site, for a path from the top of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in READMES.values():
        return "index.md"
    return MIRROR.sub(r"side-by-side/\1.md", path)


def with_pages(text: str, folder: str, docname: str) -> str:
    """Return a document's text with its links leading to pages.

    Args:
        folder: The document's folder in the repository, from which its links lead.
        docname: The page it becomes, from which they lead then.
    """

    def page(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        return "](" + posixpath.relpath(page_of(path), posixpath.dirname(docname) or ".")

    return LINK.sub(page, text)


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Change the text of a page before it is parsed."""
    folder = posixpath.dirname(f"docs/{docname}")
    if PLACE in source[0]:
        readme = Path(app.srcdir).parent / READMES[app.config.language]
        app.env.note_dependency(str(readme))
        text = readme.read_text(encoding="utf-8")
        for links in LANGUAGES:
            text = text.replace(links, "")
        text = with_pages(text, "", docname)
        source[0] = source[0].replace(PLACE, text)
    elif "README" in source[0]:
        source[0] = with_pages(source[0], folder, docname)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.connect("source-read", read_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
