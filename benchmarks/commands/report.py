"""`fcn report`: the page of a comparison or a benchmark again, from its stored results."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages import bench, compare
from benchmarks.records.documents import Bench
from benchmarks.records.results import RESULTS, can_check_schema, read_document
from benchmarks.records.training_documents import Compared
from common.errors import InputError
from common.machine.files import write_text
from common.options import Parser

COMPARISON = "compare.json"


def write_report(folder: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write ``folder/report.html`` from the results in ``folder`` and return its path.

    Args:
        beside: Other benchmarks' results, of any machine, that stand on a benchmark's page too.

    Raises:
        InputError: Where results are missing, of another version, or against the schema.
    """
    page = folder / "report.html"
    if is_bench(folder):
        return bench.write_page(read_document(folder, Bench), page, beside)
    write_text(page, compare.render_page(read_document(folder, Compared), folder))
    return page


def is_bench(folder: Path) -> bool:
    """Return whether a folder holds a benchmark's results, and not a comparison's.

    Raises:
        InputError: If it holds neither, or both: both would be ``report.html``.
    """
    holds_bench, holds_comparison = (folder / RESULTS).is_file(), (folder / COMPARISON).is_file()
    if not holds_bench and not holds_comparison:
        raise InputError(
            f"{folder}: holds no {RESULTS} and no {COMPARISON}; name a folder that `fcn bench` or "
            "`fcn compare` wrote"
        )
    if holds_bench and holds_comparison:
        raise InputError(
            f"{folder}: holds {RESULTS} and {COMPARISON}, and has room for one page; "
            "move one of them to a folder of its own"
        )
    return holds_bench


def main(argv: Sequence[str]) -> int:
    """Write the page of every named comparison or benchmark again."""
    parser = Parser(
        prog="fcn report",
        description="Write the page of a comparison or a benchmark again from its stored results.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="what `fcn compare` or `fcn bench` left in --out",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a benchmark's results (bench.json or its folder), of any machine, to stand on the "
        "page of the one in DIR; may be repeated",
    )
    args = parser.parse_args(argv)
    others = [folder for folder in args.folders if not is_bench(folder)]
    if args.beside and others:
        raise InputError(f"--beside: {others[0]} holds no {RESULTS} for it to stand beside")
    if args.beside and not can_check_schema():
        raise InputError(
            "--beside: other people's results are checked by jsonschema, which is not installed; "
            "`uv sync` installs it"
        )
    beside = [read_document(path, Bench) for path in args.beside]
    for folder in args.folders:
        print(write_report(folder, beside))
    return 0
