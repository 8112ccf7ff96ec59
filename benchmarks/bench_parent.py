"""The parent of a benchmark: starts workers, asks them in turn, writes what comes as it comes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_inputs import make_inputs, parameters_in, write_inputs
from benchmarks.bench_results import Results, summarize
from benchmarks.gate import errors_of, verdict
from benchmarks.machine_state import busy_seconds, gpu_state, kills_for_memory
from benchmarks.processes import Worker, WorkerFailed, backend_environment, last_line
from common.backends import check_backend
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe

TURNS = (0, 1)
"""In each round every worker has two turns, the second in reverse order: a drift of the machine
cancels, and a worker's first turn against its second is A against A."""
LATE_SHARE = 0.25
LATE_SECONDS = 0.002
"""What is computed after ``synchronize`` has returned, as a share of a step, at most."""


class Member:
    """A row and, while it is being measured, its worker."""

    def __init__(self, row: dict[str, Any], worker: Worker, process: int) -> None:
        self.row, self.worker, self.process = row, worker, process
        self.steps = 1


def run(results: Results) -> None:
    """Measure all rows that are not done; each is written when it ends, each sample when it comes.

    Raises:
        KeyboardInterrupt: What has been measured is written.
    """
    settings = results.document["settings"]
    measure_limits(results)
    for group in groups(results):
        first = group[0]
        config = config_of(settings, first)
        say(f"{first['case']} batch {first['batch_size']} {first['precision']}")
        with tempfile.TemporaryDirectory(prefix="fcn-bench-") as folder:
            run_group(results, group, config, Path(folder))


def groups(results: Results) -> Iterator[list[dict[str, Any]]]:
    """Yield the unfinished rows that are measured side by side: all but backend and track equal."""
    pending: dict[str, list[dict[str, Any]]] = {}
    for row in results.document["rows"]:
        if row["status"] == "running":
            key = json.dumps([row["case"], row["variant"], row["batch_size"], row["precision"]])
            pending.setdefault(key, []).append(row)
    yield from pending.values()


def config_of(settings: dict[str, Any], row: dict[str, Any]) -> Config:
    """Return the configuration that a row is measured with."""
    recipe = make_recipe(
        settings["recipe"],
        backbone=settings["backbone"],
        batch_size=row["batch_size"],
        crop=tuple(settings["crop"]),
    )
    return Config(
        recipe,
        seed=settings["seed"],
        device=settings["device"],
        precision=row["precision"],
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start_worker(results: Results, backend: str, log: Path) -> Worker:
    """Start a worker with the interpreter that the settings name for its backend.

    Raises:
        InputError: If the framework is not installed here.
    """
    settings = results.document["settings"]
    log.parent.mkdir(exist_ok=True)
    python = settings["pythons"].get(backend)
    if python is None:
        check_backend(backend)
        python = sys.executable
    return Worker(backend, backend_environment(settings["threads"]), log, python)


def measure_limits(results: Results) -> None:
    """Measure the machine's rates by every backend and keep the best, once in each precision."""
    settings = results.document["settings"]
    limits = results.document["limits"]
    for precision in settings["precisions"]:
        if precision in limits:
            continue
        found: list[dict[str, Any]] = []
        for backend in settings["backends"]:
            say(f"limits {precision} {backend}")
            config = replace(config_of(settings, results.document["rows"][0]), precision=precision)
            log = results.folder / "logs" / f"limits-{backend}.log"
            try:
                with start_worker(results, backend, log) as worker:
                    rates = worker.ask(
                        "limits.measure",
                        settings["timeout"],
                        config=config.to_json(),
                        seconds=settings["seconds"],
                    )
            except (InputError, WorkerFailed) as error:
                rates = {"reason": str(error)}
            found.append({"backend": backend, **rates})
        measured = [rates for rates in found if "flops_per_second" in rates]
        limits[precision] = None
        if measured:
            limits[precision] = {
                name: max(rates[name] for rates in measured)
                for name in ("flops_per_second", "bytes_per_second")
            } | {"by_backend": found}
        results.save()


def run_group(results: Results, rows: list[dict[str, Any]], config: Config, folder: Path) -> None:
    """Prove and time the rows of one group."""
    case, inputs = rows[0]["case"], folder / "inputs.npz"
    write_inputs(inputs, make_inputs(case, config))
    expected = reference_of(case, config, inputs, folder)
    with ExitStack() as stack:
        members = []
        for row in rows:
            member = prepare(results, row, config, inputs, expected, stack)
            results.save()
            if member is not None:
                members.append(member)
        (folder / "outputs.npz").unlink(missing_ok=True)
        take_turns(results, members)
        for member in members:
            finish(results, member)
            results.save()


def reference_of(case: str, config: Config, inputs: Path, folder: Path) -> Path:
    """Return the file of the case's float64 answers, computed in a process that then ends."""
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_json()), encoding="utf-8")
    say("  float64 reference (computed once, then cached)")
    command = [sys.executable, "-m", "benchmarks.bench_reference", case, str(path), str(inputs)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        raise InputError(f"the reference of {case}: {last_line(done.stderr)}")
    return Path(done.stdout.splitlines()[-1])


def prepare(
    results: Results,
    row: dict[str, Any],
    config: Config,
    inputs: Path,
    expected: Path,
    stack: ExitStack,
) -> Member | None:
    """Start a row's worker and let it prove its work; None if the row ends here."""
    settings = results.document["settings"]
    say(f"  {row['backend']} {row['track']}: set up")
    log = results.folder / "logs" / f"{row['key'].replace('/', '-')}.log"
    killed = kills_for_memory()
    try:
        worker = stack.enter_context(start_worker(results, row["backend"], log))
    except InputError as error:
        end(row, "unsupported", str(error))
        return None
    outputs = inputs.with_name("outputs.npz")
    process = len(row["processes"])
    member = Member(row, worker, process)
    try:
        worker.ask("bench_worker.ready", settings["timeout"])
        found = worker.ask(
            "bench_worker.set_up",
            settings["timeout"],
            backend=row["backend"],
            track=row["track"],
            case=row["case"],
            config=config.to_json(),
            inputs=str(inputs),
            outputs=str(outputs),
        )
        row["processes"].append(found)
        row["gate"] = check(outputs, expected, inputs, row)
        if not row["gate"]["passed"]:
            end(row, "invalid", row["gate"]["reason"])
            worker.close()
            return None
        calibration = worker.ask(
            "bench_worker.calibrate",
            settings["timeout"],
            seconds=settings["seconds"],
            least=settings["least_steps"],
        )
        found |= calibration
    except InputError as error:
        end(row, "unsupported", str(error))
        worker.close()
        return None
    except WorkerFailed as error:
        fail(member, error, killed)
        return None
    late, step = calibration["late_seconds"], calibration["step_seconds"]
    if late > max(LATE_SECONDS, LATE_SHARE * step):
        end(
            row,
            "invalid",
            f"not synchronised: {late:.3f} s of work were left after synchronize had returned "
            f"(a step takes {step:.3f} s)",
        )
        worker.close()
        return None
    member.steps = calibration["steps"]
    if settings["profile"]:
        folder = results.folder / "profiles" / row["key"].replace("/", "-")
        try:
            worker.ask("bench_worker.profile", settings["timeout"], folder=str(folder), steps=2)
            row["profile"] = str(folder.relative_to(results.folder))
        except (InputError, WorkerFailed) as error:
            fail(member, error, killed)
            return None
    return member


def check(outputs: Path, expected: Path, inputs: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Return the gate's verdict about what a worker left in ``outputs``."""
    with np.load(outputs) as given, np.load(expected) as wanted, np.load(inputs) as start:
        errors = errors_of(dict(given), dict(wanted), parameters_in(start))
    return verdict(errors, row["precision"], row["track"])


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
    busy, before = busy_seconds(), gpu_state()
    try:
        sample = member.worker.ask(
            "bench_worker.time_turn", results.document["settings"]["timeout"], steps=member.steps
        )
    except (InputError, WorkerFailed) as error:
        fail(member, error, killed)
        return
    after, busy_after = gpu_state(), busy_seconds()
    others = None
    if busy is not None and busy_after is not None:
        wall = sample["turn_seconds"]
        cpus = results.document["hardware"]["cpus"]
        others = max(0.0, (busy_after - busy - sample["turn_cpu_seconds"]) / (wall * cpus))
    states = [state for state in (before, after) if state]
    sample |= {
        "round": number,
        "turn": turn,
        "position": position,
        "process": member.process,
        "other_cpu_share": others,
        "gpu": after,
        "dropped": "throttled" if any(state["throttled"] for state in states) else None,
    }
    member.row["samples"].append(sample)


def finish(results: Results, member: Member) -> None:
    """Ask for the memory's peaks, end the worker, and sum the row up."""
    row = member.row
    if row["status"] != "running":
        return
    killed = kills_for_memory()
    try:
        row["processes"][-1] |= member.worker.ask(
            "bench_worker.used", results.document["settings"]["timeout"]
        )
    except (InputError, WorkerFailed) as error:
        fail(member, error, killed)
        return
    member.worker.close()
    end(row, "ok", None)
    summarize(results.document, row)


def fail(member: Member, error: Exception, kills_before: int) -> None:
    """Let a row say what became of its worker; what it had measured stays in it."""
    reason = str(error)
    if "SIGKILL" in reason:
        known = kills_for_memory() > kills_before
        reason += " (the kernel does so when memory runs out" + (", and did)" if known else ")")
    end(member.row, "failed", reason)
    member.worker.close()


def end(row: dict[str, Any], status: str, reason: str | None) -> None:
    row["status"], row["reason"] = status, reason
    if status != "ok":
        row["figures"] = None
        say(f"  {row['backend']} {row['track']}: {status}: {reason}")
