"""`fcn bench scaling FILE`: what a measured step time says about many replicas."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

from benchmarks.cluster.scaling import Link, gradient_bytes, step_seconds
from benchmarks.pages.format import counted, significant, text_table
from benchmarks.records.documents import Bench, Row
from benchmarks.records.figures import recipe_of_row
from benchmarks.records.results import read_document
from common.errors import InputError
from common.options import Parser

CASE = "train"


def numbers_of(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """Return what reads positive numbers, split by commas."""

    def numbers(text: str) -> tuple[float, ...]:
        try:
            values = tuple(map(kind, text.split(",")))
        except ValueError:
            values = ()
        if not values or not all(0 < value < inf for value in values):
            raise ArgumentTypeError(f"expected numbers above 0, split by commas, not {text!r}")
        return values

    return numbers


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench scaling",
        description="Say what the training steps of a benchmark would take on many replicas, each "
        "with the whole batch of a row, that add their gradients in a ring: the time of a step, "
        "and how much of N times the speed is left. docs/SCALING.md has the model.",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="bench.json, or the folder that holds it")
    text = "GB/s that a replica sends to the next one while it receives as many"
    add(
        "--bandwidth", type=numbers_of(float), default=(450.0, 50.0, 12.5), metavar="A,B", help=text
    )
    text = "microseconds that a message takes beside its bytes"
    add("--latency", type=float, default=5.0, metavar="US", help=text)
    text = "share of a step in which gradients are added while others are computed, from 0 to 1"
    add("--overlap", type=float, default=0.0, metavar="SHARE", help=text)
    text = "how many replicas"
    add("--replicas", type=numbers_of(int), default=(2, 4, 8, 64, 512), metavar="N,N", help=text)
    return parser


def main(argv: Sequence[str]) -> int:
    """Print a table for each row of training steps with figures."""
    args = command_parser().parse_args(argv)
    if not 0 <= args.latency < inf:
        raise InputError(f"--latency {args.latency:g}: expected microseconds, 0 or more")
    if not 0 <= args.overlap <= 1:
        raise InputError(f"--overlap {args.overlap:g}: expected a share, from 0 to 1")
    document = read_document(args.file, Bench)
    rows = [row for row in document["rows"] if row["case"] == CASE and row["figures"]]
    if not rows:
        raise InputError(f"{args.file}: has no row of the case {CASE} with figures")
    print("\n\n".join(table(row, document, args) for row in rows))
    return 0


def table(row: Row, document: Bench, args: Namespace) -> str:
    """Return what a row's step time says, as lines of text."""
    size = gradient_bytes(recipe_of_row(document["settings"], row))
    assert row["figures"] is not None
    alone = row["figures"]["step_seconds"]["median"]
    lines = [["GB/s", *(counted(int(count), "replica") for count in args.replicas)]]
    for bandwidth in args.bandwidth:
        link = Link(bandwidth * 1e9, args.latency * 1e-6)
        times = [
            step_seconds(alone, size, int(count), link, args.overlap) for count in args.replicas
        ]
        cells = (f"{significant(1e3 * time)} ms, {alone / time:.0%}" for time in times)
        lines.append([f"{bandwidth:g}", *cells])
    return (
        f"{row['key']}: {significant(1e3 * alone)} ms alone, {size / 1e6:.1f} MB of gradients, "
        f"{args.latency:g} µs a message, {args.overlap:.0%} of a step overlapped\n"
        f"{text_table(lines)}"
    )
