"""The pages of `common`'s modules, from their docstrings."""

import ast
from pathlib import Path

import common

from .markdown import code, docstring, fenced, page, prose, table
from .source import Definition, definitions

ROOT = Path(common.__file__).parent
ROOMS = ("", "data", "data/formats", "data/shards", "machine", "parameters", "reference", "run")
INTRODUCTION = """\
The code that the four packages share. It is NumPy: none of it imports a framework. A page for \
each module has its public functions, classes and constants."""


def pages() -> dict[str, str]:
    """Return a page for each module, and their list by room."""
    written = {f"reference/api/{module}.md": module_page(module) for module in all_modules()}
    entries = [f"{module.removeprefix('common.')} <{module}>" for module in all_modules()]
    toctree = fenced("\n".join([":hidden:", "", *entries]), "{toctree}")
    rooms = [room_section(room) for room in ROOMS]
    index = page("# Functions of `common`", INTRODUCTION, *rooms, toctree)
    return {"reference/api/index.md": index, **written}


def all_modules() -> list[str]:
    """Return the name of each module, room by room."""
    return [module for room in ROOMS for module in modules(room)]


def modules(room: str) -> list[str]:
    """Return the names of the modules of a room that define anything."""
    files = sorted((ROOT / room).glob("*.py"))
    prefix = f"common.{room.replace('/', '.')}." if room else "common."
    return [f"{prefix}{file.stem}" for file in files if file.stem != "__init__"]


def room_section(room: str) -> str:
    """Return the list of a room's modules, each with its first sentence."""
    lines = [["module", "what it has"]]
    for module in modules(room):
        name = module.rpartition(".")[2]
        lines.append([f"[{code(name)}]({module}.md)", prose(summary(path_of(module)))])
    folder = "/".join(filter(None, ("common", room)))
    return f"## `{folder}/`\n\n{prose(summary(ROOT / room / '__init__.py'))}\n\n{table(lines)}"


def path_of(module: str) -> Path:
    """Return the file of a module."""
    return ROOT.parent / f"{module.replace('.', '/')}.py"


def summary(file: Path) -> str:
    """Return the first paragraph of a file's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def module_page(module: str) -> str:
    """Return the page of a module: each public definition with its head and its docstring."""
    file = path_of(module)
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    offered = [each for each in definitions(file) if each.text]
    sections = [section(each, address(module, offered, each)) for each in offered]
    return page(f"({module})=\n# {prose(module)}", docstring(text), *sections)


def address(module: str, offered: list[Definition], definition: Definition) -> str:
    """Return the address of a definition: its full name, which differs not in case alone."""
    names = [each.name.lower() for each in offered]
    place = names[: offered.index(definition)].count(definition.name.lower())
    name = f"{module}.{definition.name}".lower()
    return f"{name}-{place + 1}" if place else name


def section(definition: Definition, address: str) -> str:
    """Return the section of one definition."""
    level = "###" if "." in definition.name else "##"
    head = f"({address})=\n{level} {code(definition.name)}"
    return page(head, fenced(definition.head, "python"), docstring(definition.text))
