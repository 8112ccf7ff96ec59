"""`fcn bench history DIR...`: several stored benchmarks over time, as one page."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands.bench.diff import tell_of_problems
from benchmarks.commands.bench.replay import command_line, options_of, variables_of
from benchmarks.pages.history.page import render_page
from benchmarks.pages.history.words import verdict
from benchmarks.records.documents import Bench
from benchmarks.records.history.lines import history_of, stored_benchmarks
from common.machine.files import write_text
from common.options import Parser


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench history",
        description="Write one page over many stored benchmarks: for each row that several have "
        "measured on one kind of machine, a line from file to file, with the versions and the "
        "commit of each, and which steps of it are changes.",
    )
    parser.add_argument(
        "places",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="what `fcn bench` left in --out, or a folder with such folders below",
    )
    text = "the page; by default runs/history.html"
    page = Path("runs/history.html")
    parser.add_argument("--out", type=Path, default=page, metavar="FILE", help=text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Write the page and print its verdict."""
    args = command_parser().parse_args(argv)
    files = stored_benchmarks(args.places)
    for stored in files:
        tell_of_problems(stored.path, stored.document)
    history = history_of(files)
    commands = [command_of(stored.document) for stored in history.files]
    write_text(args.out, render_page(history, commands))
    print(verdict(history))
    print(args.out)
    return 0


def command_of(document: Bench) -> str:
    """Return the command that a file's settings and variables state."""
    return command_line(variables_of(document), options_of(document, "FILE"))
