"""The chapter's page: source by symbol and executed cells, in a tab for each backend."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import nbformat
import notebooks
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from symbols import NotFound, symbol

from common.backends import BACKENDS, check_backend
from common.errors import InputError

COUNTS = "chapter code cells"
"""In the environment's data of a page: how many code cells each notebook has had so far."""
logger = logging.getLogger(__name__)


def installed() -> list[str]:
    """Return the backends whose framework is installed here."""
    present = []
    for name in BACKENDS:
        try:
            check_backend(name)
        except InputError:
            continue
        present.append(name)
    return present


def in_tabs(texts: Mapping[str, str]) -> str:
    """Return Markdown with a tab for each backend; one choice holds for all pages."""
    items = [
        f"`````{{tab-item}} {BACKENDS[name]}\n:sync: {name}\n\n{text}\n`````\n"
        for name, text in texts.items()
    ]
    return f"``````{{tab-set}}\n:sync-group: backend\n\n{''.join(items)}``````\n"


def as_code(code: str, language: str = "python") -> str:
    """Return a block of code."""
    return f"````{language}\n{code.strip()}\n````\n"


class Shown(SphinxDirective, ABC):
    """A directive of the chapter's page, which writes Markdown for what it shows."""

    has_content = True
    required_arguments = 0

    @abstractmethod
    def markdown(self) -> str:
        """Return what stands in the page instead of the directive."""

    def run(self) -> list[nodes.Node]:
        try:
            text = self.markdown()
        except (ValueError, NotFound) as error:
            raise self.error(str(error)) from error
        return self.parse_text_to_nodes(text)


class Mirrored(Shown):
    """``{mirrored} model.py FCN``: that symbol of each package."""

    required_arguments = 2
    option_spec: ClassVar = dict.fromkeys(BACKENDS, directives.unchanged_required)

    def markdown(self) -> str:
        shown = notebooks.mirrored(*self.arguments, self.options)
        for path, name in shown.values():
            symbol(path, name)  # So that what is gone is told with the line in this page.
        return in_tabs(
            {
                backend: f"`{path}`\n\n```{{symbol}} {path} {name}\n```\n"
                for backend, (path, name) in shown.items()
            }
        )


class Cell(Shown):
    """A code cell, its code and what it printed and drew in each backend."""

    optional_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def executed(self) -> dict[str, str]:
        """Return what the next cell of each executed notebook shows, as Markdown."""
        counts = self.env.temp_data.setdefault(COUNTS, dict.fromkeys(BACKENDS, 0))
        texts = {}
        for name in BACKENDS:
            number, path = counts[name], notebooks.executed_path(name)
            counts[name] += 1
            if name not in self.config.chapter_backends:
                texts[name] = f"{BACKENDS[name]} was not installed where this page was built."
                continue
            self.env.note_dependency(str(path))
            book = nbformat.read(path, as_version=4)
            cell = notebooks.code_cells(book)[number]
            text = notebooks.printed(cell)
            pictures = [
                f"```{{image}} /_build/notebooks/{picture}\n:alt: {self.options.get('alt')}\n```\n"
                for picture in notebooks.pictures(cell)
            ]
            if pictures and "alt" not in self.options:
                raise ValueError("a cell that draws needs a text for who cannot see it: `:alt:`")
            texts[name] = (as_code(text, "text") if text else "") + "\n".join(pictures)
        return texts

    def markdown(self) -> str:
        code, outputs = "\n".join(self.content), self.executed()
        codes = {name: as_code(notebooks.code_for(name, code)) for name in BACKENDS}
        if "torch_impl" in code:
            return in_tabs({name: codes[name] + outputs[name] for name in BACKENDS})
        shown = codes["torch"]
        if not any(outputs[name] for name in self.config.chapter_backends):
            return shown
        if len(set(outputs.values())) == 1:
            return f"{shown}\n{outputs['torch']}\nThe same in all four.\n"
        return f"{shown}\n{in_tabs(outputs)}"


class Variants(Cell):
    """Code cells of which each backend has its own."""

    def markdown(self) -> str:
        codes = notebooks.variants("\n".join(self.content) + "\n")
        if list(codes) != list(BACKENDS):
            raise ValueError(f"expected a cell for each of {', '.join(BACKENDS)}")
        outputs = self.executed()
        return in_tabs({name: as_code(codes[name]) + outputs[name] for name in BACKENDS})


class Notebooks(Shown):
    """Links to the executed notebooks."""

    def markdown(self) -> str:
        return " · ".join(
            f"{{download}}`{BACKENDS[name]} </_build/notebooks/{notebooks.path_of(name).name}>`"
            for name in self.config.chapter_backends
        )


def note_backends(app: Sphinx, config: Config) -> None:
    """Note which backends are shown. Where others were at the last build, all pages are read."""
    config.chapter_backends = installed()


def execute(app: Sphinx) -> None:
    """Execute the notebooks that have changed since the last build."""
    for name in notebooks.build(app.config.chapter_backends):
        logger.info("executed the chapter in %s", BACKENDS[name])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives with Sphinx; MyST-NB's own takes a cell only in a notebook."""
    app.add_config_value("chapter_backends", [], "env")
    app.add_directive("mirrored", Mirrored)
    app.add_directive("code-cell", Cell, override=True)
    app.add_directive("variants", Variants)
    app.add_directive("notebooks", Notebooks)
    app.connect("config-inited", note_backends)
    app.connect("builder-inited", execute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
