"""A file of the mirror as rows: each symbol in four columns, with the tokens that differ marked::

    ```{side-by-side} loss.py
    cross_entropy: MXNet's loss is a block. See [Loss](../PORTING.md#loss).
    ```

Each line of the content is a note on a row: its name, a colon, and Markdown. A file that a package
does not have, or a note on a symbol that none has, is an error with the page and the line.
A row's address is `#FILE-SYMBOL`, as in `#loss-cross_entropy`.
"""

import html
from collections.abc import Mapping

import aligned
import differences
import figures
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from symbols import IMPORTS, PROJECT, NotFound, Symbol, symbols

BACKENDS = figures.BACKENDS
LOG = logging.getLogger(__name__)
Row = dict[str, Symbol]
"""Backend -> its symbol; a backend that has none is left out."""


def rows_of(files: Mapping[str, Mapping[str, Symbol]]) -> dict[str, Row]:
    """Return name of a row -> its symbols, in the order of the first file that has them.

    Names of the same letters, as a class in one framework and a function in another may have
    (`BlockV1`, `block_v1`), stand in one row.

    Args:
        files: Backend -> the symbols of its file, in its order.
    """
    rows: dict[str, Row] = {}
    for backend, found in files.items():
        order, at = list(rows), 0
        for name, symbol in found.items():
            row = name if name in rows else _alike(name, rows, found)
            if row is None:
                row = name
                order.insert(at, row)
            rows.setdefault(row, {})[backend] = symbol
            at = order.index(row) + 1
        rows = {name: rows[name] for name in order}
    return rows


def _alike(name: str, rows: Mapping[str, Row], found: Mapping[str, Symbol]) -> str | None:
    """Return the row whose name has the same letters, unless this file has that name too."""

    def letters(name: str) -> tuple[bool, str]:
        return name.startswith("_"), name.replace("_", "").lower()

    return next((r for r in rows if letters(r) == letters(name) and r not in found), None)


class SideBySide(SphinxDirective):
    """Shows one file of all packages, a row a symbol."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        file = self.arguments[0]
        stem = file.removesuffix(".py")
        code = [aligned.__file__, differences.__file__, figures.__file__, __file__]
        sources = [PROJECT / f"{backend}_impl" / file for backend in BACKENDS]
        for path in (*code, *figures.paths(), *sources):
            self.env.note_dependency(str(path))
        try:
            files = {backend: symbols(f"{backend}_impl/{file}") for backend in BACKENDS}
        except NotFound as error:
            raise self.error(str(error)) from error
        # The rows have their own list above them.
        self.env.metadata[self.env.docname]["html_theme.sidebar_secondary.remove"] = "true"
        rows = rows_of(files)
        notes = self.notes(file, rows)
        domain = self.env.domains.standard_domain
        domain.note_hyperlink_target(f"side-by-side-{stem}", self.env.docname, "", file)
        start: list[nodes.Node] = [nodes.raw("", figures.table(stem), format="html")]
        start += self.parse_text_to_nodes(figures.sources(stem))
        links = (f'<a href="#{stem}-{name}"><code>{name}</code></a>' for name in rows)
        contents = f'<nav class="rows-of-page" aria-label="Rows">{"".join(links)}</nav>'
        start.append(nodes.raw("", contents, format="html"))
        bar = f'<div class="columns-bar" data-backends="{" ".join(BACKENDS)}"></div>'
        start.append(nodes.raw("", bar, format="html"))
        return [*start, *(self.section(stem, name, rows[name], notes) for name in rows)]

    def notes(self, file: str, rows: Mapping[str, Row]) -> dict[str, tuple[str, int]]:
        """Return name of a row -> the note on it, and its number in the content."""
        notes = {}
        for number, line in enumerate(self.content):
            name, colon, text = line.partition(":")
            if not line.strip():
                continue
            if not colon or name not in rows:
                place = self.env.docname, self.lineno + number + 1
                words = "no package has such a symbol; a note is a name, a colon and a sentence"
                LOG.error("%s: %s: %s", file, name, words, location=place)
                continue
            notes[name] = (text.strip(), number)
        return notes

    def section(
        self, stem: str, name: str, row: Row, notes: Mapping[str, tuple[str, int]]
    ) -> nodes.section:
        """Return the row as a section with an address of its own."""
        address = f"{stem}-{name}"
        section = nodes.section(ids=[address], names=[address], classes=["side-by-side"])
        section += nodes.title("", "", nodes.literal(name, name))
        if name in notes:
            text, number = notes[name]
            content = StringList([text], items=[self.content.info(number)])
            self.state.nested_parse(content, self.lineno + number, section)
        section += nodes.raw("", row_as_html(f"{stem}.py", row, name), format="html")
        domain = self.env.domains.standard_domain
        domain.note_hyperlink_target(address, self.env.docname, address, name)
        return section


def row_as_html(file: str, row: Row, name: str) -> str:
    """Return the four columns of a row; lines that are alike stand at the same height."""
    texts = {backend: symbol.text for backend, symbol in row.items()}
    lines = aligned.rows_of(texts)
    cells = []
    for backend, title in BACKENDS.items():
        if backend in row:
            place = f"{backend}_impl/{file}:{row[backend].line}"
            # With its line, for names may differ in case alone.
            label = html.escape(f"{name} in {title}, line {row[backend].line}", quote=True)
            # Imports differ in every token that tells anything: marks would say nothing there.
            marked = {backend: texts[backend]} if name == IMPORTS else texts
            numbers = [number for number, line in enumerate(lines, 1) if backend in line]
            code = differences.as_html(backend, marked, numbers)
            body = (
                f'<div class="highlight"><pre tabindex="0" role="region" aria-label="{label}">'
                f"<code>{code}</code></pre></div>"
            )
        else:
            place, body = "", f'<p class="none">Only in {", ".join(BACKENDS[b] for b in row)}.</p>'
        cells.append(
            f'<div class="cell" data-backend="{backend}"><p class="head"><b>{title}</b> '
            f"<span>{place}</span></p>{body}</div>"
        )
    # A line more for the names above the columns.
    return f'<div class="row-of-four" style="--lines:{len(lines) + 1}">{"".join(cells)}</div>'


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("side-by-side", SideBySide)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
