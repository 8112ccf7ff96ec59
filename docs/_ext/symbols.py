"""Source by symbol: read as text and syntax, never imported.

Any page may show a symbol as it stands in the source, a function, a class, a method or a constant::

    ```{symbol} jax_impl/loss.py cross_entropy
    ```

    ```{symbol} torch_impl/model.py FCN.forward
    :caption: The forward pass
    ```

The path is from the top of the repository. A file or a symbol that does not exist is an error with
the page and the line. Within a tab of the framework, ``:sync:`` is the backend's name::

    ::::{tab-set}
    :sync-group: backend
    :::{tab-item} JAX
    :sync: jax
    ...
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.code import container_wrapper
from sphinx.util.docutils import SphinxDirective

PROJECT = Path(__file__).parents[2]
IMPORTS = "imports"
"""Name of a file's imports, which are shown as one symbol."""


class NotFound(Exception):
    """A file or symbol that is not there; the message says which."""


@dataclass(frozen=True)
class Symbol:
    """A symbol's lines in the source, with its decorators and the comments just above it."""

    name: str
    text: str
    line: int


def read(path: str) -> str:
    """Return the text of a source file, whose path is from the top of the repository."""
    file = PROJECT / path
    if not file.is_file():
        raise NotFound(f"{path}: there is no such file; the path is from the top of the repository")
    return file.read_text(encoding="utf-8")


def symbols(path: str) -> dict[str, Symbol]:
    """Return the top-level symbols of a file in its order: name -> symbol.

    Raises:
        NotFound: If the file does not exist.
    """
    text = read(path)
    return _symbols_of(ast.parse(text).body, text.splitlines())


def symbol(path: str, name: str) -> Symbol:
    """Return a symbol of a file; ``Class.method`` names one within a class.

    Raises:
        NotFound: If the file has no such symbol.
    """
    text = read(path)
    body, lines = ast.parse(text).body, text.splitlines()
    *outer, last = name.split(".")
    for part in outer:
        body = next(
            (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == part), []
        )
    found = _symbols_of(body, lines)
    if last not in found:
        raise NotFound(f"{path}: there is no symbol {name}; it has {', '.join(found) or 'none'}")
    return found[last]


def _symbols_of(body: list[ast.stmt], lines: list[str]) -> dict[str, Symbol]:
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {}
    if imports:
        found[IMPORTS] = _cut(IMPORTS, imports[0].lineno, imports[-1].end_lineno, lines)
    for node, after in zip(body, [*body[1:], None], strict=True):
        end = node.end_lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            each = [name for target in targets for name in ast.walk(target)]
            names = [name.id for name in each if isinstance(name, ast.Name)]
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                end = after.end_lineno  # The sentence below a constant belongs to it.
        else:
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        for name in names:
            found[name] = _cut(name, first, end, lines)
    return found


def _cut(name: str, first: int, last: int | None, lines: list[str]) -> Symbol:
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return Symbol(name, "\n".join(lines[first - 1 : last]), first)


class SymbolDirective(SphinxDirective):
    """Shows a symbol of a source file as a block of code."""

    required_arguments = 2
    option_spec = {  # noqa: RUF012
        "caption": directives.unchanged,
        "emphasize-lines": directives.unchanged,
        "name": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        path, name = self.arguments
        self.env.note_dependency(str(PROJECT / path))
        try:
            text = symbol(path, name).text
        except NotFound as error:
            raise self.error(str(error)) from error
        indent = len(text) - len(text.lstrip())
        text = "\n".join(line[indent:] for line in text.splitlines())
        block = nodes.literal_block(text, text, language="python", source=path)
        self.set_source_info(block)
        if "caption" not in self.options:
            self.add_name(block)
            return [block]
        wrapper = container_wrapper(self, block, self.options["caption"])
        self.add_name(wrapper)
        return [wrapper]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("symbol", SymbolDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
