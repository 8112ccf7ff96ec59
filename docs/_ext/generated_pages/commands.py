"""The commands' pages, from their parsers."""

import argparse
import functools
import importlib
from collections.abc import Iterator

from benchmarks.cli import COMMANDS
from benchmarks.commands import bench
from benchmarks.pages.format import DASH
from common.options import HelpFormatter, Parser, as_typed

from .markdown import code, escaped, fenced, page, prose, table

WIDTH = 88
"""Columns of a usage line, whatever the terminal's."""
TITLES = {"positional arguments": "Arguments", "options": "Options"}


def pages() -> dict[str, str]:
    """Return a page for each command, and their list."""
    entries = [["command", "what it does"]]
    entries += [[f"[`fcn {name}`]({name}.md)", f"{prose(text)}"] for name, text in COMMANDS.items()]
    index = page(
        "# Commands",
        "Every command, and every option of each, as its own parser states them.",
        table(entries),
        "A bad option or a bad file ends a command with one line and status 2.",
        fenced("\n".join([":hidden:", "", *COMMANDS]), "{toctree}"),
    )
    written = {f"reference/commands/{name}.md": command_page(name) for name in COMMANDS}
    return {"reference/commands/index.md": index, **written}


def command_page(name: str) -> str:
    """Return the page of a command: its options, and those of the commands below it."""
    sections = []
    for parser in parsers(name):
        depth = 1 if parser.prog == f"fcn {name}" else 2
        sections.append(section(parser, depth))
    return page(*sections)


def parsers(name: str) -> Iterator[Parser]:
    """Yield the parser of a command and those of the commands and actions below it."""
    module = importlib.import_module(f"benchmarks.commands.{name}")
    parser: Parser = module.command_parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
    if module is bench:
        for below in bench.COMMANDS:
            module = importlib.import_module(f"benchmarks.commands.bench.{below}")
            yield module.command_parser()


def section(parser: Parser, depth: int) -> str:
    """Return a parser's description, its usage, and a table for each group of its options."""
    parser.formatter_class = functools.partial(HelpFormatter, width=WIDTH)
    usage = parser.format_usage().removeprefix("usage: ").replace("\n" + " " * 7, "\n")
    head = f"({label(parser.prog)})=\n{'#' * depth} {parser.prog}"
    blocks = [head, prose(parser.description or ""), fenced(usage)]
    for group in parser._action_groups:  # argparse has no public list of a parser's options.
        rows = [row(parser, action) for action in group._group_actions if is_shown(action)]
        if rows:
            title = TITLES.get(group.title or "", (group.title or "").capitalize())
            blocks.append(f"{'#' * (depth + 1)} {title}")
            head = "option" if title != TITLES["positional arguments"] else "argument"
            options = table([[head, "what it does", "default"], *rows])
            blocks.append(fenced(f":class: options\n\n{options}", "{table}"))
    return "\n\n".join(filter(None, blocks))


def is_shown(action: argparse.Action) -> bool:
    """Return whether an option is this command's own; actions have sections of their own."""
    return not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)


def row(parser: Parser, action: argparse.Action) -> list[str]:
    """Return an option's name, help and default; the name has a stable address."""
    name = action.option_strings[0] if action.option_strings else str(action.metavar)
    address = anchor(parser.prog, name)
    shown = code(name)
    if action.option_strings and (stand_in := values(action)):
        shown += f" {breakable(stand_in, '|')}"
    return [f'<span id="{address}"></span>{shown}', prose(action.help or ""), default(action)]


def label(prog: str) -> str:
    """Return the name by which other pages refer to a command."""
    return f"command-{prog.replace(' ', '-')}"


def anchor(prog: str, name: str) -> str:
    """Return the address of an option on its page."""
    return f"{prog.replace(' ', '-')}-{name.lower()}"


def values(action: argparse.Action) -> str:
    """Return what stands for an option's values in its help."""
    if action.nargs == 0:
        return ""
    names = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    return " ".join(names) if isinstance(names, tuple) else names


def default(action: argparse.Action) -> str:
    """Return an option's default as it is typed, or that it must be there."""
    if action.required:
        return "required"
    if action.default is None or action.default is False or action.default in ([], ()):
        return DASH
    typed = as_typed(action, action.default)
    return breakable(typed, ",") if "," in typed else code(typed)


def breakable(text: str, sign: str) -> str:
    """Return text that may go on in the next line after a sign."""
    return escaped(text).replace(sign, f"{sign}<wbr>")
