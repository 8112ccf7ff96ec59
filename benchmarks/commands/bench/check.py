"""`fcn bench check FILE`: a results file of any machine, its table and what is wrong with it."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.pages.bench_text import few_processes, markdown, not_closed, table
from benchmarks.pages.calibration.text import calibration_markdown, calibration_text
from benchmarks.pages.studies.words import study_markdown, study_text
from benchmarks.records.calibration.check import problems as problems_of_calibration
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import outcomes
from benchmarks.records.check import problems, problems_of_study
from benchmarks.records.documents import Bench
from benchmarks.records.results import CALIBRATION, STUDY, can_check_schema, kind_of, read_document
from benchmarks.records.training_documents import Study
from common.errors import InputError
from common.options import Parser

CHECKED = "follows the schema"


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn bench check", description="Check a results file and show its table.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="bench.json, study.json or calibration.json, or the folder that holds it",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print Markdown: of a benchmark the rows of train, of a study its scores and tests",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Check and show a results file; status 1 if it contradicts the rules or itself."""
    args = command_parser().parse_args(argv)
    kind = kind_of(args.file)
    if kind == STUDY:
        return check_study(args.file, args.markdown)
    if kind == CALIBRATION:
        return check_calibration(args.file, args.markdown)
    document = read_document(args.file, Bench)
    try:
        lines = problems(document)
        text = markdown(document) if args.markdown else table(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if can_check_schema():
            raise
        raise InputError(f"{args.file}: does not follow the schema ({error!r})") from error
    notes = [note for note in (few_processes(document), not_closed(document)) if note]
    schema = CHECKED if can_check_schema() else "(schema unchecked: no jsonschema)"
    return show(args.file, text, lines, args.markdown, notes, schema)


def check_study(path: Path, is_markdown: bool) -> int:
    """Check and show a study; status 1 if it contradicts the rules or itself."""
    study = read_document(path, Study)
    words = study_markdown if is_markdown else study_text
    return show(path, words(study), problems_of_study(study), is_markdown)


def check_calibration(path: Path, is_markdown: bool) -> int:
    """Compute a calibration's shares again and show them; status 1 if it contradicts itself."""
    calibration = read_document(path, Calibration)
    words = calibration_markdown if is_markdown else calibration_text
    text = words(calibration, outcomes(calibration))
    return show(path, text, problems_of_calibration(calibration), is_markdown)


def show(
    path: Path,
    text: str,
    wrong: Iterable[str],
    is_markdown: bool,
    notes: Iterable[str] = (),
    schema: str = CHECKED,
) -> int:
    """Print a document and what was found of it; return status 1 if it has problems.

    Args:
        path: Its file.
        text: The document as text, or as Markdown, beside which all else is no part of the output.
        wrong: The problems.
        notes: What is worth knowing and no problem.
        schema: How the document and its schema agree, in words.
    """
    found = [f"problem: {line}" for line in wrong]
    lines = [*found, *(f"note: {note}" for note in notes)]
    if not found and not is_markdown:
        lines.append(f"{path}: {schema} and agrees with itself")
    print(text)
    for line in lines:
        print(line, file=sys.stderr if is_markdown else sys.stdout)
    return int(bool(found))
