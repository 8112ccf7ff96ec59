"""`fcn bench selftest`: does the harness, on this machine, find what it must and nothing else?"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from benchmarks.pages.format import text_table
from benchmarks.timing.selftest import SELFTEST_CASE, measure, outcomes
from benchmarks.timing.settings import Settings
from benchmarks.workers.environment import limit_cpus
from common.backends import BACKENDS, check_backend
from common.errors import InputError
from common.fields import add_field_options, field_values
from common.options import Parser

LEAST_PROCESSES = 3
"""Two differ by chance so much that no test of them finds a slowdown of 5 %."""
VERDICTS = {True: "ok", False: "NO", None: "not judged"}


def command_parser() -> Parser:
    """Return the command's parser."""
    parser = Parser(
        prog="fcn bench selftest",
        description="Time a backend beside itself, beside itself made 5 % slower, without "
        "synchronisation and with another epsilon: a training at batch 2, 64x96.",
    )
    add = parser.add_argument
    add("--backend", metavar="B", help="which backend; by default the first that is installed")
    fields = ("processes", "rounds", "seconds", "device", "threads")
    add_field_options(parser, Settings, fields)
    parser.set_defaults(seconds=0.4)
    return parser


def main(argv: Sequence[str]) -> int:
    """Plant what must be found; status 1 unless all was judged and as expected."""
    args = command_parser().parse_args(argv)
    if args.processes < LEAST_PROCESSES:
        raise InputError(f"--processes {args.processes}: must be {LEAST_PROCESSES} at least")
    backend = args.backend or first_installed()
    check_backend(backend)
    settings = Settings(
        backends=(backend,),
        cases=(SELFTEST_CASE,),
        batch_sizes=(2,),
        crop=(64, 96),
        timeout=300.0,
        **field_values(args, Settings),
    )
    limit_cpus(args.threads)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), settings)
    planted = outcomes(rows)
    table = [("planted: expected", "", "seen")]
    table += [(o.expected, VERDICTS[o.passed], shorten(o.observed, 110)) for o in planted]
    print(text_table(table))
    for name, row in rows.items():
        for warning in row["warnings"]:
            print(f"{name}: {warning}")
    print(f"{BACKENDS[backend]}, {time.monotonic() - started:.0f} s")
    return int(not all(outcome.passed for outcome in planted))


def first_installed() -> str:
    """Return the first backend whose framework is installed."""
    for name in BACKENDS:
        try:
            check_backend(name)
        except InputError:
            continue
        return name
    raise InputError("no backend is installed here; `fcn doctor` says why")
