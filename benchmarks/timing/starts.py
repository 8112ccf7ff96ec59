"""From the start of a process to the end of its first step: each sample is a process of its own."""

import time
from pathlib import Path

import numpy as np

from benchmarks.records.documents import Row, Sample
from benchmarks.records.figures import summarize
from benchmarks.records.results import Results
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    Question,
    calibrate,
    end,
    ending_on_failure,
    log_of,
    prove,
    say,
    start_worker,
)
from benchmarks.workers.client import WorkerFailed
from common.errors import InputError


def take_starts(results: Results, rows: list[Row], question: Question) -> None:
    """Start every row's process once a round; each proves its work like any other.

    Rows of the variant ``cached`` are started once before, unmeasured, to compile what the measured
    processes find.
    """
    settings = results.document["settings"]
    generator = np.random.default_rng((settings["seed"], 13))
    cached = rows[0]["variant"] == "cached"
    compiled = question.inputs.with_name("compiled") if cached else None
    for number in range(-1 if cached else 0, settings["rounds"]):
        for position, index in enumerate(generator.permutation(len(rows))):
            row = rows[index]
            done = {sample["round"] for sample in row["samples"]}
            if row["status"] == "running" and number not in done:
                say(f"  {row['backend']} {row['track']}: start {number + 1}")
                sample = take_start(results, row, question, compiled, number, position)
                if sample is not None and number >= 0:
                    row["samples"].append(sample)
                results.save()
    for row in rows:
        if row["status"] == "running":
            end(row, "ok", None)
            summarize(results.document, row)
    results.save()


def take_start(
    results: Results,
    row: Row,
    question: Question,
    compiled: Path | None,
    number: int,
    position: int,
) -> Sample | None:
    """Return a start's sample, or None if the row ends here."""
    timeout, threads = results.document["settings"]["timeout"], question.config.threads
    started = time.monotonic()
    try:
        worker = start_worker(
            results, row["backend"], log_of(results, row), threads, compiled, row["track"]
        )
    except (InputError, WorkerFailed) as error:
        end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
        return None
    member = Member(row, worker)

    def first_step() -> Sample:
        process = prove(results, member, question) or row["processes"][-1]
        return {
            "seconds": process["first_ended"] - started,
            "steps": 1,
            "turn_seconds": time.monotonic() - started,
            "turn_cpu_seconds": process["cpu_seconds"],
            "slept_seconds": 0.0,
            "asleep_cpu_share": 0.0,
            "round": number,
            "turn": 0,
            "position": position,
            "process": member.process,
            "other_cpu_share": None,
            "gpu": None,
            "dropped": None,
        }

    with worker, ending_on_failure(member):
        sample = watched(results.document, row, first_step)
        if row["status"] != "running":
            return None
        process = row["processes"][member.process]
        if member.process == 0:
            if not calibrate(results, member, seconds=0.0, least=1):
                return None
        else:
            steady = worker.ask("timing.turns.time_turn", timeout, steps=1)
            process["step_seconds"] = steady["seconds"]
        process |= worker.ask("timing.turns.used", timeout, steps=0)
        return sample
    return None
