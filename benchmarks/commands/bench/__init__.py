"""`fcn bench`: throughput of every backend, under the rules that make a number worth publishing."""

import json
import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from benchmarks.commands.bench import (
    calibrate,
    check,
    diff,
    history,
    hosts,
    replay,
    scaling,
    selftest,
)
from benchmarks.commands.bench.outcome import conclude, status_of
from benchmarks.commands.bench.resume import check_options
from benchmarks.commands.report import next_steps
from benchmarks.commands.trainings import resumable
from benchmarks.pages.bench_text import table
from benchmarks.records.comparisons import is_early
from benchmarks.records.diff import check_same_origin
from benchmarks.records.documents import Bench
from benchmarks.records.machines.kinds import PLAN
from benchmarks.records.results import RESULTS, Results, new_document, read_document
from benchmarks.studies.accuracy import measure_accuracy
from benchmarks.timing.conductor import SCRATCH, run
from benchmarks.timing.machine import gpu_state
from benchmarks.timing.plan import accuracy_config, planned_rows
from benchmarks.timing.settings import Settings, settings_from
from benchmarks.timing.settings import bench_parser as command_parser
from benchmarks.workers.environment import limit_cpus
from common.errors import InputError
from common.machine.locks import only_writer
from common.options import parsed
from common.run.folders import new_folder
from common.suggestions import unknown

COMMANDS = {
    "calibrate": calibrate.main,
    "check": check.main,
    "diff": diff.main,
    "history": history.main,
    "replay": replay.main,
    "scaling": scaling.main,
    "selftest": selftest.main,
}


def main(argv: Sequence[str]) -> int:
    """Measure; status 1 if a row failed or is invalid, 2 if none could be measured at all."""
    if argv and argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    if argv and not argv[0].startswith("-"):
        raise unknown("fcn bench", argv[0], COMMANDS)
    args, named = parsed(command_parser(), argv)
    if args.address is not None:
        return hosts.main(args, named)
    if args.resume and (args.resume / PLAN).is_file():
        raise InputError(
            f"--resume {args.resume}: was measured on the hosts of a cluster: add --address"
        )
    if args.resume and not (args.resume / RESULTS).is_file():
        lack = f"is not the folder of a benchmark (it has no {RESULTS})"
        lack = lack if args.resume.is_dir() else "there is no such folder"
        raise InputError(f"--resume {args.resume}: {lack}: name the folder that `fcn bench` wrote")
    new = None if args.resume else settings_from(args, named)
    out = args.resume or new_folder("bench", args.out, args.force)
    if (out / PLAN).exists():
        raise InputError(f"--out {out}: holds {PLAN}, whose page would be lost; choose another")
    with only_writer(out) as folder:
        results, settings = (started(folder, new), new) if new else resumed(args, named)
        return measure(results, settings, args.json)


def measure(results: Results, settings: Settings, as_json: bool) -> int:
    """Measure what is not measured yet, write and print all; return the exit status."""
    limit_cpus(settings.threads)
    try:
        with resumable("bench", results.folder):
            run(results)
            if settings.trains and "accuracy" not in results.document:
                measure_accuracy(results, accuracy_config(results.document["settings"]))
    finally:  # However it ends, what has been measured is compared and shown.
        conclude(results)
    document = results.document
    folder = quote(str(results.folder))
    if as_json:
        print(json.dumps(document))
    else:
        print(table(document))
        print(f"{folder} has the page report.html, bench.json with every sample, bench.txt, logs/")
        print(f"next: {next_steps(results.folder, RESULTS)}")
    return status_of([document])


def started(out: Path, settings: Settings) -> Results:
    """Return new results with nothing measured, in a folder that is free for them."""
    for old in out.glob("accuracy/*/seed-*.json"):  # Only a resumed benchmark goes on with them.
        old.unlink()
    record = settings.to_json()
    document = new_document(record, planned_rows(record))
    document["gpu"] = None if settings.device == "cpu" else gpu_state()
    results = Results(out, document)
    results.save()
    return results


def resumed(args: Namespace, named: set[str]) -> tuple[Results, Settings]:
    """Return the results of an interrupted benchmark and its settings, which hold.

    Raises:
        InputError: If an option says otherwise, or this is another machine or commit.
    """
    document = read_document(args.resume, Bench)
    if "hosts" in document:
        raise InputError(
            f"--resume {args.resume}: is of one kind of the machines that a cluster has: name the "
            "folder above it, and add --address"
        )
    if is_early(document["settings"]):
        raise InputError(f"--resume {args.resume}: was begun by an earlier `fcn bench`; begin anew")
    check_options(args, named, document["settings"])
    check_same_origin(args.resume, document)
    for left in args.resume.glob(f"{SCRATCH}*"):
        shutil.rmtree(left)
    for left in args.resume.glob(".*.partial"):
        left.unlink()
    return Results(args.resume, document), Settings.from_json(document["settings"])
