"""The processes of a case whose samples are the starts of processes."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records.documents import Row
from benchmarks.records.results import Results
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    calibrate,
    end,
    ending_on_failure,
    running,
    say,
    start_worker,
)
from benchmarks.timing.proof.opening import Question, prove


def take_starts(results: Results, rows: list[Row], question: Question, number: int) -> None:
    """Start the process of each row with this number; each proves its work like any other.

    In the variant ``cached`` a process of each row is started first that is not measured. It
    compiles what the measured processes then find.
    """
    generator = np.random.default_rng((results.document["settings"]["seed"], 13, number))
    shuffled = [rows[index] for index in generator.permutation(len(rows))]
    compiled = None
    if rows and rows[0]["variant"] == "cached":
        compiled = question.inputs.with_name("compiled")
        if not compiled.exists():
            compiled.mkdir()
            for row in shuffled:
                compiling = row.copy()
                compiling["processes"], compiling["samples"] = [], []
                take_start(results, compiling, question, compiled)
                if compiling["status"] != "running":
                    end(row, compiling["status"], compiling["reason"])
    for position, row in enumerate(running(shuffled)):
        sample = take_start(results, row, question, compiled)
        if row["status"] == "running":
            place = {"process": number, "round": 0, "turn": 0, "position": position}
            row["samples"].append(sample | place)
        results.save()


def take_start(results: Results, row: Row, question: Question, compiled: Path | None) -> Any:
    """Return the sample of a process that is started for it; its row may end."""
    backend, key, track = row["backend"], row["key"], row["track"]
    say(f"  {backend} {track}: a process starts")
    started = time.monotonic()
    sample: Any = None
    with (
        ending_on_failure([row]),
        start_worker(results, backend, key, question.config.threads, compiled, track) as worker,
    ):
        member = Member(results, row, worker, question.config.threads)
        sample = watched(results.document, row, lambda: first_step(member, question, started))
        process = row["processes"][-1]
        if row["status"] == "running" and len(row["processes"]) == 1:
            calibrate(member, seconds=0.0, least=1)
        elif row["status"] == "running":
            process["step_seconds"] = member.turn()["seconds"]
        if row["status"] == "running":
            process |= member.ask("turns.used", steps=0)
    return sample


def first_step(member: Member, question: Question, started: float) -> Any:
    """Prove a process that was started at ``started``; return the sample of its first step."""
    prove(member, question)
    process = member.row["processes"][-1]
    return {
        "seconds": process["first_ended"] - started,
        "steps": 1,
        "turn_seconds": time.monotonic() - started,
        "turn_cpu_seconds": process["cpu_seconds"],
        "slept_seconds": 0.0,
        "asleep_cpu_share": 0.0,
    }
