"""From the start of a process to the end of its first step: each sample is a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records.results import Results, summarize
from benchmarks.timing.machine import kills_for_memory
from benchmarks.timing.members import (
    Member,
    end,
    fail,
    prove,
    say,
    start_worker,
    synchronised,
    watched,
)
from benchmarks.workers.client import Worker, WorkerFailed
from common.config import Config
from common.errors import InputError


def run_first_steps(
    results: Results, rows: list[dict[str, Any]], config: Config, inputs: Path, expected: Path
) -> None:
    """Start every row's process once a round; each proves its work like any other.

    Rows that find programs already compiled are started once before, unmeasured, to compile them.
    """
    settings = results.document["settings"]
    generator = np.random.default_rng((settings["seed"], 13))
    cached = rows[0]["variant"] == "cached"
    compiled = inputs.with_name("compiled") if cached else None
    for number in range(-1 if cached else 0, settings["rounds"]):
        for position, index in enumerate(generator.permutation(len(rows))):
            row = rows[index]
            done = {sample["round"] for sample in row["samples"]}
            if row["status"] == "running" and number not in done:
                say(f"  {row['backend']} {row['track']}: start {number + 1}")
                sample = take_start(results, row, (config, inputs, expected), compiled)
                if sample is not None and number >= 0:
                    row["samples"].append({"round": number, "position": position, **sample})
                results.save()
    for row in rows:
        if row["status"] == "running":
            end(row, "ok", None)
            summarize(results.document, row)
    results.save()


def take_start(
    results: Results, row: dict[str, Any], case: tuple[Config, Path, Path], compiled: Path | None
) -> dict[str, Any] | None:
    """Return a start's sample, or None if the row ends here."""
    log = results.folder / "logs" / f"{row['key'].replace('/', '-')}.log"
    timeout, killed = results.document["settings"]["timeout"], kills_for_memory()
    process = len(row["processes"])
    started = time.monotonic()
    try:
        worker = start_worker(results, row["backend"], log, case[0].threads, compiled, row["track"])
    except (InputError, WorkerFailed) as error:
        end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
        return None
    with worker:
        try:
            sample = watched(results, row, lambda: first_step(results, row, worker, case, started))
            if row["status"] != "running":
                return None
            found = row["processes"][process]
            if process == 0:
                found |= worker.ask("timing.turns.calibrate", timeout, seconds=0.0, least=1)
                if not synchronised(row, found):
                    return None
            else:
                steady = worker.ask("timing.turns.time_turn", timeout, steps=1)
                found["step_seconds"] = steady["seconds"]
            found |= worker.ask("timing.turns.used", timeout, steps=0)
        except InputError as error:
            end(row, "unsupported", str(error))
            return None
        except WorkerFailed as error:
            fail(Member(row, worker, process), error, killed)
            return None
    return sample | {"turn": 0, "process": process}


def first_step(
    results: Results,
    row: dict[str, Any],
    worker: Worker,
    case: tuple[Config, Path, Path],
    started: float,
) -> dict[str, Any]:
    """Return the seconds from ``started`` until the first step was done."""
    found = prove(results, row, worker, *case) or row["processes"][-1]
    seconds = found["first_ended"] - started
    return {
        "seconds": seconds,
        "steps": 1,
        "turn_seconds": time.monotonic() - started,
        "turn_cpu_seconds": found["cpu_seconds"],
        "slept_seconds": 0.0,
        "asleep_cpu_share": 0.0,
    }
