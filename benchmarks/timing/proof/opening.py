"""The opening question: before its first turn a worker gives what the float64 reference gives."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from benchmarks.cases import CASES
from benchmarks.cases.bounds import SUMMED_IN_GATE, bounds_of_batch
from benchmarks.cases.inputs import read_arrays, write_arrays
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Bench, Gate, Process, Row
from benchmarks.timing.members import Member, end, say
from benchmarks.timing.tracks import code_of, is_default_on
from benchmarks.workers.client import WorkerFailed
from benchmarks.workers.environment import PROJECT, backend_environment
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
    gate = check(outputs, question, row)
    row["gate"] = largest(row["gate"], gate)
    outputs.unlink()
    if not gate["passed"]:
        end(row, "invalid", gate["reason"])
    return gate["passed"]


def largest(before: Gate | None, now: Gate) -> Gate:
    """Return the proof of a row: of each quantity the largest error that any process had."""
    if before is None or not now["passed"]:
        return now
    checks = dict(before["checks"])
    for quantity, check in now["checks"].items():
        earlier = checks.get(quantity, check)
        checks[quantity] = max(check, earlier, key=lambda each: each["error"] or 0.0)
    return {**now, "checks": checks}


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
    bounds = bounds_of_batch(
        case.bounds, row["backbone"], row["batch_size"], row["crop"], SUMMED_IN_GATE
    )
    limits = row_limits(bounds, row["precision"], track, row["backend"])
    expected = case.expected_of(read_arrays(question.expected), code_of(track))
    return judge(case, answers, expected, read_arrays(question.inputs), limits)
