"""`fcn bench check FILE`: a results file of any machine, its table and what is wrong with it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.commands.bench.history import command_of
from benchmarks.pages.bench_text import (
    few_processes,
    markdown,
    not_asked,
    not_closed,
    not_compared,
    table,
)
from benchmarks.pages.calibration.page import command as calibration_command
from benchmarks.pages.calibration.text import calibration_markdown, calibration_text
from benchmarks.pages.studies import tune as searches
from benchmarks.pages.studies.command import study_command, tune_command
from benchmarks.pages.studies.words import study_markdown, study_text
from benchmarks.records.calibration.check import problems as problems_of_calibration
from benchmarks.records.calibration.documents import Calibration
from benchmarks.records.calibration.shares import outcomes
from benchmarks.records.check import problems, problems_of_search, problems_of_study
from benchmarks.records.documents import Bench
from benchmarks.records.results import (
    CALIBRATION,
    COMPARISON,
    STUDY,
    TUNE,
    can_check_schema,
    kind_of,
    read_document,
)
from benchmarks.records.training_documents import Study
from benchmarks.records.tuning_documents import Tune
from common.errors import InputError
from common.options import Parser


class Shown(NamedTuple):
    """A document as text or as Markdown.

    Attributes:
        command: That made it.
        problems: What contradicts the rules.
        notes: What is worth knowing.
    """

    text: str
    command: str
    problems: list[str]
    notes: list[str]


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(prog="fcn bench check", description="Check a results file and show its table.")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="bench.json, study.json, tune.json or calibration.json, or the folder that holds it",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print Markdown: of a benchmark the rows of train, of a study its scores and tests, "
        "of a search its trials",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Check and show a results file; status 1 if it contradicts the rules or itself."""
    args = command_parser().parse_args(argv)
    kind = kind_of(args.file)
    if kind == COMPARISON:
        raise InputError(f"{args.file}: is a comparison, which `fcn report` shows")
    readers = {STUDY: read_study, TUNE: read_search, CALIBRATION: read_calibration}
    read = readers.get(kind, read_bench)
    try:
        text, command, wrong, notes = read(args.file, args.markdown)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError) or can_check_schema():
            raise
        raise InputError(f"{args.file}: does not follow the schema ({error!r})") from error
    lines = [] if args.markdown else [f"made by: {command}"]
    lines += [f"problem: {line}" for line in wrong] + [f"note: {note}" for note in notes]
    if not wrong and not args.markdown:
        unchecked = "(schema unchecked: no jsonschema)"
        schema = "follows the schema" if can_check_schema() else unchecked
        lines.append(f"{args.file}: {schema} and agrees with itself")
    print(text)
    # Beside Markdown all else is no part of the output.
    for line in lines:
        print(line, file=sys.stderr if args.markdown else sys.stdout)
    return int(bool(wrong))


def read_bench(path: Path, is_markdown: bool) -> Shown:
    """Read a benchmark."""
    document = read_document(path, Bench)
    notes = [ask(document) for ask in (few_processes, not_closed, not_asked, not_compared)]
    text = markdown(document) if is_markdown else table(document)
    return Shown(text, command_of(document), problems(document), [note for note in notes if note])


def read_study(path: Path, is_markdown: bool) -> Shown:
    """Read a study."""
    study = read_document(path, Study)
    words = study_markdown if is_markdown else study_text
    return Shown(words(study), study_command(study), list(problems_of_study(study)), [])


def read_search(path: Path, is_markdown: bool) -> Shown:
    """Read a search."""
    tune = read_document(path, Tune)
    words = searches.search_markdown if is_markdown else searches.table
    study = searches.confirmation(tune, path if path.is_dir() else path.parent)
    return Shown(
        words(tune, study is not None), tune_command(tune), list(problems_of_search(tune)), []
    )


def read_calibration(path: Path, is_markdown: bool) -> Shown:
    """Read a calibration, and compute its shares again."""
    calibration = read_document(path, Calibration)
    words = calibration_markdown if is_markdown else calibration_text
    text = words(calibration, outcomes(calibration))
    wrong = list(problems_of_calibration(calibration))
    return Shown(text, calibration_command(calibration), wrong, [])
