"""The parent of a benchmark: starts workers, gives each its turn, writes every sample at once."""

import secrets
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
from benchmarks.timing.machine import watched
from benchmarks.timing.members import (
    Member,
    calibrate,
    end,
    ending_on_failure,
    say,
    start_worker,
)
from benchmarks.timing.plan import config_of, groups
from benchmarks.timing.proof.closing import close
from benchmarks.timing.proof.opening import Question, make_question, prove
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
    """Prove and time the rows of one group, in several processes each, one after another.

    What a process has by chance, such as where its memory lies, all its turns share. Only other
    processes tell how much that is.

    Args:
        results: The document that gets what is measured.
        rows: All that are measured side by side.
        config: Of all rows, without the changes of their tracks.
        folder: Gets the group's arrays.
        plants: Key of a row -> the fault that the self-test plants in its backend.
        closes: Whether one process of each row is asked the closing questions.
    """
    begun, processes = forget_unfinished(rows), results.document["settings"]["processes"]
    # By lot, so that no process can know whether its steps will be asked about.
    closing = begun + secrets.randbelow(max(1, processes - begun))
    question = None
    for number in range(begun, processes):
        with ExitStack() as stack:
            members = []
            if not CASES[rows[0]["case"]].in_new_processes:
                # They import their frameworks while the reference is computed.
                members = start(results, running(rows), config, stack, plants)
            left = running(rows)
            if left and question is None:
                with ending_on_failure(left):
                    question = make_question(left[0], config, folder)
            if not left or question is None:
                break
            if CASES[rows[0]["case"]].in_new_processes:
                take_starts(results, left, question, number)
            else:
                take_process(members, question, number, closes and number == closing)
    for row in running(rows):
        end(row, "ok", None)
        summarize(results.document, row)
    results.save()


def forget_unfinished(rows: list[Row]) -> int:
    """Forget what an interruption has left of processes; return how many each row has finished.

    All turns of a process are side by side with those of the other rows, so they are measured anew
    together.
    """
    finished = min(
        (sum("host_memory_peak_bytes" in process for process in row["processes"]) for row in rows),
        default=0,
    )
    for row in rows:
        row["processes"] = row["processes"][:finished]
        row["samples"] = [sample for sample in row["samples"] if sample["process"] < finished]
    return finished


def take_process(members: list[Member], question: Question, number: int, closes: bool) -> None:
    """Prove and time the process of each member, the row's with this number.

    Args:
        members: Those that are measured side by side.
        question: What they are asked first.
        number: Of the process in its row.
        closes: Whether the closing questions are asked.
    """
    with waiting_shown("  set-up"):
        for member in members:  # No row is measured while a worker still imports its framework.
            with member.measured(refused="unsupported"):
                member.ask("turns.ready")
        for member in working(members):
            say(f"  {member.row['backend']} {member.row['track']}: process {number + 1} set up")
            with member.measured(refused="unsupported"):
                if prove(member, question):
                    calibrate(member, member.settings["seconds"], member.settings["least_steps"])
    take_turns(members, number)
    for member in working(members):
        finish(member, question if closes else None)


def running(rows: list[Row]) -> list[Row]:
    """Return the rows that have not ended."""
    return [row for row in rows if row["status"] == "running"]


def working(members: list[Member]) -> list[Member]:
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
                    "PyTorch needs a process for each device; a row is timed in one at a time"
                )
            worker = start_worker(results, backend, key, config.threads, track=row["track"])
            members.append(Member(results, row, stack.enter_context(worker), plants.get(key)))
    return members


def take_turns(members: list[Member], process: int) -> None:
    """Time the members in interleaved rounds, in an order drawn from the seed.

    In each round every worker has two turns, the second in reverse order. So a drift of the machine
    cancels, and a worker's first turn is compared with its second as A against A.
    """
    members = working(members)
    if not members:
        return
    rounds, seed = members[0].settings["rounds"], members[0].settings["seed"]
    generator = np.random.default_rng((seed, 11, process))
    shuffled = np.arange(len(members))
    with counter(rounds * 2 * len(members), "turn", "  timed") as bar:
        for number, turn in np.ndindex(rounds, 2):
            shuffled = generator.permutation(len(members)) if turn == 0 else shuffled[::-1]
            for position, index in enumerate(shuffled):
                if members[index].row["status"] == "running":
                    place = {"process": process, "round": number, "turn": turn}
                    left = 2 * (rounds - number) - turn
                    take_turn(members[index], {**place, "position": position}, left)
                bar.update()


def take_turn(member: Member, place: Mapping[str, int], left: int) -> None:
    """Time one turn of one member, which has ``left`` to go; the parent sleeps meanwhile."""

    def timed() -> Any:
        started = time.monotonic()
        sample = member.ask("turns.time_turn", steps=member.steps)
        return sample | {"asked_seconds": time.monotonic() - started} | place

    with member.measured():
        member.begin(left)
        sample = watched(member.results.document, member.row, timed)
        member.row["samples"].append(sample)


def finish(member: Member, question: Question | None) -> None:
    """Record the memory's peaks of a process, and a trace with ``--profile``; end its worker.

    Before, the row is asked the closing questions, if ``question`` is what it was asked first.
    """
    row, results = member.row, member.results
    with member.measured():
        used = member.ask("turns.used", steps=member.steps)
        if member.settings["profile"] and row["profile"] is None:
            # After the turns, because tracing changes times and memory.
            folder = results.folder / "profiles" / row["key"].replace("/", "-")
            # A worker has another working directory.
            member.ask("turns.profile", folder=str(folder.absolute()), steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
        if question is None or close(member, question):
            row["processes"][-1] |= used  # Only a process that was asked all has them.


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
                take_start(results, row, question, compiled)
                del row["processes"][number:]
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
        member = Member(results, row, worker)
        sample = watched(results.document, row, lambda: first_step(member, question, started))
        process = row["processes"][-1]
        if row["status"] == "running" and len(row["processes"]) == 1:
            calibrate(member, seconds=0.0, least=1)
        elif row["status"] == "running":
            process["step_seconds"] = member.ask("turns.time_turn", steps=1)["seconds"]
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
