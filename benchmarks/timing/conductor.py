"""The parent of a benchmark: starts workers, asks them in turn, writes what comes as it comes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.inputs import make_inputs, write_inputs
from benchmarks.records.results import Results, summarize
from benchmarks.timing.limits import highest, limit_name
from benchmarks.timing.machine import kills_for_memory
from benchmarks.timing.members import (
    Member,
    end,
    fail,
    prove,
    reference_of,
    say,
    start_worker,
    synchronised,
    watched,
)
from benchmarks.timing.starts import run_first_steps
from benchmarks.workers.client import WorkerFailed
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe

TURNS = (0, 1)
"""In each round every worker has two turns, the second in reverse order: a drift of the machine
cancels, and a worker's first turn against its second is A against A."""
FIRST, LAST = ("train", "predict"), ("epoch", "first_step")
"""The cases that are measured before all others, and those after all, for each of them compiles
once more what `train` did."""
SCRATCH = "scratch-"
"""How the folder of a group's arrays begins, in the results' folder."""


def run(results: Results) -> None:
    """Measure all rows that are not done; each is written when it ends, each sample when it comes.

    Raises:
        KeyboardInterrupt: What has been measured is written.
    """
    settings = results.document["settings"]
    for group in groups(results):
        first = group[0]
        measure_limits(results, first)
        config = config_of(settings, first)
        say(f"{first['case']} batch {first['batch_size']} {first['precision']}")
        # Beside the results, so that what a kill leaves is found by the one that resumes.
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=results.folder) as folder:
            run_group(results, group, config, Path(folder).resolve())


def groups(results: Results) -> Iterator[list[dict[str, Any]]]:
    """Yield the unfinished rows that are measured side by side: all but backend and track equal.

    ``FIRST`` and the other cases come with the first batch size in the first precision, then with
    it in the other precisions, then the other batch sizes, each in the order they were given;
    ``LAST`` follows: whatever ends a benchmark early leaves what is wanted most.
    """
    settings = results.document["settings"]
    pending: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in results.document["rows"]:
        if row["status"] == "running":
            key = (row["case"], row["variant"], row["batch_size"], row["precision"])
            pending.setdefault(key, []).append(row)

    def place(key: tuple[Any, ...]) -> tuple[int, ...]:
        case, _, batch, precision = key
        return (
            LAST.index(case) + 1 if case in LAST else 0,
            settings["batch_sizes"].index(batch),
            settings["precisions"].index(precision),
            case not in FIRST,
        )

    for key in sorted(pending, key=place):
        yield pending[key]


def config_of(settings: dict[str, Any], row: dict[str, Any]) -> Config:
    """Return the configuration that a row is measured with."""
    recipe = make_recipe(
        settings["recipe"],
        backbone=settings["backbone"],
        batch_size=row["batch_size"],
        crop=tuple(settings["crop"]),
    )
    config = Config(
        recipe,
        seed=settings["seed"],
        device=settings["device"],
        precision=row["precision"],
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )
    if row["case"] == "scale":
        kind, _, count = row["variant"].partition("-")
        if kind == "devices":
            return replace(config, devices=int(count))
        return replace(config, threads=int(count))
    return config


def measure_limits(results: Results, row: dict[str, Any]) -> None:
    """Measure the rates that a row is held to, by every backend, unless they are; keep the best.

    So each precision's, and each number of threads' in `scale`, when the first of its rows is due:
    an interrupted benchmark has not waited for those that it does not need.
    """
    settings, limits = results.document["settings"], results.document["limits"]
    name = limit_name(row)
    if name in limits:
        return
    config = replace(config_of(settings, row), devices=1)
    found: list[dict[str, Any]] = []
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
        found.append({"backend": backend, **rates})
    limits[name] = highest(found)
    results.save()


def run_group(results: Results, rows: list[dict[str, Any]], config: Config, folder: Path) -> None:
    """Prove and time the rows of one group."""
    case, inputs = rows[0]["case"], folder / "inputs.npz"
    with ExitStack() as stack:
        # They import their frameworks while the reference is computed.
        members = [] if case == "first_step" else start(results, rows, config, stack)
        rows = [row for row in rows if row["status"] == "running"]
        if not rows:
            return
        try:
            write_inputs(inputs, make_inputs(case, rows[0]["variant"], config, folder))
            expected = reference_of(case, config, inputs, folder)
        except (InputError, WorkerFailed) as error:
            for row in rows:
                end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
            results.save()
            return
        if case == "first_step":
            run_first_steps(results, rows, config, inputs, expected)
            return
        for member in members:  # Before one is looked at, none is busy with its import any more.
            wait_for_import(results, member)
        for member in members:
            prepare(results, member, config, inputs, expected)
            results.save()
        members = [member for member in members if member.row["status"] == "running"]
        take_turns(results, members)
        for member in members:
            finish(results, member)
            results.save()


def start(
    results: Results, rows: list[dict[str, Any]], config: Config, stack: ExitStack
) -> list[Member]:
    """Start the rows' workers; a row whose worker cannot be started ends here."""
    members = []
    for row in rows:
        log = results.folder / "logs" / f"{row['key'].replace('/', '-')}.log"
        try:
            if config.devices > 1 and row["backend"] == "torch":
                raise InputError("in PyTorch a device has a process of its own, which no worker is")
            worker = stack.enter_context(
                start_worker(results, row["backend"], log, config.threads, track=row["track"])
            )
        except (InputError, WorkerFailed) as error:
            end(row, "unsupported" if isinstance(error, InputError) else "failed", str(error))
            results.save()
        else:
            members.append(Member(row, worker, len(row["processes"])))
    return members


def wait_for_import(results: Results, member: Member) -> None:
    """Wait until a worker has its framework; end the row of one that has none, or fails at it."""
    killed = kills_for_memory()
    try:
        member.worker.ask("timing.turns.ready", results.document["settings"]["timeout"])
    except InputError as error:
        end(member.row, "unsupported", str(error))
        member.worker.close()
        results.save()
    except WorkerFailed as error:
        fail(member, error, killed)
        results.save()


def prepare(results: Results, member: Member, config: Config, inputs: Path, expected: Path) -> None:
    """Let a row's worker prove its work and find how many steps fill a turn, or end the row."""
    row, worker, settings = member.row, member.worker, results.document["settings"]
    if row["status"] != "running":
        return
    say(f"  {row['backend']} {row['track']}: set up")
    killed = kills_for_memory()
    try:
        found = prove(results, row, worker, config, inputs, expected)
        if found is None:
            worker.close()
            return
        calibration = worker.ask(
            "timing.turns.calibrate",
            settings["timeout"],
            seconds=settings["seconds"],
            least=settings["least_steps"],
        )
        found |= calibration
    except InputError as error:
        end(row, "unsupported", str(error))
        worker.close()
        return
    except WorkerFailed as error:
        fail(member, error, killed)
        return
    if not synchronised(row, calibration):
        worker.close()
        return
    member.steps = calibration["steps"]


def take_turns(results: Results, members: list[Member]) -> None:
    """Time all members in interleaved rounds, in an order drawn from the seed."""
    settings = results.document["settings"]
    generator = np.random.default_rng((settings["seed"], 11))
    for number in range(settings["rounds"]):
        shuffled = generator.permutation(len(members))
        for turn in TURNS:
            order = shuffled if turn == 0 else shuffled[::-1]
            for position, index in enumerate(order):
                member = members[index]
                done = {(s["round"], s["turn"]) for s in member.row["samples"]}
                if member.row["status"] != "running" or (number, turn) in done:
                    continue
                take_turn(results, member, number, turn, position)
                results.save()


def take_turn(results: Results, member: Member, number: int, turn: int, position: int) -> None:
    """Time one turn of one member; the parent sleeps meanwhile."""
    killed = kills_for_memory()
    timeout = results.document["settings"]["timeout"]
    try:
        sample = watched(
            results,
            member.row,
            lambda: member.worker.ask("timing.turns.time_turn", timeout, steps=member.steps),
        )
    except (InputError, WorkerFailed) as error:
        fail(member, error, killed)
        return
    sample |= {"round": number, "turn": turn, "position": position, "process": member.process}
    member.row["samples"].append(sample)


def finish(results: Results, member: Member) -> None:
    """Ask for the memory's peaks, and a trace if one is wanted; end the worker; sum the row up."""
    row, settings = member.row, results.document["settings"]
    if row["status"] != "running":
        return
    killed = kills_for_memory()
    try:
        row["processes"][-1] |= member.worker.ask(
            "timing.turns.used", settings["timeout"], steps=member.steps
        )
        if settings["profile"]:  # When all is timed and counted: tracing leaves its traces.
            folder = results.folder / "profiles" / row["key"].replace("/", "-")
            place = str(folder.absolute())  # A worker runs elsewhere.
            member.worker.ask("timing.turns.profile", settings["timeout"], folder=place, steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
    except (InputError, WorkerFailed) as error:
        fail(member, error, killed)
        return
    member.worker.close()
    end(row, "ok", None)
    summarize(results.document, row)
