"""The parent of a benchmark: starts workers, gives each its turn, writes every sample at once."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.cases import CASES
from benchmarks.records.documents import Row
from benchmarks.records.figures import highest, summarize
from benchmarks.records.machines.documents import BackendRates
from benchmarks.records.results import Results
from benchmarks.timing.closing.questions import close
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    Question,
    calibrate,
    end,
    ending_on_failure,
    make_question,
    prove,
    say,
    start_worker,
)
from benchmarks.timing.plan import config_of, groups
from benchmarks.workers.client import WorkerFailed
from common.config import Config
from common.errors import InputError
from common.machine.progress import counter, waiting_shown

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


def run_group(
    results: Results,
    rows: list[Row],
    config: Config,
    folder: Path,
    plants: Mapping[str, str],
    closes: bool = True,
) -> None:
    """Prove and time the rows of one group.

    Args:
        results: The document that gets what is measured.
        rows: All that are measured side by side.
        config: Of all rows, without the changes of their tracks.
        folder: Gets the group's arrays.
        plants: Key of a row -> the fault that the self-test plants in its backend.
        closes: Whether the closing questions are asked.
    """
    in_new_processes = CASES[rows[0]["case"]].in_new_processes
    settings = results.document["settings"]
    with ExitStack() as stack:
        members = []
        if not in_new_processes:
            # They import their frameworks while the reference is computed.
            members = start(results, rows, config, stack, plants)
            rows = [member.row for member in members]
        if not rows:
            return
        question = None
        with ending_on_failure(rows):
            question = make_question(rows[0], config, folder)
        if question is None:
            return
        if in_new_processes:
            take_starts(results, rows, question)
            return
        with waiting_shown("  set-up"):
            for member in members:  # No row is measured while a worker still imports its framework.
                with member.measured(refused="unsupported"):
                    member.ask("turns.ready")
            for member in running(members):
                say(f"  {member.row['backend']} {member.row['track']}: set up")
                with member.measured(refused="unsupported"):
                    if prove(member, question):
                        calibrate(member, settings["seconds"], settings["least_steps"])
        take_turns(members)
        for member in running(members):
            finish(member, question if closes else None)


def running(members: list[Member]) -> list[Member]:
    """Return the members whose row has not ended."""
    return [member for member in members if member.row["status"] == "running"]


def start(
    results: Results, rows: list[Row], config: Config, stack: ExitStack, plants: Mapping[str, str]
) -> list[Member]:
    """Start the rows' workers; a row whose worker cannot be started ends here."""
    members = []
    for row in rows:
        backend, key = row["backend"], row["key"]
        with ending_on_failure([row]):
            if config.devices > 1 and backend == "torch":
                raise InputError(
                    "PyTorch needs a process for each device; a row of a benchmark has one process"
                )
            worker = start_worker(results, backend, key, config.threads, track=row["track"])
            members.append(Member(results, row, stack.enter_context(worker), plants.get(key)))
    return members


def take_turns(members: list[Member]) -> None:
    """Time the members in interleaved rounds, in an order drawn from the seed.

    In each round every worker has two turns, the second in reverse order. So a drift of the machine
    cancels, and a worker's first turn is compared with its second as A against A.
    """
    members = running(members)
    if not members:
        return
    settings = members[0].settings
    generator = np.random.default_rng((settings["seed"], 11))
    shuffled = np.arange(len(members))
    with counter(settings["rounds"] * 2 * len(members), "turn", "  timed") as bar:
        for number, turn in np.ndindex(settings["rounds"], 2):
            shuffled = generator.permutation(len(members)) if turn == 0 else shuffled[::-1]
            for position, index in enumerate(shuffled):
                row = members[index].row
                done = {(sample["round"], sample["turn"]) for sample in row["samples"]}
                if row["status"] == "running" and (number, turn) not in done:
                    left = 2 * (settings["rounds"] - number) - turn
                    take_turn(members[index], number, turn, position, left)
                bar.update()


def take_turn(member: Member, number: int, turn: int, position: int, left: int) -> None:
    """Time one turn of one member, which has ``left`` to go; the parent sleeps meanwhile."""
    process = len(member.row["processes"]) - 1
    place = {"round": number, "turn": turn, "position": position, "process": process}

    def timed() -> Any:
        started = time.monotonic()
        sample = member.ask("turns.time_turn", steps=member.steps)
        return sample | {"asked_seconds": time.monotonic() - started} | place

    with member.measured():
        member.begin(left)
        sample = watched(member.results.document, member.row, timed)
        member.row["samples"].append(sample)


def finish(member: Member, question: Question | None) -> None:
    """Record the memory's peaks, and a trace with ``--profile``; end the row with its figures.

    Before, the row is asked the closing questions, if ``question`` is what it was asked first.
    """
    row, results = member.row, member.results
    with member.measured():
        row["processes"][-1] |= member.ask("turns.used", steps=member.steps)
        if member.settings["profile"]:  # Last, because tracing changes times and memory.
            folder = results.folder / "profiles" / row["key"].replace("/", "-")
            # A worker has another working directory.
            member.ask("turns.profile", folder=str(folder.absolute()), steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
        if question is None or close(member, question):
            end(row, "ok", None)
            summarize(results.document, row)


def take_starts(results: Results, rows: list[Row], question: Question) -> None:
    """Start every row's process once a round; each proves its work like any other.

    In the variant ``cached`` a process of each row is started first that is not measured. It
    compiles what the measured processes then find.
    """
    settings, threads = results.document["settings"], question.config.threads
    generator = np.random.default_rng((settings["seed"], 13))
    cached = rows[0]["variant"] == "cached"
    compiled = question.inputs.with_name("compiled") if cached else None
    for number in range(-1 if cached else 0, settings["rounds"]):
        for position, index in enumerate(generator.permutation(len(rows))):
            row = rows[index]
            backend, key, track = row["backend"], row["key"], row["track"]
            done = {sample["round"] for sample in row["samples"]}
            if row["status"] != "running" or number in done:
                continue
            say(f"  {backend} {track}: start {number + 1}")
            started = time.monotonic()
            with (
                ending_on_failure([row]),
                start_worker(results, backend, key, threads, compiled, track) as worker,
            ):
                sample = take_start(Member(results, row, worker), question, started)
                if number >= 0 and row["status"] == "running":
                    place = {"round": number, "turn": 0, "position": position}
                    row["samples"].append(sample | place)
            results.save()
    for row in rows:
        if row["status"] == "running":
            end(row, "ok", None)
            summarize(results.document, row)
    results.save()


def take_start(member: Member, question: Question, started: float) -> Any:
    """Return the sample of a process that was started at ``started``; its row may end."""
    row = member.row

    def first_step() -> Any:
        prove(member, question)
        process = row["processes"][-1]
        return {
            "seconds": process["first_ended"] - started,
            "steps": 1,
            "turn_seconds": time.monotonic() - started,
            "turn_cpu_seconds": process["cpu_seconds"],
            "slept_seconds": 0.0,
            "asleep_cpu_share": 0.0,
            "process": len(row["processes"]) - 1,
        }

    sample = watched(member.results.document, row, first_step)
    if row["status"] == "running":
        process = row["processes"][-1]
        if len(row["processes"]) == 1:
            calibrate(member, seconds=0.0, least=1)
        else:
            process["step_seconds"] = member.ask("turns.time_turn", steps=1)["seconds"]
        if row["status"] == "running":
            process |= member.ask("turns.used", steps=0)
    return sample
