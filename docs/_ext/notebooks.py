"""The chapter as one notebook for each backend, executed: from one page, `docs/chapter/index.md`.

The page is written once, for PyTorch. In another notebook differ the package's name, the
cells within ``{variants}``, and the source that ``{symbol}`` shows.
"""

import ast
import hashlib
import re
import textwrap
from base64 import b64decode
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

from common.backends import BACKENDS, IMPORT_NAMES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "chapter" / "index.md"
BUILT = ROOT / "docs" / "_build" / "notebooks"

VARIANTS = re.compile(r"^````\{variants\}\n(.*?)^````\n", re.DOTALL | re.MULTILINE)
CELL = re.compile(r"^```\{code-cell\} ?(\w*)\n((?::.*\n)*)(.*?)^```\n", re.DOTALL | re.MULTILINE)
SYMBOL = re.compile(r"^```\{symbol\} (.*)\n((?::.*\n)*)```\n", re.MULTILINE)
ONLY_PAGE = re.compile(r"^```\{(?:notebooks|note)\}.*?^```\n", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?:)[^)]+\)")


def source_of(file: str, symbol: str) -> str:
    """Return the source of a function, class or method, such as ``FCN.forward``.

    Args:
        file: From the top of the repository.
        symbol: Its name within the file.

    Raises:
        ValueError: If the file is gone or has no such symbol.
    """
    path = ROOT / file
    if not path.is_file():
        raise ValueError(f"{file}: no such file")
    text = path.read_text(encoding="utf-8")
    body, node = ast.parse(text).body, None
    for name in symbol.split("."):
        nodes = [
            n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name
        ]
        if not nodes:
            raise ValueError(f"{file}: has no {symbol}")
        node, body = nodes[0], nodes[0].body
    assert node is not None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno]))


def sources(argument: str, options: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return file and source by backend for the argument of ``{symbol}``; of `common` under "".

    Args:
        argument: ``model.py FCN``, or a file of `common` and a name in it.
        options: The name in a backend where it is another one.
    """
    file, symbol = argument.split()
    if file.startswith("common/"):
        return {"": (file, source_of(file, symbol))}
    paths = {name: f"{name}_impl/{file}" for name in BACKENDS}
    return {
        name: (path, source_of(path, options.get(name, symbol))) for name, path in paths.items()
    }


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
        by_backend = sources(found[1], options_in(found[2]))
        file, source = by_backend.get(backend) or by_backend[""]
        return f"`{file}`:\n\n```python\n{source}\n```\n"

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
    """Return what an execution depends on: the cells, the source that they run, the versions."""
    total = hashlib.sha256()
    for cell in book.cells:
        total.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    for folder in ("common", f"{backend}_impl"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    for package in ("numpy", "matplotlib", IMPORT_NAMES[backend]):
        total.update(f"{package} {metadata.version(package)}\0".encode())
    return total.hexdigest()


def path_of(backend: str) -> Path:
    """Return where a backend's executed notebook lies."""
    return BUILT / f"fcn-{backend}.ipynb"


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
        config=Config({"KernelManager": {"transport": "ipc"}}),  # No port is opened.
    ).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # Times, which differ from run to run.
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]


def pictures(backend: str, number: int) -> list[Path]:
    """Return the pictures that a backend's code cell, counted from 0, has drawn."""
    return sorted(BUILT.glob(f"fcn-{backend}-{number:02}-*.png"))


def build(backends: list[str]) -> list[str]:
    """Execute the notebooks that have changed since, of ``backends``; return whose have."""
    BUILT.mkdir(parents=True, exist_ok=True)
    text, changed = PAGE.read_text(encoding="utf-8"), []
    with TemporaryDirectory() as folder:  # One, so that the data set is made once.
        for backend in backends:
            book, target = notebook(backend, text), path_of(backend)
            book.metadata["fcn_digest"] = digest(backend, book)
            if target.is_file():
                stored = nbformat.read(target, as_version=4).metadata
                if stored.get("fcn_digest") == book.metadata["fcn_digest"]:
                    continue
            execute(book, Path(folder))
            for old in BUILT.glob(f"fcn-{backend}-*.png"):
                old.unlink()
            for number, cell in enumerate(c for c in book.cells if c.cell_type == "code"):
                images = [
                    o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})
                ]
                for index, image in enumerate(images):
                    path = BUILT / f"fcn-{backend}-{number:02}-{index}.png"
                    path.write_bytes(b64decode(image))
            nbformat.write(book, target)
            changed.append(backend)
    return changed


def printed(cell: NotebookNode) -> str:
    """Return what a cell has printed, and the value of its last line."""
    texts = [out.text for out in cell.outputs if out.output_type == "stream"]
    texts += [
        out.data["text/plain"]
        for out in cell.outputs
        if out.output_type == "execute_result" and "image/png" not in out.data
    ]
    return "\n".join(text.rstrip() for text in texts)
