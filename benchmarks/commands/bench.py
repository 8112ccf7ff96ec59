"""`fcn bench`: throughput of every backend, under the rules that make a number worth publishing."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks.pages.bench_text import table
from benchmarks.records import check as bench_check
from benchmarks.records import diff as bench_diff
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.diff import unlike
from benchmarks.records.results import Results, new_document, read_results
from benchmarks.timing import selftest
from benchmarks.timing.conductor import SCRATCH, run
from benchmarks.timing.machine import gpu_state
from benchmarks.timing.settings import SETTINGS, WITHOUT_EFFECT, parsed, settings_from
from benchmarks.workers.environment import limit_cpus
from common.config import Config
from common.data.synthetic import default_dataset
from common.errors import InputError
from common.machine.files import write_text
from common.machine.provenance import git_commit, hardware
from common.recipes import make_recipe
from common.run.folders import check_out

TABLE = "bench.txt"


def main(argv: Sequence[str]) -> int:
    """Measure; status 1 if a row failed or is invalid."""
    commands = {"check": bench_check.check, "diff": bench_diff.diff, "selftest": selftest.main}
    if argv and argv[0] in commands:
        return commands[argv[0]](argv[1:])
    args, given = parsed(argv)
    results = resumed(args, given) if args.resume else started(args, given)
    limit_cpus(results.document["settings"]["threads"])
    try:
        run(results)
        measure_accuracy(results)
    except KeyboardInterrupt:
        print(f"go on with: fcn bench --resume {results.folder}", file=sys.stderr)
        raise
    finally:  # However it ends, what has been measured is compared and shown.
        conclude(results)
    document = results.document
    if args.json:
        print(json.dumps(document))
    else:
        print(table(document))
        print(f"results: {results.folder}")
    rows = document["rows"] + document.get("accuracy", {}).get("rows", [])
    return int(any(row["status"] in ("failed", "invalid", "differs") for row in rows))


def measure_accuracy(results: Results) -> None:
    """Train every backend from as many seeds as there are rounds, on a generated data set."""
    from benchmarks.timing.accuracy import run_accuracy, write_gallery

    settings = results.document["settings"]
    if "accuracy" not in settings["cases"] or "accuracy" in results.document:
        return
    config = Config(
        make_recipe("generated", backbone=settings["backbone"]),
        seed=settings["seed"],
        device=settings["device"],
        precision=settings["precisions"][0],
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )
    data, out = default_dataset(results.folder / "data"), results.folder / "accuracy"
    found = run_accuracy(
        *(settings["backends"], config, data, out, settings["rounds"]),
        pythons=settings["pythons"],
        silence=settings["timeout"],
    )
    found["gallery"] = write_gallery(results.folder, data, config, found["rows"])
    results.document["accuracy"] = found
    results.save()


def conclude(results: Results) -> None:
    """Compare what has been measured, write it, and check what was written.

    The page needs packages that a bare container has not; there the table is a text file alone.
    """
    document, folder = results.document, results.folder
    compare_rows(document)
    results.save()
    write_text(folder / TABLE, table(document) + "\n")
    read_results(folder)
    if find_spec("jinja2") is None:
        return
    from benchmarks.pages.accuracy import draw_accuracy
    from benchmarks.pages.bench import write_page
    from benchmarks.pages.roofline import draw_roofline

    draw_roofline(document, folder / "roofline.png")
    write_page(document, folder / "report.html")
    if "accuracy" in document:
        draw_accuracy(document["accuracy"], folder / "accuracy.png")


def started(args: Namespace, given: set[str]) -> Results:
    """Check all options and return new results with nothing measured."""
    settings = settings_from(args)
    idle = given.intersection(*(WITHOUT_EFFECT.get(case, set()) for case in settings["cases"]))
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(idle))
        cases = ",".join(settings["cases"])
        raise InputError(f"{names}: without effect on --cases {cases}; leave it out")
    out = args.out or Path("runs") / f"bench-{datetime.now():%Y%m%d-%H%M%S}"
    check_out(out, args.force)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("accuracy/*/seed-*.json"):  # Only a resumed benchmark goes on with them.
        old.unlink()
    document = new_document(settings)
    document["gpu"] = None if settings["device"] == "cpu" else gpu_state()
    results = Results(out, document)
    results.save()
    return results


def resumed(args: Namespace, given: set[str]) -> Results:
    """Return the results of an interrupted benchmark; its own settings hold.

    Raises:
        InputError: If an option says otherwise, or this is another machine or commit.
    """
    document = read_results(args.resume)
    settings = document["settings"]
    if given & {"out", "force"}:
        raise InputError("--resume writes into the folder that it names: leave --out and --force")
    asked = settings_from(args)
    names = {setting for option in given for setting in SETTINGS.get(option, (option,))}
    for name in sorted(names & settings.keys()):
        if asked[name] != settings[name]:
            raise InputError(
                f"--resume {args.resume}: {name} is {settings[name]} there, {asked[name]} here; "
                "leave the options out, and those of the interrupted run hold"
            )
    if different := unlike(document, {"hardware": hardware()}):
        raise InputError(f"--resume {args.resume}: of another machine: {different}")
    commit = git_commit()
    if commit and document["commit"] and commit != document["commit"]:
        raise InputError(
            f"--resume {args.resume}: begun at commit {document['commit']}, this is {commit}"
        )
    for left in args.resume.glob(f"{SCRATCH}*"):
        shutil.rmtree(left)
    for left in args.resume.glob(".*.partial"):
        left.unlink()
    return Results(args.resume, document)
