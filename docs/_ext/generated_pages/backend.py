"""The contract of a backend: its clauses, and one package's signatures, read and not imported."""

import re
from pathlib import Path

import common
from common.backends import CONTRACT
from common.errors import InputError

from .markdown import code, docstring, fenced, page, prose
from .source import definitions

PROJECT = Path(common.__file__).parents[1]
PACKAGE = "torch_impl"
CLAUSES = PROJECT / "docs" / "ADDING_A_BACKEND.md"
INTRODUCTION = f"""\
What every package offers, by the module that has it: `CONTRACT` of `common/backends.py` lists the \
names. Signatures and docstrings are those of `{PACKAGE}`; the other packages have the same names \
with the same parameters, in the types of their frameworks. \
[Adding a backend](../ADDING_A_BACKEND.md) names the test of each clause, and what else is owed."""


def pages() -> dict[str, str]:
    """Return the page of the contract."""
    clauses = read_clauses(CLAUSES)
    sections = [
        block
        for module, names in CONTRACT.items()
        for block in module_section(module, names.split(), clauses)
    ]
    return {"reference/backend.md": page("# The contract of a backend", INTRODUCTION, *sections)}


def read_clauses(file: Path) -> dict[str, list[str]]:
    """Return what each function owes: name -> clauses, of the table in the document.

    Raises:
        InputError: If there is no such table.
    """
    text = file.read_text(encoding="utf-8")
    part = re.search(r"^## Functions\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    lines = re.findall(r"^\| (.*?) ?\| (.*?) \|", part[1], re.M) if part else []
    clauses: dict[str, list[str]] = {}
    names: list[str] = []
    for first, clause in lines[2:]:  # After the heads and the rule below them.
        names = re.findall(r"`(\w+)", first) or names  # A row without a name adds to the last.
        for name in names:
            clauses.setdefault(name, []).append(clause)
    if not clauses:
        raise InputError(f"{file}: has no table of functions below the heading Functions")
    return clauses


def module_section(module: str, names: list[str], clauses: dict[str, list[str]]) -> list[str]:
    """Return the section of a module: the signature, docstring and clauses of each name.

    Raises:
        InputError: For a name that the package does not define or the document does not have.
    """
    file = PROJECT / PACKAGE / f"{module}.py"
    offered = {each.name: each for each in definitions(file)}
    blocks = [f"## `{module}.py`"]
    for name in names:
        if name not in offered:
            raise InputError(f"{file}: lacks {name}, which CONTRACT of common/backends.py lists")
        if name not in clauses:
            raise InputError(f"{CLAUSES}: lacks a clause for {name}, which CONTRACT lists")
        owed = "\n\n".join(f"{clause[:1].upper()}{clause[1:]}." for clause in clauses[name])
        text = offered[name].text.partition("\n\n")
        said = f"*In PyTorch's package:* {prose(text[0])}" if text[0] else ""
        blocks += [
            f"(backend.{name})=\n### {code(name)}",
            fenced(without_decorators(offered[name].head), "python"),
        ]
        blocks += [owed, said, docstring(text[2])]
    return blocks


def without_decorators(head: str) -> str:
    """Return the head of a definition without what only its framework needs."""
    return "\n".join(line for line in head.splitlines() if not line.startswith("@"))
