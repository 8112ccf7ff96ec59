"""The rows that are measured side by side and their workers: start, prove, fail, end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from benchmarks.cases.images import of_track
from benchmarks.cases.inputs import AFTER, parameters_in, write_inputs
from benchmarks.cases.loading import expected_batches
from benchmarks.cases.tracks import WITHOUT_KEPT_MEMORY, is_default_on
from benchmarks.equal_work.gate import QUANTITIES, errors_of, verdict
from benchmarks.records.results import Results
from benchmarks.timing.limits import device_kind
from benchmarks.timing.machine import (
    busy_seconds,
    check_card,
    gpu_ranges,
    gpu_watched,
    kills_for_memory,
    was_throttled,
)
from benchmarks.timing.plants import PLANTS
from benchmarks.timing.turns import late_bound
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import COMPILED_ANEW, backend_environment, cpus_limited
from benchmarks.workers.supervision import last_line
from common.backends import check_backend
from common.config import Config
from common.errors import InputError
from common.machine.threads import available_cpus


class Member:
    """A row and, while it is being measured, its worker."""

    def __init__(self, row: dict[str, Any], worker: Worker, process: int) -> None:
        self.row, self.worker, self.process = row, worker, process
        self.steps = 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start_worker(
    results: Results,
    backend: str,
    log: Path,
    threads: int | None,
    compiled: Path | None = None,
    track: str = "default",
) -> Worker:
    """Start a worker with the interpreter that the settings name for its backend.

    It may use only as many CPUs as it has ``threads``. What it compiles is kept in the folder
    ``compiled``, if one is given, and nothing of it elsewhere.

    Raises:
        InputError: If the framework is not installed here, or older than the GPU.
    """
    settings = results.document["settings"]
    log.parent.mkdir(exist_ok=True)
    if settings["device"] == "gpu":
        check_card(backend)
    python = settings["pythons"].get(backend)
    if python is None:
        check_backend(backend)
        python = sys.executable
    # Who writes the chapter's code leaves the C library's allocator as it is.
    keep_memory = track not in ("chapter", WITHOUT_KEPT_MEMORY)
    kept = {"XDG_CACHE_HOME": str(compiled)} if compiled else COMPILED_ANEW
    with cpus_limited(threads):
        environment = backend_environment(threads, settings["device"], keep_memory)
        return Worker(backend, environment | kept, log, python)


def reference_of(case: str, config: Config, inputs: Path, folder: Path) -> Path:
    """Return the file of the case's float64 answers, computed in a process that then ends.

    Raises:
        InputError: If the configuration has none.
        WorkerFailed: If that process ended otherwise, as for want of memory.
    """
    if case == "load":
        with np.load(inputs) as arrays:
            bytes_of_files = expected_batches(arrays, config.recipe, len(AFTER))
        write_inputs(folder / "expected.npz", bytes_of_files)
        return folder / "expected.npz"
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_json()), encoding="utf-8")
    say("  float64 reference (computed once, then cached)")
    command = [
        sys.executable,
        "-m",
        "benchmarks.equal_work.case_answers",
        case,
        str(path),
        str(inputs),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        # Memory kept: three quarters of the CPU time. By as many images at once as there are CPUs.
        env=backend_environment(None, "cpu") | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode == 2:
        raise InputError(last_line(done.stderr))
    if done.returncode:
        raise WorkerFailed(f"the reference of {case}: {last_line(done.stderr)}")
    return Path(done.stdout.splitlines()[-1])


def prove(
    results: Results,
    row: dict[str, Any],
    worker: Worker,
    config: Config,
    inputs: Path,
    expected: Path,
) -> dict[str, Any] | None:
    """Let a worker make its case and compare its answers; None if the row ends ``invalid``.

    Returns:
        The row's new entry in ``processes``.

    Raises:
        InputError: What the backend does not offer, or offers no otherwise than by default.
        WorkerFailed: If it does not answer, or has other versions than the processes before it.
    """
    timeout, outputs = results.document["settings"]["timeout"], inputs.with_name("outputs.npz")
    planted = {"plant": row["variant"]} if row["variant"] in PLANTS else {}  # The self-test's.
    found: dict[str, Any] = worker.ask(
        "timing.plants.set_up" if planted else "timing.turns.set_up",
        timeout,
        **planted,
        backend=row["backend"],
        track=row["track"],
        case=row["case"],
        config=config.to_json(),
        inputs=str(inputs),
        outputs=str(outputs),
    )
    kind = device_kind(found["backend"]["device"])
    if is_default_on(row["track"], kind == "gpu"):
        raise InputError(f"the same as default where a {kind.upper()} computes")
    if changed := other_versions(results.document, row, found):
        raise WorkerFailed(f"not what measured the rows before, when it was begun: {changed}")
    row["processes"].append(found)
    row["gate"] = check(outputs, expected, inputs, row)
    outputs.unlink()
    if not row["gate"]["passed"]:
        end(row, "invalid", row["gate"]["reason"])
        return None
    return found


def other_versions(
    document: dict[str, Any], row: dict[str, Any], process: dict[str, Any]
) -> str | None:
    """Return what of versions and device differs from the processes of a row's backend and track.

    A resumed benchmark may find another environment than the one that began it.
    """
    now = process["backend"]
    for other in document["rows"]:
        if (other["backend"], other["track"]) == (row["backend"], row["track"]):
            for earlier in (one["backend"] for one in other["processes"]):
                for name in ("versions", "device"):
                    if earlier[name] != now[name]:
                        return f"{name} {earlier[name]} there, {now[name]} here"
    return None


def synchronised(row: dict[str, Any], calibration: dict[str, Any]) -> bool:
    """Tell whether nothing is left to compute after ``synchronize``; else the row is invalid."""
    late, steps = calibration["late_seconds"], calibration["late_steps"]
    said = steps * calibration["step_seconds"]
    if late > late_bound(said):
        end(
            row,
            "invalid",
            f"not synchronised: {late:.3f} s of the work of {steps} step{'s' * (steps > 1)} were "
            f"left after synchronize had returned (they were said to take {said:.3f} s)",
        )
        return False
    return True


def check(outputs: Path, expected: Path, inputs: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Return the gate's verdict about what a worker left in ``outputs``."""
    try:
        with np.load(outputs) as file:
            given = dict(file)
    except (OSError, ValueError, BadZipFile) as error:
        raise WorkerFailed(f"{row['backend']} left outputs that cannot be read: {error}") from None
    for name, array in given.items():
        if array.dtype.kind not in "biuf":  # As NumPy reads what was bfloat16.
            raise WorkerFailed(f"{row['backend']} left {name} in a type that NumPy has not")
    with np.load(expected) as wanted, np.load(inputs) as start:
        errors = errors_of(given, of_track(dict(wanted), row["track"]), parameters_in(start))
    return verdict(errors, QUANTITIES[row["case"]], row["precision"], row["track"], row["backend"])


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


def watched(
    results: Results, row: dict[str, Any], take: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return the sample of a row that ``take`` brings, with the machine's state meanwhile.

    A GPU counts only where the row computes on it: with ``--device auto`` another may. On what a
    first process will compute is known when it has answered.
    """

    def on_gpu() -> bool:
        return device_kind(row["processes"][-1]["backend"]["device"]) == "gpu"

    used = results.document["gpu"] is not None and (not row["processes"] or on_gpu())
    busy = busy_seconds()
    with gpu_watched(used) as states:
        sample = take()
    if not on_gpu():
        states = []
    busy_after = busy_seconds()
    others = None
    if busy is not None and busy_after is not None:
        wall = sample["turn_seconds"]
        cpus = len(available_cpus())
        others = max(0.0, (busy_after - busy - sample["turn_cpu_seconds"]) / (wall * cpus))
    return sample | {
        "other_cpu_share": others,
        "gpu": states[-1] if states else None,
        "gpu_ranges": gpu_ranges(states),
        "dropped": "throttled" if was_throttled(states) else None,
    }
