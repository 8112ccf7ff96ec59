"""Text of parsers, docstrings and schemas as Markdown."""

import re
from collections.abc import Collection, Mapping, Sequence

from benchmarks.pages.format import markdown_table

WIDE = """\
---
html_theme.sidebar_secondary.remove: true
---"""
"""Head of a page that leaves the width of the contents beside it to its tables."""
CODE = re.compile(r"``(.+?)``|`(.+?)`|(?<![\w-])(--[a-z][a-z-]*)")
"""What becomes code: a span of either docstrings or Markdown, and the name of an option."""
SECTION = re.compile(r"(\w+):\n((?: .*\n?)+)")


def code(text: str) -> str:
    """Return text as a code span."""
    return f"`{text}`"


def prose(text: str) -> str:
    """Return plain text as Markdown: what Markdown would read as its own is escaped."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts += [escaped(text[end : match.start()]), code(match[1] or match[2] or match[3])]
        end = match.end()
    return "".join([*parts, escaped(text[end:])])


def escaped(text: str) -> str:
    """Return text outside code with Markdown's signs escaped."""
    return re.sub(r"([\\*_\[\]<>$#{}~])", r"\\\1", text)


def table(lines: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """Return lines of cells in Markdown as a table; the first line is its head.

    Args:
        numbers: Columns of numbers, which stand on the right and are not broken.
    """
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    head, _, *rows = markdown_table(cells).splitlines()
    rule = ["---:" if column in numbers else "---" for column in range(len(cells[0]))]
    return "\n".join([head, f"| {' | '.join(rule)} |", *rows])


def listed_facts(facts: Mapping[str, str]) -> str:
    """Return names and values, these in Markdown, as a table without a head."""
    rows = [f"* - {name}\n  - {text}" for name, text in facts.items()]
    return fenced("\n".join([":class: facts", "", *rows]), "{list-table}")


def facts_table(blocks: Mapping[str, Mapping[str, str]]) -> str:
    """Return blocks of facts under their titles as one table."""
    lines = [["of", "what", "value"]]
    for title, facts in blocks.items():
        for number, (name, value) in enumerate(facts.items()):
            lines.append([prose(title) if number == 0 else "", prose(name), prose(value)])
    return table(lines)


def fenced(text: str, language: str = "text") -> str:
    """Return text as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def page(*blocks: str) -> str:
    """Return the text of a page, a blank line between its blocks."""
    return "\n\n".join(filter(None, blocks)) + "\n"


def docstring(text: str) -> str:
    """Return a docstring in Google's form as Markdown."""
    blocks = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("- "):
            blocks.append("\n".join(f"- {prose(entry)}" for entry in listed(paragraph)))
        elif section := SECTION.fullmatch(paragraph):
            blocks.append(f"**{section[1]}**\n\n{items(section[2])}")
        else:
            blocks.append(prose(" ".join(paragraph.split())))
    return "\n\n".join(blocks)


def listed(paragraph: str) -> list[str]:
    """Return the entries of a list, each on one line."""
    return [" ".join(entry.split()) for entry in re.split(r"^- ", paragraph, flags=re.M)[1:]]


def items(lines: str) -> str:
    """Return the entries of a docstring's section as a list."""
    entries = re.split(r"\n {4}(?! )", f"\n{lines.rstrip()}")[1:]
    return "\n".join(f"- {prose(' '.join(entry.split()))}" for entry in entries)
