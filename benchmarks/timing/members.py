"""The rows that are measured side by side and their workers: start, prove, fail, end."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from benchmarks.cases import CASES
from benchmarks.cases.case import Arrays
from benchmarks.cases.inputs import write_arrays
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Bench, Gate, Process, Row, RowStatus
from benchmarks.records.results import Results
from benchmarks.timing.machine import check_card, kills_for_memory
from benchmarks.timing.tracks import code_of, is_default_on, keeps_memory
from benchmarks.timing.turns import late_bound
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import (
    COMPILED_ANEW,
    PROJECT,
    backend_environment,
    cpus_limited,
)
from benchmarks.workers.supervision import last_line
from common.backends import check_backend, device_kind
from common.config import Config
from common.errors import InputError
from common.reference.tolerances import row_limits


@dataclass(frozen=True)
class Question:
    """What every worker of a group is asked: the case's inputs and the reference's answers.

    Attributes:
        config: Of the group's rows, their tracks aside.
        inputs, expected: Files of arrays.
    """

    config: Config
    inputs: Path
    expected: Path


class Member:
    """A row and, while it is being measured, its worker.

    Attributes:
        process: Index of the worker in the row's ``processes``.
        steps: Of a turn, when the worker has been calibrated.
        plant: A fault that the self-test plants in the backend, of ``timing.plants``.
    """

    def __init__(self, row: Row, worker: Worker, plant: str | None = None) -> None:
        self.row, self.worker, self.plant = row, worker, plant
        self.process = len(row["processes"])
        self.steps = 1


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def log_of(results: Results, row: Row) -> Path:
    """Return the file that gets what a row's worker prints."""
    return results.folder / "logs" / f"{row['key'].replace('/', '-')}.log"


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
    ``compiled``, if one is named, and nothing of it elsewhere.

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
    cache = {"XDG_CACHE_HOME": str(compiled)} if compiled else COMPILED_ANEW
    environment = backend_environment(threads, settings["device"], keeps_memory(track)) | cache
    with cpus_limited(threads):
        return Worker(backend, environment, log, python)


def expected_answers(case: str, config: Config, inputs: Path, folder: Path) -> Path:
    """Return the file of the case's expected answers, computed in a process that then ends.

    Raises:
        InputError: If the configuration has none.
        WorkerFailed: If that process ended otherwise, as for want of memory.
    """
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_json()), encoding="utf-8")
    say("  float64 reference (computed once, then cached)")
    program = [sys.executable, "-m", "benchmarks.equal_work.case_answers"]
    # With one thread for each image and as many images at once as there are CPUs; and with memory
    # kept between steps, for the reference's arrays are large.
    environment = backend_environment(None, "cpu") | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, case, str(path), str(inputs)],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env=environment,
    )
    if done.returncode == 2:
        raise InputError(last_line(done.stderr))
    if done.returncode:
        raise WorkerFailed(f"the reference of {case}: {last_line(done.stderr)}")
    return Path(done.stdout.splitlines()[-1])


def make_question(row: Row, config: Config, folder: Path) -> Question:
    """Write the inputs of a row's group into ``folder`` and get the answers that are expected."""
    case, inputs = row["case"], folder / "inputs.npz"
    write_arrays(inputs, CASES[case].inputs(row["variant"], config, folder))
    return Question(config, inputs, expected_answers(case, config, inputs, folder))


def prove(results: Results, member: Member, question: Question) -> Process | None:
    """Let a worker prepare its case and compare its answers; None if the row ends ``invalid``.

    Returns:
        The row's new entry in ``processes``.

    Raises:
        InputError: What the backend does not offer, or not otherwise than by default.
        WorkerFailed: If it does not answer, or has other versions than the processes before it.
    """
    row, outputs = member.row, question.inputs.with_name("outputs.npz")
    task, plant = "timing.turns.set_up", {}
    if member.plant is not None:
        task, plant = "timing.plants.set_up", {"plant": member.plant}
    process: Process = member.worker.ask(
        task,
        results.document["settings"]["timeout"],
        **plant,
        backend=row["backend"],
        track=row["track"],
        case=row["case"],
        config=question.config.to_json(),
        inputs=str(question.inputs),
        outputs=str(outputs),
    )
    kind = device_kind(process["backend"]["device"])
    if is_default_on(row["track"], row["backend"], kind):
        raise InputError(
            f"this track changes nothing where a {kind.upper()} computes: it has no row"
        )
    if changed := other_versions(results.document, row, process):
        raise WorkerFailed(
            f"the environment is not the one that began this benchmark ({changed}): start a new one"
        )
    row["processes"].append(process)
    row["gate"] = gate = check(outputs, question, row)
    outputs.unlink()
    if not gate["passed"]:
        end(row, "invalid", gate["reason"])
        return None
    return process


def other_versions(document: Bench, row: Row, process: Process) -> str | None:
    """Return what of versions and device differs from the processes of a row's backend and track.

    A resumed benchmark may find another environment than the one that began it.
    """
    now = process["backend"]
    for other in document["rows"]:
        if (other["backend"], other["track"]) != (row["backend"], row["track"]):
            continue
        for earlier in (one["backend"] for one in other["processes"]):
            if earlier["versions"] != now["versions"]:
                return f"versions {earlier['versions']} there, {now['versions']} here"
            if earlier["device"] != now["device"]:
                return f"device {earlier['device']} there, {now['device']} here"
    return None


def calibrate(results: Results, member: Member, seconds: float, least: int) -> bool:
    """Find how many steps fill a turn; end the row if work is left after ``synchronize``.

    Returns:
        Whether the row goes on.
    """
    row = member.row
    calibration = member.worker.ask(
        "timing.turns.calibrate",
        results.document["settings"]["timeout"],
        seconds=seconds,
        least=least,
    )
    row["processes"][-1] |= calibration
    late, steps = calibration["late_seconds"], calibration["late_steps"]
    clocked = steps * calibration["step_seconds"]
    if late > late_bound(clocked):
        reason = (
            f"not synchronised: {late:.3f} s of the work of {steps} step{'s' * (steps > 1)} were "
            f"left after synchronize had returned (by its clock they took {clocked:.3f} s)"
        )
        end(row, "invalid", reason)
        return False
    member.steps = calibration["steps"]
    return True


def check(outputs: Path, question: Question, row: Row) -> Gate:
    """Return the gate's verdict about what a worker left in ``outputs``."""
    try:
        answers = arrays_in(outputs)
    except (OSError, ValueError, BadZipFile) as error:
        raise WorkerFailed(f"{row['backend']} left outputs that cannot be read: {error}") from None
    for name, array in answers.items():
        if array.dtype.kind not in "biuf":  # As NumPy reads what was bfloat16.
            raise WorkerFailed(f"{row['backend']} left {name} in a type that NumPy does not have")
    case, track = CASES[row["case"]], row["track"]
    limits = row_limits(case.bounds, row["precision"], track, row["backend"])
    expected = case.expected_of(arrays_in(question.expected), code_of(track))
    return judge(case, answers, expected, arrays_in(question.inputs), limits)


def arrays_in(path: Path) -> Arrays:
    """Return the arrays of an ``.npz`` file."""
    with np.load(path) as file:
        return dict(file)


@contextmanager
def ending_on_failure(member: Member, refused: RowStatus = "unsupported") -> Iterator[None]:
    """End a row whose worker refuses or fails within; what it had measured stays in it."""
    kills_before = kills_for_memory()
    try:
        yield
    except InputError as error:
        end(member.row, refused, str(error))
        member.worker.close()
    except WorkerFailed as error:
        reason = str(error)
        if "SIGKILL" in reason:
            known = kills_for_memory() > kills_before
            reason += " (the kernel does so when memory runs out" + (", and did)" if known else ")")
        end(member.row, "failed", reason)
        member.worker.close()


def end(row: Row, status: RowStatus, reason: str | None) -> None:
    """End a row with a status and, unless it is ``ok``, a reason and no figures."""
    row["status"], row["reason"] = status, reason
    if status != "ok":
        row["figures"] = None
        say(f"  {row['backend']} {row['track']}: {status}: {reason}")
