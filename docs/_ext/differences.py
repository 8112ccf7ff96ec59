"""Which tokens of Python differ from those of other texts, and the text as HTML with marks."""

import difflib
import functools
import html
import io
import tokenize
from collections.abc import Mapping, Sequence

from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES

IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
BRACKETS = "()[]{},:"
"""Where lines are broken changes these: they have a mark only between two marked tokens."""
Span = tuple[int, int, str]
"""Where a token begins and ends, as offsets into the text, and its text."""


@functools.cache
def tokens(text: str) -> tuple[Span, ...]:
    """Return the tokens that are compared: all but comments, docstrings, brackets and blanks."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans: list[Span] = []
    begins = True  # A string that is a statement is a docstring.
    for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
        is_text = token.type == tokenize.STRING and begins
        is_compared = token.type not in IGNORED and token.string not in BRACKETS
        if is_compared and not is_text:
            (row, column), (last_row, last_column) = token.start, token.end
            start, end = starts[row - 1] + column, starts[last_row - 1] + last_column
            spans.append((start, end, token.string))
        if token.type != tokenize.COMMENT:
            begins = token.type in IGNORED
    return tuple(spans)


@functools.cache
def shared(ours: str, theirs: str) -> frozenset[int]:
    """Return the numbers of the tokens of ``ours`` that stand in ``theirs`` too, in this order."""
    a, b = ([span[2] for span in tokens(text)] for text in (ours, theirs))
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return frozenset(block.a + i for block in blocks for i in range(block.size))


def marks(name: str, texts: Mapping[str, str]) -> list[str]:
    """Return for each character of the text called ``name`` the names of the texts it differs from.

    They stand in one string, with blanks between; ``most`` is one of them where the token differs
    from more than half of the others. Blanks and brackets between two tokens with the same marks
    have these too.
    """
    text, others = texts[name], [other for other in texts if other != name]
    letters = [""] * len(text)
    before, end_before = "", 0
    for number, (start, end, _) in enumerate(tokens(text)):
        differing = [other for other in others if number not in shared(text, texts[other])]
        if 2 * len(differing) > len(others):
            differing.append("most")
        mark = " ".join(differing)
        letters[start:end] = [mark] * (end - start)
        gap = text[end_before:start]
        if mark == before and not gap.strip(f" {BRACKETS}"):
            letters[end_before:start] = [mark] * len(gap)
        before, end_before = mark, end
    return letters


def as_html(name: str, texts: Mapping[str, str], rows: Sequence[int]) -> str:
    """Return the text called ``name`` as HTML: a block a line, coloured, with its marks.

    A line's ``--indent`` is how far it is indented, so that what does not fit goes on below it.

    Args:
        rows: For each line the row of the grid in which it stands.
    """
    text = texts[name]
    letters, at, pieces = marks(name, texts), 0, []
    for kind, value in lex(text, PythonLexer(stripnl=False, ensurenl=False)):
        for letter in value:
            pieces.append((letter, STANDARD_TYPES.get(kind, ""), letters[at]))
            at += 1
    lines, line = [], []
    for piece in [*pieces, ("\n", "", "")]:
        line.append(piece)
        if piece[0] == "\n":
            lines.append(_line(line, rows[len(lines)]))
            line = []
    return "".join(lines)


def _line(pieces: list[tuple[str, str, str]], row: int) -> str:
    text = "".join(letter for letter, _, _ in pieces)
    indent = len(text) - len(text.lstrip(" "))
    parts, runs = [], _runs(pieces, 2)
    for mark, run in runs:
        coloured = "".join(
            f'<span class="{style}">{_escaped(part)}</span>' if style else _escaped(part)
            for style, part in _runs(run, 1)
        )
        names = " ".join(f"not-{name}" for name in mark.split())
        parts.append(f'<span class="differs {names}">{coloured}</span>' if mark else coloured)
    style = f"--indent:{indent};grid-row:{row}"
    return f'<span class="line" style="{style}">{"".join(parts)}</span>'


def _runs(pieces: list, part: int) -> list[tuple[str, list]]:
    """Return neighbours with the same value at ``part`` together, with that value."""
    runs: list[tuple[str, list]] = []
    for piece in pieces:
        if not runs or runs[-1][0] != piece[part]:
            runs.append((piece[part], []))
        runs[-1][1].append(piece)
    return runs


def _escaped(pieces: list[tuple[str, str, str]]) -> str:
    return html.escape("".join(letter for letter, _, _ in pieces), quote=False)
