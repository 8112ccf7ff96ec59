"""`fcn bench calibrate`: how often does the harness err, on this machine?"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from benchmarks.commands.bench.selftest import first_installed
from benchmarks.commands.report import next_steps
from benchmarks.commands.trainings import check_above_zero, check_goes_on, resumable
from benchmarks.pages.calibration.text import calibration_text
from benchmarks.records.calibration.documents import Budget, Calibration
from benchmarks.records.calibration.shares import outcomes
from benchmarks.records.diff import check_same_origin
from benchmarks.records.results import CALIBRATION, check_page_free, read_document
from benchmarks.timing.calibration import measure_groups, new_calibration
from benchmarks.timing.settings import Settings, interpreter
from benchmarks.workers.client import WorkerFailed
from benchmarks.workers.environment import limit_cpus
from common.backends import check_backend
from common.errors import printable
from common.fields import add_field_options, field_values
from common.machine.files import write_json, write_text
from common.machine.locks import only_writer
from common.options import Parser, add_result_options, parsed
from common.run.folders import new_folder

CASES = ("train", "predict", "upsample", "loss")
MINUTES = 60.0
"""Where neither minutes nor comparisons are said."""
GOES_ON = {"resume", "minutes", "comparisons", "json"}
"""Options that may be said when a calibration goes on."""


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench calibrate",
        description="Measure how often the harness calls a backend different from itself, and how "
        "often it finds it when it is 1, 2, 5 or 10 % slower: groups of fresh processes, at batch "
        "2, 64x96. Nothing else may use the machine meanwhile.",
    )
    add = parser.add_argument
    add("--backend", metavar="B", help="which backend; by default the first that is installed")
    add("--case", default=CASES[0], choices=CASES, help="what is timed")
    text = f"begin no group after so many minutes; by default {MINUTES:g}, unless --comparisons is "
    add("--minutes", type=float, metavar="M", help=f"{text}said")
    text = "begin no group after so many comparisons of the backend with itself: two a group, also "
    text += "of one that is left out because others disturbed it"
    add("--comparisons", type=int, metavar="N", help=text)
    add_field_options(
        parser, Settings, ("rounds", "seconds", "seed", "device", "threads", "timeout")
    )
    parser.set_defaults(seconds=0.2, timeout=300.0)
    text = "an interpreter of its own for the backend"
    add("--python", action="append", metavar="BACKEND=PATH", help=text)
    text = "go on with an interrupted calibration, or longer with --minutes or --comparisons"
    add("--resume", type=Path, metavar="DIR", help=text)
    add_result_options(parser, "calibration")
    return parser


def main(argv: Sequence[str]) -> int:
    """Calibrate; status 1 if a group has no figure."""
    args, named = parsed(command_parser(), argv)
    check_above_zero(args, "minutes", "comparisons")
    if args.resume:
        calibration, out = resumed(args, named), args.resume
    else:
        calibration = begun(args)
        out = new_folder("calibration", args.out, args.force)
        check_page_free(out, CALIBRATION)
    with only_writer(out) as folder:
        write_json(folder / CALIBRATION, calibration)
        limit_cpus(calibration["settings"]["threads"])
        try:
            with resumable("bench calibrate", folder):
                measure_groups(calibration, folder)
        except WorkerFailed as error:
            print(printable(f"error: {error}"), file=sys.stderr)
            return 1
        finally:
            conclude(calibration, folder, args.json)
    return 0


def begun(args: Namespace) -> Calibration:
    """Return a new calibration with the settings that options state.

    Raises:
        InputError: For a value that cannot be.
    """
    pythons = dict(interpreter(text) for text in args.python or ())
    backend = args.backend or next(iter(pythons), None) or first_installed()
    if backend not in pythons:
        check_backend(backend)
    settings = Settings(
        backends=(backend,),
        cases=(args.case,),
        batch_sizes=(2,),
        crop=(64, 96),
        processes=1,  # A group has many rows of one process each.
        pythons=pythons,
        **field_values(args, Settings),
    )
    return new_calibration(settings, budget_of(args))


def budget_of(args: Namespace) -> Budget:
    """Return when a calibration shall end."""
    hours = args.minutes is None and args.comparisons is None
    return {"minutes": MINUTES if hours else args.minutes, "comparisons": args.comparisons}


def resumed(args: Namespace, named: set[str]) -> Calibration:
    """Return the calibration that is gone on with.

    Raises:
        InputError: If there is none, an option would change it, or this is another machine or
            commit.
    """
    check_goes_on(args.resume, named, GOES_ON)
    calibration = read_document(args.resume, Calibration)
    check_same_origin(args.resume, calibration)
    if named & {"minutes", "comparisons"}:
        calibration["budget"] = budget_of(args)
    return calibration


def conclude(calibration: Calibration, folder: Path, as_json: bool) -> None:
    """Print what has been measured, and write its page if the packages for one are installed."""
    results = outcomes(calibration)
    print(json.dumps(calibration) if as_json else calibration_text(calibration, results))
    if find_spec("jinja2") is not None:
        from benchmarks.pages.calibration.page import render_page

        write_text(folder / "report.html", render_page(calibration, results))
    if not as_json:
        print(f"{quote(str(folder))} has the page report.html and {CALIBRATION} with every sample")
        print(f"next: {next_steps(folder, CALIBRATION)}")
