"""Definitions of a source file, read and not imported: their heads and docstrings."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

Named = ast.FunctionDef | ast.ClassDef
LONGEST = 88
"""Columns of a constant's line; of a longer one its name alone is shown."""


class Definition(NamedTuple):
    """A function, a class, a method or a constant.

    Attributes:
        name: Of a method, after that of its class and a dot.
        head: Its source up to its docstring; of a class with its fields.
        text: Its docstring, or the one below a constant.
    """

    name: str
    head: str
    text: str


def definitions(file: Path) -> Iterator[Definition]:
    """Yield the public definitions of a file, in its order, methods after their class."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    yield from of_body(ast.parse(source).body, lines)


def of_body(body: list[ast.stmt], lines: list[str], owner: str = "") -> Iterator[Definition]:
    """Yield the public definitions of a module or, below ``owner``, of a class."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, Named) and not node.name.startswith("_"):
            text = "\n\n".join(filter(None, [ast.get_docstring(node), text_of_fields(node)]))
            yield Definition(f"{owner}{node.name}", head_of(node, lines), text)
            if isinstance(node, ast.ClassDef):
                yield from of_body(node.body, lines, f"{node.name}.")
        elif not owner and (name := constant(node)) and not name.startswith("_"):
            yield Definition(name, line_of(node, name), text_of(after))


def constant(node: ast.stmt) -> str:
    """Return the name that a statement gives a value; nothing where it is no such statement."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return targets[0].id if targets and isinstance(targets[0], ast.Name) else ""


def line_of(node: ast.stmt, name: str) -> str:
    """Return a constant's line; without its value where that is long."""
    line = ast.unparse(node)
    if len(line) <= LONGEST and "\n" not in line:
        return line
    return f"{name}: {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else name


def text_of(node: ast.stmt | None) -> str:
    """Return the docstring that a statement is, below a constant."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split("\n"))
    return ""


def head_of(node: Named, lines: list[str]) -> str:
    """Return the source of a definition up to its body, and of a class its fields."""
    first = node.body[0]
    head = lines[node.lineno - 1 : max(node.lineno, first.lineno - 1)]
    head = [line[node.col_offset :] for line in head]
    if isinstance(node, ast.ClassDef):
        head += [f"    {line_of_field(part)}" for part in fields_of(node)]
    else:
        head[-1] = head[-1].rstrip(":")
    decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
    return "\n".join([*decorators, *head])


def fields_of(node: Named) -> list[ast.AnnAssign]:
    """Return the fields of a class; a function has none."""
    return [part for part in node.body if isinstance(part, ast.AnnAssign)]


def line_of_field(field: ast.AnnAssign) -> str:
    """Return a field's line; of one that is an option too, with its default alone."""
    if not is_option(field.value):
        return ast.unparse(field)
    line = f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}"
    defaults = [word.value for word in field.value.keywords if word.arg == "default"]
    return " = ".join([line, *map(ast.unparse, defaults)])


def text_of_fields(node: Named) -> str:
    """Return what the options say that fields of a class are, in the form of a docstring."""
    lines = [
        f"    {ast.unparse(field.target)}: {field.value.args[0].value}"
        for field in fields_of(node)
        if is_option(field.value) and field.value.args
        if isinstance(field.value.args[0], ast.Constant)
    ]
    return "\n".join(["Fields:", *lines]) if lines and isinstance(node, ast.ClassDef) else ""


def is_option(value: ast.expr | None) -> TypeGuard[ast.Call]:
    """Return whether a field's value is made by `option` of `common/fields.py`."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "option"
    )
