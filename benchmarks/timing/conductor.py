"""The parent of a benchmark: starts workers, gives each its turn, writes every sample at once."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from benchmarks.cases import CASES
from benchmarks.records.documents import Row
from benchmarks.records.figures import highest
from benchmarks.records.machines.documents import BackendRates
from benchmarks.records.results import Results
from benchmarks.timing.group.processes import run_group
from benchmarks.timing.members import say, start_worker
from benchmarks.timing.plan import config_of, groups
from benchmarks.workers.client import WorkerFailed
from common.errors import InputError
from common.machine.progress import waiting_shown

SCRATCH = "scratch-"
"""Beginning of the name of a group's folder of arrays, which lies in the results' folder."""


def run(results: Results) -> None:
    """Measure all rows that are not finished; every sample is written as soon as it is there.

    Raises:
        KeyboardInterrupt: What has been measured is written.
    """
    for rows in groups(results.document):
        first = rows[0]
        measure_limits(results, first)
        config = config_of(results.document["settings"], first)
        say(f"{first['case']} batch {first['batch_size']} {first['precision']}")
        # In the results' folder, so that a benchmark that goes on after a kill can delete it.
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=results.folder) as folder:
            run_group(results, rows, config, Path(folder).resolve(), {})


def measure_limits(results: Results, row: Row) -> None:
    """Let every backend measure the rates that a row is held to, and keep the best.

    They are measured just before the first row that needs them, so that an interrupted benchmark
    has spent no time on the limits of later rows.
    """
    settings, limits = results.document["settings"], results.document["limits"]
    seconds, timeout = settings["seconds"], settings["timeout"]
    name, _ = CASES[row["case"]].limit(row["precision"], row["variant"])
    if name in limits:
        return
    config = replace(config_of(settings, row), devices=1)
    by_backend: list[BackendRates] = []
    rates: Any
    for backend in settings["backends"]:
        say(f"limits {name} {backend}")
        try:
            with (
                waiting_shown(f"limits {name} {backend}"),
                start_worker(results, backend, f"limits-{backend}", config.threads) as worker,
            ):
                rates = worker.ask(
                    "timing.limits.measure", timeout, config=config.to_json(), seconds=seconds
                )
        except (InputError, WorkerFailed) as error:
            rates = {"reason": str(error)}
        by_backend.append(cast(BackendRates, {"backend": backend, **rates}))
    limits[name] = highest(by_backend)
    results.save()
