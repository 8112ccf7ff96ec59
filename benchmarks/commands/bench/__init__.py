"""`fcn bench`: throughput of every backend, under the rules that make a number worth publishing."""

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from benchmarks.commands.bench import calibrate, check, diff, replay, selftest
from benchmarks.commands.report import next_steps
from benchmarks.pages.bench_text import table
from benchmarks.pages.format import counted
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.diff import check_same_origin
from benchmarks.records.documents import Bench
from benchmarks.records.results import RESULTS, Results, new_document, read_document
from benchmarks.studies.accuracy import measure_accuracy
from benchmarks.timing.conductor import SCRATCH, run
from benchmarks.timing.machine import gpu_state
from benchmarks.timing.plan import accuracy_config, planned_rows
from benchmarks.timing.settings import QUICK, Settings, option_of, settings_from
from benchmarks.timing.settings import bench_parser as command_parser
from benchmarks.workers.environment import limit_cpus
from common.errors import InputError, printable
from common.machine.files import write_text
from common.machine.locks import only_writer
from common.options import as_typed, parsed
from common.run.folders import new_folder
from common.suggestions import unknown

TABLE = "bench.txt"
COMMANDS = {
    "calibrate": calibrate.main,
    "check": check.main,
    "diff": diff.main,
    "replay": replay.main,
    "selftest": selftest.main,
}


def main(argv: Sequence[str]) -> int:
    """Measure; status 1 if a row failed or is invalid, 2 if none could be measured at all."""
    if argv and argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:])
    if argv and not argv[0].startswith("-"):
        raise unknown("fcn bench", argv[0], COMMANDS)
    args, named = parsed(command_parser(), argv)
    if args.resume and not (args.resume / RESULTS).is_file():
        lack = f"is not the folder of a benchmark (it has no {RESULTS})"
        lack = lack if args.resume.is_dir() else "there is no such folder"
        raise InputError(f"--resume {args.resume}: {lack}: name the folder that `fcn bench` wrote")
    new = None if args.resume else settings_from(args, named)
    with only_writer(args.resume or new_folder("bench", args.out, args.force)) as folder:
        results, settings = (started(folder, new), new) if new else resumed(args, named)
        return measure(results, settings, args.json)


def measure(results: Results, settings: Settings, as_json: bool) -> int:
    """Measure what is not measured yet, write and print all; return the exit status."""
    limit_cpus(settings.threads)
    try:
        run(results)
        if settings.trains and "accuracy" not in results.document:
            measure_accuracy(results, accuracy_config(results.document["settings"]))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; go on with: fcn bench --resume {quote(str(results.folder))}"
        ) from None
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
    rows = document["rows"] + document.get("accuracy", {}).get("rows", [])
    failed = any(row["status"] in ("failed", "invalid", "differs") for row in rows)
    if rows and all(row["status"] not in ("ok", "running") for row in rows):
        reasons = list(dict.fromkeys(str(row["reason"]) for row in rows))
        others = counted(len(reasons) - 1, "other reason")
        more = f" (and {others}, above)" if len(reasons) > 1 else ""
        print(printable(f"error: no row has a figure: {reasons[0]}{more}"), file=sys.stderr)
        return 1 if failed else 2
    return int(failed)


def conclude(results: Results) -> None:
    """Compare what has been measured, write it, and check what was written.

    The page needs packages that a bare container does not have; there the table is a text file.
    """
    document, folder = results.document, results.folder
    compare_rows(document)
    results.save()
    write_text(folder / TABLE, table(document) + "\n")
    read_document(folder, Bench)
    if find_spec("jinja2") is None:
        return
    from benchmarks.pages.bench import write_page
    from benchmarks.pages.html import write_png
    from benchmarks.pages.roofline import roofline
    from benchmarks.pages.studies.accuracy import accuracy_curves

    write_png(roofline(document), folder / "roofline.png")
    write_page(document, folder / "report.html")
    if "accuracy" in document:
        write_png(accuracy_curves(document["accuracy"]), folder / "accuracy.png")


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
    if named & {"out", "force"}:
        raise InputError("--resume writes into the folder that it names: leave --out and --force")
    settings = Settings.from_json(document["settings"])
    there: Mapping[str, object] = document["settings"]
    here: Mapping[str, object] = settings_from(args, named).to_json()
    implied = QUICK.keys() if "quick" in named else set()
    for name in sorted((named | implied) & there.keys()):
        if name == "recipe" and here.get("own_recipe") != there.get("own_recipe"):
            raise InputError(
                f"--resume {args.resume}: --recipe has other fields there; leave the option out, "
                "and the recipe of the interrupted run holds"
            )
        if here[name] != there[name]:
            option = option_of(name)
            before, now = as_typed(option, there[name]), as_typed(option, here[name])
            raise InputError(
                f"--resume {args.resume}: {option.option_strings[0]} is {before} there, {now} "
                "here; leave the options out, and those of the interrupted run hold"
            )
    check_same_origin(args.resume, document)
    for left in args.resume.glob(f"{SCRATCH}*"):
        shutil.rmtree(left)
    for left in args.resume.glob(".*.partial"):
        left.unlink()
    return Results(args.resume, document), settings
