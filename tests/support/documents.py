"""What commands print, written into the documents: ``python -m tests.support.documents``.

A block begins with ``<!-- fcn bench check FILE [--markdown] -->`` and ends with ``<!-- end -->``.
"""

import contextlib
import io
import re
from pathlib import Path

from benchmarks.cli import main as fcn

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"<!-- fcn (bench check [^>]+?) -->\n(.*?)<!-- end -->", re.DOTALL)


def block(command: str) -> str:
    """Return a block with what a command prints; text that is no Markdown stands in a fence."""
    printed = io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        fcn(command.split())
    text = printed.getvalue()
    if "--markdown" not in command:
        text = f"```text\n{text}```\n"
    return f"<!-- fcn {command} -->\n{text}<!-- end -->"


def write() -> None:
    """Write every block of every document anew."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        document.write_text(BLOCK.sub(lambda found: block(found[1]), text), encoding="utf-8")


if __name__ == "__main__":
    write()
