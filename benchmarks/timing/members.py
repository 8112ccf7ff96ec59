"""The rows that are measured side by side and their workers: start, prove, fail, end."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from benchmarks.cases import CASES
from benchmarks.cases.bounds import SUMMED_IN_GATE, bounds_of_batch
from benchmarks.cases.inputs import LINEAR, read_arrays, write_arrays
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Bench, Gate, Process, Row, RowStatus
from benchmarks.records.results import Results
from benchmarks.timing.machine import check_card
from benchmarks.timing.tracks import (
    WITHOUT_KEPT_MEMORY,
    WITHOUT_SHORT_SPINNING,
    code_of,
    is_default_on,
)
from benchmarks.timing.turns import late_bound
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import (
    COMPILED_ANEW,
    PROJECT,
    backend_environment,
    cpus_limited,
    interpreter_of,
)
from benchmarks.workers.supervision import how_ended, last_line
from common.backends import device_kind
from common.config import Config
from common.errors import InputError
from common.machine.children import ending_with_this
from common.machine.progress import waiting_shown
from common.reference.tolerances import row_limits


@dataclass(frozen=True)
class Question:
    """What all workers of a group have to compute: the case's inputs and the reference's answers.

    Attributes:
        config: Of the group's rows, without the changes of their tracks.
        inputs, expected: Files of arrays.
    """

    config: Config
    inputs: Path
    expected: Path


class Member:
    """A row and, while it is being measured, its worker.

    Attributes:
        steps: Of a turn, when the worker has been calibrated.
        begun: Whether its steps are accounted for.
        plant: A fault that the self-test plants in the backend, of ``timing.plants``.
    """

    def __init__(
        self, results: Results, row: Row, worker: Worker, plant: str | None = None
    ) -> None:
        self.results, self.row, self.worker, self.plant = results, row, worker, plant
        self.settings = results.document["settings"]
        self.steps, self.begun = 1, False

    def begin(self, turns: int) -> None:
        """Let the steps be accounted for from now on, if so many turns are not too many."""
        if not self.begun and turns * (self.steps + 1) <= LINEAR:
            self.ask("turns.begin")
            self.begun = True

    def ask(self, task: str, **arguments: Any) -> Any:
        """Return the worker's answer to a task of this room."""
        return self.worker.ask(f"timing.{task}", self.settings["timeout"], **arguments)

    @contextmanager
    def measured(self, refused: RowStatus = "failed") -> Iterator[None]:
        """End the row if its worker refuses or fails within, end the worker with the row, save."""
        with ending_on_failure([self.row], refused):
            yield
        if self.row["status"] != "running":
            self.worker.close()
        self.results.save()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start_worker(
    results: Results,
    backend: str,
    name: str,
    threads: int | None,
    compiled: Path | None = None,
    track: str = "default",
) -> Worker:
    """Start a worker with the interpreter that the settings name for its backend.

    Args:
        results: Of the benchmark.
        backend: Of the worker.
        name: Of its log.
        threads: It may use only as many CPUs.
        compiled: What it compiles is kept in this folder, if one is named, and nowhere else.
        track: Of its row.

    Raises:
        InputError: If the framework is not installed here, or older than the GPU.
    """
    settings = results.document["settings"]
    log = results.folder / "logs" / f"{name.replace('/', '-')}.log"
    log.parent.mkdir(exist_ok=True)
    if settings["device"] == "gpu":
        check_card(backend)
    python = interpreter_of(backend, settings["pythons"])
    cache = {"XDG_CACHE_HOME": str(compiled)} if compiled else COMPILED_ANEW
    # A reader who runs the chapter's code has the libraries' own settings.
    environment = backend_environment(
        threads,
        settings["device"],
        keep_memory=track not in ("chapter", WITHOUT_KEPT_MEMORY),
        set_waiting=track not in ("chapter", WITHOUT_SHORT_SPINNING),
    )
    with cpus_limited(threads):
        return Worker(backend, environment | cache, log, python)


def make_question(row: Row, config: Config, folder: Path) -> Question:
    """Write the inputs of a row's group into ``folder`` and compute the answers that are expected.

    They are computed in a process that then ends.

    Raises:
        InputError: If the case has no inputs or no answers in this configuration.
        WorkerFailed: If that process ended in another way, for example because memory ran out.
    """
    case, inputs, path = row["case"], folder / "inputs.npz", folder / "config.json"
    write_arrays(inputs, CASES[case].inputs(row["variant"], config, folder))
    path.write_text(json.dumps(config.to_json()), encoding="utf-8")
    say("  float64 reference (computed once, then cached)")
    program = [sys.executable, "-m", "benchmarks.equal_work.case_answers"]
    with waiting_shown("  float64 reference"):
        answers = computed([*program, case, str(path), str(inputs)], case)
    return Question(config, inputs, Path(answers))


def computed(command: list[str], case: str) -> str:
    """Return the last line that a process of the reference prints.

    Raises:
        InputError: If it refuses.
        WorkerFailed: If it ends in another way, for example because memory ran out.
    """
    # One thread computes an image, and as many images are computed at once as there are CPUs. Freed
    # memory is kept between steps, because the reference's arrays are large.
    environment = backend_environment(None, "cpu") | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ending_with_this(command),
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env=environment,
    )
    if done.returncode == 2:
        raise InputError(last_line(done.stderr))
    if done.returncode:
        how = how_ended(done.returncode)
        raise WorkerFailed(f"the reference of {case} {how}: {last_line(done.stderr)}")
    return done.stdout.splitlines()[-1]


def prove(member: Member, question: Question) -> bool:
    """Let a worker prepare its case and compare its answers; the row ends if they are wrong.

    The row gets a new entry in ``processes``.

    Returns:
        Whether the worker has proved that its work is the reference's.

    Raises:
        InputError: If the backend does not offer the case, or the track changes nothing there.
        WorkerFailed: If it does not answer, or has other versions than the processes before it.
    """
    row, outputs = member.row, question.inputs.with_name("outputs.npz")
    plant = {"plant": member.plant} if member.plant else {}
    process: Process = member.ask(
        "plants.set_up" if plant else "turns.set_up",
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
    if changed := other_versions(member.results.document, row, process):
        raise WorkerFailed(
            f"the environment is not the one that began this benchmark ({changed}): start a new one"
        )
    row["processes"].append(process)
    row["gate"] = gate = check(outputs, question, row)
    outputs.unlink()
    if not gate["passed"]:
        end(row, "invalid", gate["reason"])
    return gate["passed"]


def other_versions(document: Bench, row: Row, process: Process) -> str | None:
    """Return what of versions and device differs from the processes of a row's backend and track.

    A resumed benchmark may find another environment than the one that began it.
    """
    here: Mapping[str, object] = process["backend"]
    for like in document["rows"]:
        if (like["backend"], like["track"]) == (row["backend"], row["track"]):
            for earlier in like["processes"]:
                there: Mapping[str, object] = earlier["backend"]
                for name in ("versions", "device"):
                    if there[name] != here[name]:
                        return f"{name} {there[name]} there, {here[name]} here"
    return None


def calibrate(member: Member, seconds: float, least: int) -> None:
    """Find how many steps fill a turn; end the row if work is left after ``synchronize``."""
    row = member.row
    calibration = member.ask("turns.calibrate", seconds=seconds, least=least)
    row["processes"][-1] |= calibration
    late, steps = calibration["late_seconds"], calibration["late_steps"]
    clocked = steps * calibration["step_seconds"]
    if late > late_bound(clocked):
        reason = (
            f"not synchronised: {late:.3f} s of the work of {steps} step{'s' * (steps > 1)} were "
            f"left after synchronize had returned (by its clock they took {clocked:.3f} s)"
        )
        end(row, "invalid", reason)
    member.steps = calibration["steps"]


def check(outputs: Path, question: Question, row: Row) -> Gate:
    """Return the gate's verdict about what a worker left in ``outputs``."""
    try:
        answers = read_arrays(outputs)
    except (OSError, ValueError, BadZipFile) as error:
        raise WorkerFailed(f"{row['backend']} left outputs that cannot be read: {error}") from None
    for name, array in answers.items():
        if array.dtype.kind not in "biuf":  # NumPy has no bfloat16.
            raise WorkerFailed(f"{row['backend']} left {name} in a type that NumPy does not have")
    case, track = CASES[row["case"]], row["track"]
    bounds = bounds_of_batch(case.bounds, row["batch_size"], row["crop"], SUMMED_IN_GATE)
    limits = row_limits(bounds, row["precision"], track, row["backend"])
    expected = case.expected_of(read_arrays(question.expected), code_of(track))
    return judge(case, answers, expected, read_arrays(question.inputs), limits)


@contextmanager
def ending_on_failure(rows: list[Row], refused: RowStatus = "unsupported") -> Iterator[None]:
    """End rows if a worker refuses or fails within; what had been measured of them stays.

    Args:
        rows: Those that end.
        refused: Their status if the worker refused.
    """
    try:
        yield
    except InputError as error:
        for row in rows:
            end(row, refused, str(error))
    except WorkerFailed as error:
        for row in rows:
            end(row, "failed", str(error))


def end(row: Row, status: RowStatus, reason: str | None) -> None:
    """End a row with a status and, unless it is ``ok``, a reason and no figures."""
    row["status"], row["reason"] = status, reason
    if status != "ok":
        row["figures"] = None
        say(f"  {row['backend']} {row['track']}: {status}: {reason}")
