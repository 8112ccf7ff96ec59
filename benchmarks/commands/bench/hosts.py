"""`fcn bench --address`: the same benchmark on every kind of machine of a Ray cluster."""

import json
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from shlex import quote

from benchmarks.cluster.joining import check_ray
from benchmarks.commands.bench.outcome import conclude, has_pages, status_of
from benchmarks.commands.bench.resume import check_options, read_plan
from benchmarks.commands.report import next_steps, write_report
from benchmarks.commands.trainings import way_on
from benchmarks.pages.bench_text import table
from benchmarks.records.diff import check_same_commit
from benchmarks.records.documents import Bench
from benchmarks.records.machines.kinds import gathered, kinds_in
from benchmarks.records.machines.parts import HOSTS
from benchmarks.records.results import RESULTS, Results
from benchmarks.timing.hosts import measuring_on_hosts
from benchmarks.timing.settings import settings_from
from common.errors import InputError, printable
from common.machine.locks import only_writer
from common.run.folders import new_folder


def main(args: Namespace, named: set[str]) -> int:
    """Measure; the status is that of `fcn bench`, and 1 if a host could not measure its part."""
    check_ray(f"--address {args.address}")
    if args.resume:
        settings, commit = read_plan(args.resume)
        check_options(args, named, settings)
        check_same_commit(args.resume, commit)
    else:
        settings = settings_from(args, named).to_json()
    out = args.resume or new_folder("bench", args.out, args.force)
    if (out / RESULTS).exists():
        raise InputError(f"--out {out}: holds {RESULTS}, whose page would be lost; choose another")
    more = way_on("bench", out, args.address)
    is_begun = bool(args.resume)
    documents: dict[str, Bench] = {}
    with only_writer(out):
        try:
            with measuring_on_hosts(out, settings, args.address, not is_begun) as measuring:
                is_begun = True
                measuring.follow()
        except KeyboardInterrupt:
            if not is_begun:
                raise
            raise KeyboardInterrupt(f"interrupted; {more}") from None
        finally:  # However it ends, what has been measured is compared and shown.
            if is_begun:
                documents = {kind.name: shown(kind) for kind in kinds_in(out)}
            if documents and has_pages():
                write_report(out)
    if args.json:
        print(json.dumps(documents))
    else:
        for name, document in documents.items():
            print(f"{name}\n\n{table(document)}\n")
        print(f"{quote(str(out))} has a page of all, report.html, and a folder for each kind:")
        for name in documents:
            print(f"  {name}/ has bench.json, bench.txt, report.html, hosts/")
        print(f"next: {next_steps(out / next(iter(documents)), RESULTS)}")
    for line in (problems := measuring.problems()):
        print(printable(f"error: {line}; {more}"), file=sys.stderr)
    return max(status_of([*documents.values()]), int(bool(problems)))


def shown(kind: Path) -> Bench:
    """Return a kind's benchmark as far as it is measured; its folder gets table and page."""
    results = Results(kind, gathered(kind))
    for host in results.document["hosts"]:
        if (pictures := kind / HOSTS / host / "gallery").is_dir():
            shutil.copytree(pictures, kind / "gallery", dirs_exist_ok=True)
    conclude(results)
    return results.document
