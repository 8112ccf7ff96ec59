"""Writes the reference and the results as pages before Sphinx reads its sources.

Each module of this package returns pages: the path below `docs/` -> the text. Git ignores them. A
page whose text is as before is left alone, so that Sphinx does not read it again; where no source
has changed, none is generated.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import common
from common.errors import InputError
from common.machine.files import write_text

from . import api, backend, bounds, commands, documents, recipes, results

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PROJECT = Path(common.__file__).parents[1]
SOURCES = ("benchmarks", "common", backend.PACKAGE, "docs/_ext", "docs/parity")
"""Folders with all that a page is generated from, beside the document of the clauses."""
SUFFIXES = (".py", ".j2", ".js", ".css", ".toml", ".json")
FOLDERS = ("reference", "results")
WRITTEN = ("reference/index.md",)
"""Pages in these folders that are written by hand."""
STAMP = "results/.sources"
"""File of the last generation: the sizes and times of the sources, then a page on each line."""


def all_pages() -> dict[str, str]:
    """Return every generated page.

    Raises:
        InputError: Naming the file that it cannot be generated from.
    """
    modules = (api, backend, bounds, commands, documents, recipes, results)
    return {path: text for module in modules for path, text in module.pages().items()}


def write_pages(docs: Path, pages: dict[str, str]) -> None:
    """Write the pages that have changed below ``docs``, and remove those of no source."""
    for path, text in pages.items():
        file = docs / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, text)
    for folder in FOLDERS:
        for file in (docs / folder).rglob("*.md"):
            if file.relative_to(docs).as_posix() not in (*pages, *WRITTEN):
                file.unlink()


def source_files() -> list[Path]:
    """Return all files that pages and reports are generated from."""
    found = [file for folder in SOURCES for file in (PROJECT / folder).rglob("*")]
    return [backend.CLAUSES, *sorted(file for file in found if file.suffix in SUFFIXES)]


def is_current(docs: Path, state: str) -> bool:
    """Return whether the pages of the last generation are there, and their sources as they were."""
    stamp = docs / STAMP
    if not stamp.is_file():
        return False
    before, *pages = stamp.read_text(encoding="utf-8").split("\n")
    return before == state and all((docs / page).is_file() for page in pages)


def before_reading(app: Sphinx) -> None:
    """Write all pages, and into the site the reports that they link."""
    docs, files = Path(app.srcdir), source_files()
    stats = [(file, file.stat()) for file in files]
    state = " ".join(f"{file}:{stat.st_size}:{stat.st_mtime_ns}" for file, stat in stats)
    try:
        if not is_current(docs, state):
            pages = all_pages()
            write_pages(docs, pages)
            write_text(docs / STAMP, "\n".join([state, *pages]))
        if app.builder.format == "html":
            code = [stat.st_mtime for file, stat in stats if file.suffix != ".json"]
            # Once for the sites of all languages.
            results.write_reports(docs / "_build", max(code))
            shutil.copytree(
                docs / "_build" / results.REPORTS,
                Path(app.outdir) / results.REPORTS,
                dirs_exist_ok=True,
            )
    except InputError as error:
        from sphinx.errors import ExtensionError

        raise ExtensionError(str(error)) from error


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this extension does with Sphinx."""
    app.add_css_file("generated_pages.css")
    app.connect("builder-inited", before_reading)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
