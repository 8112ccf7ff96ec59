"""Which lines of several texts stand at the same height: those that are most alike."""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence

Row = dict[str, str]
"""Name of a text -> its line at this height; a text that has none there is left out."""
UNLIKE = 0.01
"""What it is worth that two lines with little in common share a row: less than a word in common."""


def rows_of(texts: Mapping[str, str]) -> list[Row]:
    """Return the rows in which the lines of all texts stand, each text's in its order."""
    rows: list[Row] = []
    for name, text in texts.items():
        rows = with_text(rows, name, text.split("\n"))
    return rows


def with_text(rows: Sequence[Row], name: str, lines: Sequence[str]) -> list[Row]:
    """Return the rows with one text more; of all ways to place its lines the one worth most."""
    worth = [[likeness(row, line) for line in lines] for row in rows]
    best = [[0.0] * (len(lines) + 1) for _ in range(len(rows) + 1)]  # From here to the end.
    for i in reversed(range(len(rows))):
        for j in reversed(range(len(lines))):
            together = best[i + 1][j + 1] + worth[i][j]
            best[i][j] = max(together, best[i + 1][j], best[i][j + 1])
    placed, i, j = [], 0, 0
    while i < len(rows) or j < len(lines):
        if j == len(lines):
            placed.append(rows[i])
            i += 1
        elif i == len(rows):
            placed.append({name: lines[j]})
            j += 1
        elif worth[i][j] and best[i][j] == best[i + 1][j + 1] + worth[i][j]:
            placed.append(rows[i] | {name: lines[j]})
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            placed.append(rows[i])
            i += 1
        else:
            placed.append({name: lines[j]})
            j += 1
    return placed


def likeness(row: Row, line: str) -> float:
    """Return how much a line has in common with the line of the row that is most like it."""
    return max(words_in_common(line, other) for other in row.values())


@functools.cache
def words_in_common(one: str, other: str) -> float:
    """Return how many words two lines share, if that is half of them; lines of none are alike."""
    a, b = words(one), words(other)
    if bool(one.strip()) != bool(other.strip()):
        return UNLIKE / 2
    common = (a & b).total()
    if 2 * common < max(a.total(), b.total()):
        return UNLIKE
    return common or UNLIKE


@functools.cache
def words(line: str) -> Counter[str]:
    """Return the words of a line, and how often it has each."""
    return Counter(re.findall(r"\w+", line))
