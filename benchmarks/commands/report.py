"""`fcn report`: the page of stored results, written again from them."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from benchmarks.pages import bench, compare
from benchmarks.pages.calibration import page as calibration
from benchmarks.pages.calibration.curves import write_curves
from benchmarks.pages.picture import gallery_of, write_picture
from benchmarks.pages.studies import page as study
from benchmarks.pages.studies import tune
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import outcomes
from benchmarks.records.documents import Bench
from benchmarks.records.machines.kinds import kinds_in
from benchmarks.records.results import (
    CALIBRATION,
    COMPARISON,
    RESULTS,
    STUDY,
    TUNE,
    can_check_schema,
    kind_of,
    read_document,
)
from benchmarks.records.training_documents import Compared, Study
from benchmarks.records.tuning_documents import Tune
from common.errors import InputError
from common.machine.files import write_text
from common.options import Parser

NEXT = {
    RESULTS: "`fcn bench diff OLD {place}` says what changed since an earlier benchmark",
    COMPARISON: "`fcn bench` times the backends in turns; "
    "`fcn parity --out {place}/parity && fcn report {place}` adds the whole proof",
    STUDY: "`fcn bench check {place}` computes every test again from the stored scores",
    TUNE: "`fcn bench check {place}` shows its best trials",
    CALIBRATION: "`fcn bench calibrate --resume {place} --minutes M` measures longer",
}
"""The file of results in the folder ``place`` -> what to do next."""


def write_report(folder: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write ``folder/report.html`` from the results in ``folder`` and return its path.

    Raises:
        InputError: As ``render_report``.
    """
    page = folder / "report.html"
    write_text(page, render_report(folder, beside))
    return page


def render_report(folder: Path, beside: Sequence[Bench] = ()) -> str:
    """Return the page of the results in ``folder``.

    Args:
        beside: Other benchmarks' results, of any machine, that stand on a benchmark's page too.

    Raises:
        InputError: Where results are missing, of another version, or against the schema.
    """
    if machines := kinds_in(folder):
        first, *others = [read_document(machine, Bench) for machine in machines]
        return bench.render_page(first, machines[0], [*others, *beside])
    kind = kind_of(folder)
    if kind == RESULTS:
        return bench.render_page(read_document(folder, Bench), folder, beside)
    if kind == STUDY:
        return study.render_page(read_document(folder, Study), folder)
    if kind == TUNE:
        return tune.render_page(read_document(folder, Tune), folder)
    if kind == CALIBRATION:
        return calibration.render_page(read_document(folder, Calibration))
    return compare.render_page(read_document(folder, Compared), folder)


def next_steps(folder: Path, results: str) -> str:
    """Return what to do next with a folder of results, whose file is ``results``."""
    return NEXT[results].format(place=quote(str(folder)))


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn report",
        description="Write the page of a comparison, a benchmark, a study, a search or a "
        "calibration again from its stored results.",
    )
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="what `fcn compare`, `fcn bench`, `fcn study`, `fcn tune` or `fcn bench calibrate` "
        "left in --out",
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
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="write a PNG, not the page: the predictions of a comparison, a benchmark or a study "
        "in DIR, or how often a calibration's designs find a slowdown",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Write the page of every named folder of results again."""
    args = command_parser().parse_args(argv)
    if args.picture:
        return draw(args.folders, args.picture)
    others = [folder for folder in args.folders if results_of(folder) != RESULTS]
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
    for folder in args.folders:
        for place in kinds_in(folder) or [folder]:
            print(f"next: {next_steps(place, results_of(place))}")
    return 0


def results_of(folder: Path) -> str:
    """Return which of ``PAGES`` a folder holds, that of several machines a benchmark's."""
    return RESULTS if kinds_in(folder) else kind_of(folder)


def draw(folders: Sequence[Path], picture: Path) -> int:
    """Write the gallery of a folder's results, or a calibration's curves, as a picture."""
    if len(folders) > 1:
        raise InputError(f"--picture: shows one folder's results, and {len(folders)} are named")
    (folder,) = folders
    kind = kind_of(folder)
    if kind == CALIBRATION:
        write_curves(outcomes(read_document(folder, Calibration)), picture)
        print(picture)
        return 0
    if kind == RESULTS:
        items = gallery_of(read_document(folder, Bench), folder)
    elif kind == COMPARISON:
        items = gallery_of(read_document(folder, Compared), folder)
    elif kind == STUDY:
        items = gallery_of(read_document(folder, Study), folder)
    else:
        raise InputError(f"--picture: {folder} holds no predictions and no calibration")
    write_picture(items, picture)
    print(picture)
    return 0
