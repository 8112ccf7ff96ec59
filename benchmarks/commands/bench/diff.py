"""`fcn bench diff OLD NEW`: which rows changed between two results files of one machine."""

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from benchmarks.pages.format import ratio_text, text_table
from benchmarks.pages.history.words import change_finding, differences
from benchmarks.records.check import problems
from benchmarks.records.diff import Change, changes, unlike
from benchmarks.records.documents import Bench
from benchmarks.records.results import read_document
from benchmarks.records.statistics import UNPAIRED_TEST
from benchmarks.timing.tracks import WITHOUT_SHORT_SPINNING
from common.errors import InputError, notice
from common.options import Parser

HEADS = ("row", "old ms", "new ms", "new/old [95 %]", "")


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench diff",
        description=f"Say which rows changed from OLD to NEW, by {UNPAIRED_TEST}, corrected after "
        "Holm.",
    )
    parser.add_argument(
        "old", type=Path, metavar="OLD", help="bench.json, or the folder that holds it"
    )
    parser.add_argument("new", type=Path, metavar="NEW", help="likewise")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    """Compare two results files row by row.

    Raises:
        InputError: If they are of different machines, or share no row that can be compared.
    """
    args = command_parser().parse_args(argv)
    old, new = read_document(args.old, Bench), read_document(args.new, Bench)
    if different := unlike(old["hardware"], new["hardware"]):
        raise InputError(
            f"{args.old} and {args.new} are of different machines: {different}; "
            "name two files of one machine"
        )
    rows, left_out = changes(old, new)
    if not rows:
        why = "; ".join(left_out[:3]) or "they share no row"
        raise InputError(f"{args.old} and {args.new} have no rows to compare: {why}")
    for path, document in ((args.old, old), (args.new, new)):
        tell_of_problems(path, document)
    if args.json:
        described = [{**change, "said": in_words(change)} for change in rows]
        print(json.dumps({"rows": described, "left_out": left_out}, indent=2))
        return 0
    print(text_table([HEADS, *map(cells, rows)]))
    for line in left_out:
        print(f"not compared: {line}")
    if any(change["differ"] for change in rows):
        print(
            "How a machine differs from one day to the next is not in this test: where most rows "
            "moved alike, it was the machine"
        )
    if any(change["old_waiting"] != change["new_waiting"] for change in rows):
        print(
            "OpenMP's waiting differs: in PyTorch and MXNet on a CPU a part of a change may come "
            f"from it; `fcn bench --track default,{WITHOUT_SHORT_SPINNING}` measures how much"
        )
    return 0


def tell_of_problems(path: Path, document: Bench) -> None:
    """Say of a file that contradicts itself how, in a line beside the result."""
    if first := next(iter(problems(document)), ""):
        notice(f"{path}: contradicts itself: {first}; `fcn bench check {quote(str(path))}` has all")


def cells(change: Change) -> tuple[str, ...]:
    """Return the cells of one row."""
    return (
        change["key"],
        f"{change['old'] * 1000:.4g}",
        f"{change['new'] * 1000:.4g}",
        ratio_text(change),
        in_words(change),
    )


def in_words(change: Change) -> str:
    """Return what the test of a row shows, and what of versions and waiting changed."""
    others = differences(change)
    return change_finding(change) + (f" ({', '.join(others)})" if others else "")
