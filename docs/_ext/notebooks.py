"""The chapter as one notebook for each backend, executed: from one page, `docs/chapter/index.md`.

The page is written once, for PyTorch. In another notebook differ the package's name, the
cells within ``{variants}``, and the source that ``{mirrored}`` shows.
"""

import hashlib
import os
import re
import subprocess
import textwrap
from base64 import b64decode
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from symbols import PROJECT, symbol

from common.backends import BACKENDS, IMPORT_NAMES
from common.machine.files import write_bytes
from common.machine.threads import thread_environment

PAGE = PROJECT / "docs" / "chapter" / "index.md"
BUILT = PROJECT / "docs" / "_build" / "notebooks"

VARIANTS = re.compile(r"^````\{variants\}\n(.*?)^````\n", re.DOTALL | re.MULTILINE)
CELL = re.compile(
    r"^```\{code-cell\} ?(\w*)\n((?::[^\n]*\n)*)(.*?)^```\n", re.DOTALL | re.MULTILINE
)
SYMBOL = re.compile(r"^```\{(symbol|mirrored)\} (\S+) (\S+)\n((?::.*\n)*)```\n", re.MULTILINE)
ONLY_PAGE = re.compile(r"^```\{(?:notebooks|note)\}.*?^```\n", re.DOTALL | re.MULTILINE)
IMPORT = re.compile(r"^\s*from (common[\w.]*) import (\w+)", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?:)[^)]+\)")


def mirrored(file: str, name: str, options: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return backend -> path and name of a symbol that each package has.

    Args:
        file: Within a package, such as ``model.py``.
        name: Of the symbol.
        options: Its name in a backend where it is another one.
    """
    return {backend: (f"{backend}_impl/{file}", options.get(backend, name)) for backend in BACKENDS}


def code_for(backend: str, code: str) -> str:
    """Return the code of a cell with a backend's package for PyTorch's."""
    return code.replace("torch_impl", f"{backend}_impl")


def variants(text: str) -> dict[str, str]:
    """Return backend -> code of the cells within ``{variants}``."""
    return {backend: code for backend, _, code in CELL.findall(text)}


def options_in(lines: str) -> dict[str, str]:
    """Return the options of a directive, such as ``:alt: A picture``."""
    return dict(re.findall(r"^:([\w-]+): (.*)$", lines, re.MULTILINE))


def notebook(backend: str, text: str) -> NotebookNode:
    """Return the page ``text`` as a backend's notebook, not executed."""

    def shown(found: re.Match[str]) -> str:
        directive, path, name, options = found.groups()
        if directive == "mirrored":
            path, name = mirrored(path, name, options_in(options))[backend]
        return f"`{path}`:\n\n```python\n{textwrap.dedent(symbol(path, name).text)}\n```\n"

    def own(found: re.Match[str]) -> str:
        return f"```{{code-cell}}\n{variants(found[1])[backend]}```\n"

    def cell(found: re.Match[str]) -> str:
        return f"```{{code-cell}}\n{code_for(backend, found[3])}```\n"

    text = CELL.sub(cell, VARIANTS.sub(own, ONLY_PAGE.sub("", text)))
    text = LINK.sub(r"\1", SYMBOL.sub(shown, text))
    book = jupytext.reads(text, "md:myst")
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    return book


def digest(backend: str, book: NotebookNode) -> str:
    """Return what an execution depends on: the code, the source that it runs, the versions."""
    total = hashlib.sha256()
    for cell in code_cells(book):
        total.update(f"{cell.source}\0".encode())
    for path in files_behind(backend, book):
        total.update(str(path.relative_to(PROJECT)).encode() + b"\0" + path.read_bytes())
    for package in ("numpy", "matplotlib", IMPORT_NAMES[backend]):
        total.update(f"{package} {metadata.version(package)}\0".encode())
    return total.hexdigest()


def files_behind(backend: str, book: NotebookNode) -> list[Path]:
    """Return the source that a notebook runs: the package, and what is imported of `common`."""
    files = {*(PROJECT / f"{backend}_impl").glob("*.py"), *PROJECT.glob("common/presets/*.toml")}
    texts = [cell.source for cell in code_cells(book)]
    texts += [path.read_text(encoding="utf-8") for path in files]
    while texts:
        for module, name in IMPORT.findall(texts.pop()):
            base = PROJECT / module.replace(".", "/")
            for path in (base.with_suffix(".py"), base / f"{name}.py"):
                if path.is_file() and path not in files:
                    files.add(path)
                    texts.append(path.read_text(encoding="utf-8"))
    return sorted(files)


def code_cells(book: NotebookNode) -> list[NotebookNode]:
    """Return the cells of a notebook that have code."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def path_of(backend: str) -> Path:
    """Return where a backend's notebook lies, to be offered: without what it printed and drew."""
    return BUILT / f"fcn-{backend}.ipynb"


def executed_path(backend: str) -> Path:
    """Return where a backend's executed notebook lies."""
    return BUILT / "executed" / f"{backend}.ipynb"


def execute(book: NotebookNode, folder: Path) -> None:
    """Run the cells of ``book`` in ``folder``; warnings of the frameworks are left out.

    Raises:
        nbclient.exceptions.CellExecutionError: With the cell that failed.
    """
    NotebookClient(
        book,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=os.environ | thread_environment(None), stderr=subprocess.DEVNULL)
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # Times, which differ from run to run.
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]


def pictures(cell: NotebookNode) -> dict[str, bytes]:
    """Return what a cell has drawn: file name -> PNG. Equal pictures have one name."""
    data = [out.get("data", {}) for out in cell.outputs]
    images = [b64decode(each["image/png"]) for each in data if "image/png" in each]
    return {f"{hashlib.sha256(image).hexdigest()[:16]}.png": image for image in images}


def build(backends: list[str]) -> list[str]:
    """Write the notebooks of ``backends`` and their pictures; return those that were executed.

    Where the text alone has changed since the last time, the outputs stay.
    """
    text, executed = PAGE.read_text(encoding="utf-8"), []
    drawn: dict[str, bytes] = {}
    with TemporaryDirectory() as folder:  # One, so that the data set is made once.
        for backend in backends:
            book, target = notebook(backend, text), executed_path(backend)
            book.metadata["fcn_digest"] = digest(backend, book)
            for number, cell in enumerate(book.cells):
                cell.id = f"cell-{number:02}"  # They are random otherwise.
            write_changed(path_of(backend), nbformat.writes(book).encode())
            before = nbformat.read(target, as_version=4) if target.is_file() else None
            if before and before.metadata.get("fcn_digest") == book.metadata["fcn_digest"]:
                for cell, same in zip(code_cells(book), code_cells(before), strict=True):
                    cell.outputs, cell.execution_count = same.outputs, same.execution_count
            else:
                execute(book, Path(folder))
                executed.append(backend)
            write_changed(target, nbformat.writes(book).encode())
            for cell in code_cells(book):
                drawn |= pictures(cell)
    for name, image in drawn.items():
        write_changed(BUILT / name, image)
    for old in BUILT.glob("*.png"):
        if old.name not in drawn:
            old.unlink()
    return executed


def write_changed(path: Path, content: bytes) -> None:
    """Write a file unless it has that content: a page is read again when a file is newer."""
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def printed(cell: NotebookNode) -> str:
    """Return what a cell has printed, and the value of its last line."""
    texts = [out.text for out in cell.outputs if out.output_type == "stream"]
    texts += [
        out.data["text/plain"]
        for out in cell.outputs
        if out.output_type == "execute_result" and "image/png" not in out.data
    ]
    return "\n".join(text.rstrip() for text in texts)
