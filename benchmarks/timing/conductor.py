"""The parent of a benchmark: starts workers, asks them in turn, writes what comes as it comes."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.cases import CASES
from benchmarks.records.documents import BackendRates, Row
from benchmarks.records.figures import highest, summarize
from benchmarks.records.results import Results
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    Question,
    calibrate,
    end,
    ending_on_failure,
    log_of,
    make_question,
    prove,
    say,
    start_worker,
)
from benchmarks.timing.plan import config_of, groups
from benchmarks.timing.starts import take_starts
from benchmarks.workers.client import WorkerFailed
from common.config import Config
from common.errors import InputError

TURNS = (0, 1)
"""In each round every worker has two turns, the second in reverse order: a drift of the machine
cancels, and a worker's first turn against its second is A against A."""
SCRATCH = "scratch-"
"""How the folder of a group's arrays begins, in the results' folder."""


def run(results: Results) -> None:
    """Measure all rows that are not done; each is written when it ends, each sample when it comes.

    Raises:
        KeyboardInterrupt: What has been measured is written.
    """
    for rows in groups(results.document):
        first = rows[0]
        measure_limits(results, first)
        config = config_of(results.document["settings"], first)
        say(f"{first['case']} batch {first['batch_size']} {first['precision']}")
        # Beside the results, so that what a kill leaves is found by the one that resumes.
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=results.folder) as folder:
            run_group(results, rows, config, Path(folder).resolve())


def measure_limits(results: Results, row: Row) -> None:
    """Let every backend measure the rates that a row is held to, and keep the best.

    They are measured when the first of their rows is due, so that an interrupted benchmark has not
    waited for those that it does not need.
    """
    settings, limits = results.document["settings"], results.document["limits"]
    name, _ = CASES[row["case"]].limit(row["precision"], row["variant"])
    if name in limits:
        return
    config = replace(config_of(settings, row), devices=1)
    by_backend: list[BackendRates] = []
    rates: Any
    for backend in settings["backends"]:
        say(f"limits {name} {backend}")
        log = results.folder / "logs" / f"limits-{backend}.log"
        try:
            with start_worker(results, backend, log, config.threads) as worker:
                rates = worker.ask(
                    "timing.limits.measure",
                    settings["timeout"],
                    config=config.to_json(),
                    seconds=settings["seconds"],
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
    plants: Mapping[str, str] | None = None,
) -> None:
    """Prove and time the rows of one group.

    Args:
        config: Of all rows, their tracks aside.
        folder: Gets the group's arrays.
        plants: Key of a row -> the fault that the self-test plants in its backend.
    """
    case = CASES[rows[0]["case"]]
    with ExitStack() as stack:
        # They import their frameworks while the reference is computed.
        members = []
        if not case.in_new_processes:
            members = start(results, rows, config, stack, plants or {})
        rows = [row for row in rows if row["status"] == "running"]
        if not rows:
            return
        try:
            question = make_question(rows[0], config, folder)
        except (InputError, WorkerFailed) as error:
            for row in rows:
                end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
            results.save()
            return
        if case.in_new_processes:
            take_starts(results, rows, question)
            return
        for member in members:  # Before one is looked at, none is busy with its import any more.
            wait_for_import(results, member)
        for member in members:
            prepare(results, member, question)
            results.save()
        take_turns(results, [m for m in members if m.row["status"] == "running"])
        for member in members:
            finish(results, member)
            results.save()


def start(
    results: Results,
    rows: list[Row],
    config: Config,
    stack: ExitStack,
    plants: Mapping[str, str],
) -> list[Member]:
    """Start the rows' workers; a row whose worker cannot be started ends here."""
    members = []
    for row in rows:
        log, backend, track = log_of(results, row), row["backend"], row["track"]
        try:
            if config.devices > 1 and backend == "torch":
                raise InputError(
                    "PyTorch needs a process for each device; a row of a benchmark has one process"
                )
            worker = start_worker(results, backend, log, config.threads, track=track)
        except (InputError, WorkerFailed) as error:
            end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
            results.save()
        else:
            members.append(Member(row, stack.enter_context(worker), plants.get(row["key"])))
    return members


def wait_for_import(results: Results, member: Member) -> None:
    """Wait until a worker has its framework; end the row of one that has none, or fails at it."""
    with ending_on_failure(member):
        member.worker.ask("timing.turns.ready", results.document["settings"]["timeout"])
        return
    results.save()


def prepare(results: Results, member: Member, question: Question) -> None:
    """Let a row's worker prove its work and find how many steps fill a turn, or end the row."""
    row, settings = member.row, results.document["settings"]
    if row["status"] != "running":
        return
    say(f"  {row['backend']} {row['track']}: set up")
    with ending_on_failure(member):
        if prove(results, member, question) is None or not calibrate(
            results, member, settings["seconds"], settings["least_steps"]
        ):
            member.worker.close()


def take_turns(results: Results, members: list[Member]) -> None:
    """Time all members in interleaved rounds, in an order drawn from the seed."""
    settings = results.document["settings"]
    generator = np.random.default_rng((settings["seed"], 11))
    for number in range(settings["rounds"]):
        shuffled = generator.permutation(len(members))
        for turn in TURNS:
            order = shuffled if turn == 0 else shuffled[::-1]
            for position, index in enumerate(order):
                row = members[index].row
                done = {(sample["round"], sample["turn"]) for sample in row["samples"]}
                if row["status"] == "running" and (number, turn) not in done:
                    take_turn(results, members[index], number, turn, position)
                    results.save()


def take_turn(results: Results, member: Member, number: int, turn: int, position: int) -> None:
    """Time one turn of one member; the parent sleeps meanwhile."""
    timeout, worker = results.document["settings"]["timeout"], member.worker
    with ending_on_failure(member, refused="failed"):
        sample = watched(
            results.document,
            member.row,
            lambda: (
                worker.ask("timing.turns.time_turn", timeout, steps=member.steps)
                | {"round": number, "turn": turn, "position": position, "process": member.process}
            ),
        )
        member.row["samples"].append(sample)


def finish(results: Results, member: Member) -> None:
    """Ask for the memory's peaks, and a trace if one is wanted; end the worker; sum the row up."""
    row, settings, worker = member.row, results.document["settings"], member.worker
    if row["status"] != "running":
        return
    with ending_on_failure(member, refused="failed"):
        row["processes"][-1] |= worker.ask(
            "timing.turns.used", settings["timeout"], steps=member.steps
        )
        if settings["profile"]:  # When all is timed and counted: tracing leaves its traces.
            folder = results.folder / "profiles" / row["key"].replace("/", "-")
            place = str(folder.absolute())  # A worker runs elsewhere.
            worker.ask("timing.turns.profile", settings["timeout"], folder=place, steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
        worker.close()
        end(row, "ok", None)
        summarize(results.document, row)
