"""A calibration: groups of fresh processes of one backend, some of them slowed by a known share.

A group is measured as a benchmark measures its rows. All else is the same in every group: inputs,
parameters and options. The order of turns and the order in which processes start are drawn anew.
"""

import shutil
import time
from collections.abc import Iterable
from contextlib import redirect_stderr
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.records.calibration.documents import (
    PLAIN_ROWS,
    Budget,
    Calibration,
    Group,
    PlantedRow,
)
from benchmarks.records.calibration.shares import PLAIN_PAIRS
from benchmarks.records.documents import Row
from benchmarks.records.figures import disturbance, kept_seconds
from benchmarks.records.results import CALIBRATION, Results, new_document, origin, row_name
from benchmarks.timing.group.processes import run_group
from benchmarks.timing.machine import gpu_state
from benchmarks.timing.members import say
from benchmarks.timing.plan import config_of, planned_rows
from benchmarks.timing.plants import SLOWDOWNS, slowed
from benchmarks.timing.settings import Settings
from benchmarks.workers.client import WorkerFailed
from common.errors import InputError
from common.machine.files import write_json

GROUP = "group"
"""Folder of the group that is being measured; that of a group that failed stays, for its logs."""


def new_calibration(settings: Settings, budget: Budget) -> Calibration:
    """Return a calibration of which no group is measured."""
    return {
        "version": 1,
        "kind": "calibration",
        **origin(),
        "settings": settings.to_json(),
        "budget": budget,
        "slowdowns": list(SLOWDOWNS),
        "process": None,
        "groups": [],
    }


def is_spent(calibration: Calibration) -> bool:
    """Return whether a calibration has used up its budget."""
    budget, groups = calibration["budget"], calibration["groups"]
    minutes, comparisons = budget["minutes"], budget["comparisons"]
    if comparisons is not None and len(groups) * PLAIN_PAIRS >= comparisons:
        return True
    return minutes is not None and sum(group["minutes"] for group in groups) >= minutes


def measure_groups(calibration: Calibration, folder: Path) -> None:
    """Measure groups until the budget is spent; each is saved as soon as it is done.

    Args:
        calibration: Gets the groups.
        folder: Of the calibration.

    Raises:
        KeyboardInterrupt: The groups that are done are written.
        WorkerFailed: If no process of a group has a figure, or the environment has changed.
    """
    say(f"a line for each group follows; {folder / GROUP} has the log of the one that is measured")
    while not is_spent(calibration):
        number = len(calibration["groups"])
        began, started = datetime.now(UTC), time.monotonic()
        rows = measure_group(calibration, number, folder / GROUP)
        group: Group = {
            "started": began.isoformat(timespec="seconds"),
            "minutes": (time.monotonic() - started) / 60,
            "rows": [planted_row(share, row) for share, row in rows],
        }
        check_environment(calibration, [row for _, row in rows])
        if not any(row["seconds"] for row in group["rows"]):
            reason = f"no process of a group has a figure: {group['rows'][0]['reason']}"
            refused = all(row["status"] == "unsupported" for _, row in rows)
            raise InputError(reason) if refused else WorkerFailed(reason)
        calibration["groups"].append(group)
        write_json(folder / CALIBRATION, calibration)
        shutil.rmtree(folder / GROUP)
        say(progress(calibration))


def progress(calibration: Calibration) -> str:
    """Return in a line what has been measured, and of how much."""
    budget, groups = calibration["budget"], calibration["groups"]
    minutes = f"{sum(group['minutes'] for group in groups):.1f}"
    count = f"{len(groups) * PLAIN_PAIRS}"
    minutes += "" if budget["minutes"] is None else f" of {budget['minutes']:g}"
    count += "" if budget["comparisons"] is None else f" of {budget['comparisons']}"
    reason = next((row["reason"] for row in groups[-1]["rows"] if row["reason"]), None)
    left_out = f"; left out: {reason}" if reason else ""
    return f"group {len(groups)}: {minutes} minutes, {count} comparisons{left_out}"


def measure_group(calibration: Calibration, number: int, folder: Path) -> list[tuple[float, Row]]:
    """Return the rows of one group with their slowdowns, the plain ones first."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    record = deepcopy(calibration["settings"])
    record["processes"] = 1
    (row,) = planned_rows(record)
    config = config_of(record, row)
    shares = (*[0.0] * PLAIN_ROWS, *calibration["slowdowns"])
    rows: list[Row] = []
    for place, share in enumerate(shares):
        planted = deepcopy(row) | {"variant": f"{place}-{slowed(share)}"}
        rows.append(planted | {"key": row_name(planted)})
    plants = {row["key"]: slowed(share) for share, row in zip(shares, rows, strict=True)}
    seed = (record["seed"], 17, number)
    record["seed"] = int(np.random.default_rng(seed).integers(2**31))  # Of the order of turns.
    shuffled = np.random.default_rng((*seed, 1)).permutation(len(rows))
    document = new_document(record, rows)
    document["gpu"] = None if record["device"] == "cpu" else gpu_state()
    started = [rows[index] for index in shuffled]
    with (folder / "log").open("w", encoding="utf-8") as log, redirect_stderr(log):
        results = Results(folder, document)
        # A group is to be short, and what is planted in it is known: no more steps are asked for.
        run_group(results, started, config, folder.resolve(), plants, closes=False)
    return list(zip(shares, rows, strict=True))


def planted_row(share: float, row: Row) -> PlantedRow:
    """Return what a calibration keeps of a row that has ended."""
    samples = row["samples"]
    shares = [s["other_cpu_share"] for s in samples if s["other_cpu_share"] is not None]
    kept, reason = kept_seconds(row), row["reason"] or disturbance(row)
    if reason is None and len(kept) < len(samples):
        reason = f"{len(samples) - len(kept)} of {len(samples)} samples were taken while throttled"
    return {
        "slowdown": share,
        "seconds": [kept[key] for key in sorted(kept)] if row["status"] == "ok" else [],
        "other_cpu_share": float(np.mean(shares)) if shares else None,
        "reason": reason,
    }


def check_environment(calibration: Calibration, rows: Iterable[Row]) -> None:
    """Note the first process of a calibration; all later ones must have its versions and device.

    Raises:
        WorkerFailed: If a process has others.
    """
    for process in (process for row in rows for process in row["processes"]):
        first = calibration["process"] = calibration["process"] or process
        there, here = first["backend"], process["backend"]
        if there != here:
            raise WorkerFailed(
                f"the environment is not the one that began this calibration ({there} there, "
                f"{here} here): start a new one"
            )
