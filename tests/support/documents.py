"""What commands print, written into the documents: ``python -m tests.support.documents``.

A block begins with ``<!-- fcn bench check FILE [--markdown] -->``, ``fcn bench diff OLD NEW`` or
``fcn bench scaling``, or with ``<!-- figures NAME -->`` for those of ``tests/project/tables.py``.
It ends with ``<!-- end -->``.
"""

import contextlib
import io
import re
from pathlib import Path

from benchmarks.cli import main as fcn
from tests.project.tables import FIGURES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/guides/*.md")])
BLOCK = re.compile(
    r"<!-- (fcn bench (?:check|diff|scaling)|figures) ([^>]+?) -->\n(.*?)<!-- end -->", re.DOTALL
)


def block(kind: str, name: str) -> str:
    """Return a block with its figures; text that is no Markdown stands in a fence."""
    text = FIGURES[name]() if kind == "figures" else printed(f"{kind} {name}")
    return f"<!-- {kind} {name} -->\n{text}<!-- end -->"


def printed(command: str) -> str:
    """Return what a command prints, in a fence unless it is Markdown."""
    output = io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        fcn(command.split()[1:])
    text = output.getvalue()
    return text if "--markdown" in command else f"```text\n{text}```\n"


def write() -> None:
    """Write every block of every document anew."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        document.write_text(
            BLOCK.sub(lambda found: block(found[1], found[2]), text), encoding="utf-8"
        )


if __name__ == "__main__":
    write()
