"""The closing questions: after its last turn a worker shows that its turns are what they say.

The gate before the turns proves what the first steps compute. Those that are timed come later, at
another learning rate, on batches that are known by then: a backend could do less in them. So the
clock, the time of other steps, the work that is left and the state are all looked at once more.
"""

import json
import secrets
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import CASES
from benchmarks.cases.bounds import SUMMED, bounds_of_batch
from benchmarks.cases.inputs import LINEAR, write_arrays
from benchmarks.equal_work.gate import judged
from benchmarks.records.documents import Gate, Row, Sample
from benchmarks.records.figures import MOST_FOR_OTHERS, of_others, others_took
from benchmarks.timing.machine import watched
from benchmarks.timing.members import Member, end
from benchmarks.timing.proof.opening import Question, computed, largest
from common.reference.tolerances import row_limits

OF_TURNS = ("clock", "cpus", "outside")
"""What every process is judged by, from its turns alone. All other quantities need further steps,
for which one process of a row is asked, or more."""
OF_TIME = (*OF_TURNS, "late", "unseen")
"""What times tell, which other processes can disturb."""
TRIES = 3
"""A backend that cheats does so every time; another process disturbs now and then."""
SLACK, BUSY_SLACK = 0.01, 0.25
"""Seconds that a request and its answer may take in half of the turns, 4 ms in the stored files,
and in some turns of a machine that others keep busy."""
SHORT = 0.15
"""Seconds of a turn; `--quick` and the GPU's script have turns of 0.2 s at least."""
QUIET = 0.25
"""Quantile of turns that a busy machine does not disturb."""


def turns_pass(member: Member) -> bool:
    """Judge the turns of a row's last process; the row ends if they were not what they said."""
    return passes(member, OF_TURNS, turn_errors(member, last_samples(member)))


def close(member: Member, question: Question) -> bool:
    """Ask a worker the closing questions of its case; the row ends if an answer is wrong."""
    samples = last_samples(member)
    late: dict[str, float | None] = {"late": late_error(member, samples)}
    asked = [name for name in CASES[member.row["case"]].closing if name not in OF_TURNS]
    return passes(member, asked, late | case_errors(member, question, samples))


def last_samples(member: Member) -> list[Sample]:
    """Return the turns of a row's last process."""
    row = member.row
    return [s for s in row["samples"] if s["process"] == len(row["processes"]) - 1]


def passes(member: Member, quantities: Collection[str], errors: Mapping[str, float | None]) -> bool:
    """Add errors to the closing proof of a row, which ends if one is past its bound."""
    row, case = member.row, CASES[member.row["case"]]
    bounds = bounds_of_batch(case.closing, row["backbone"], row["batch_size"], row["crop"], SUMMED)
    limits = row_limits(bounds, row["precision"], row["track"], row["backend"])
    # One that is absent counts as infinite.
    asked = {quantity: errors.get(quantity) for quantity in quantities}
    closing = judged(asked, {quantity: limits[quantity] for quantity in quantities})
    row["closing"] = largest(row.get("closing"), closing)
    if not closing["passed"]:
        end(row, "invalid", f"after the last turn: {closing['reason']}{doubt(row, closing)}")
    return closing["passed"]


def doubt(row: Row, closing: Gate) -> str:
    """Return, to be added to a reason, that other processes may be it; else nothing."""
    broken = {
        quantity
        for quantity, check in closing["checks"].items()
        if check["error"] is None or check["error"] > check["bound"]
    }
    share = of_others(row["samples"])
    if share <= MOST_FOR_OTHERS or not broken <= {*OF_TIME}:
        return ""
    return f"; {others_took(share)}, which may be why: measure again on an idle machine"


def turn_errors(member: Member, samples: list[Sample]) -> dict[str, float]:
    """Return what the turns took beside what they said."""
    collecting = min(seconds_of(member, "turns.collect") for _ in range(TRIES))
    told, lasted, ran, step, used = (
        np.array([sample[name] for sample in samples])
        for name in (
            *("turn_seconds", "asked_seconds", "clocked_seconds", "seconds"),
            "turn_cpu_seconds",
        )
    )
    timed = np.maximum(1e-9, [sample["steps"] * sample["seconds"] for sample in samples])
    cpus = min(len(member.row["processes"][-1]["cpus"]), member.cpus)
    is_busy = of_others(samples) > MOST_FOR_OTHERS
    slack = slack_beside(float(np.median(told)), is_busy)
    outside = np.maximum(0, lasted - timed - step - collecting - slack)
    return {
        "clock": of_most_turns(np.maximum(0, ran - timed - slack) / timed, is_busy),
        "cpus": max(0.0, float(np.median(used / told)) / cpus - 1),
        "outside": of_most_turns(outside / timed, is_busy),
    }


def slack_beside(told: float, is_busy: bool) -> float:
    """Return how many seconds requests and their answers may take beside ``told`` ones of work."""
    if is_busy:
        return BUSY_SLACK
    # In the shortest turns, which no published row has, a disturbed request is half of the turn.
    return SLACK if told >= SHORT else 5 * SLACK


def of_most_turns(errors: NDArray, is_busy: bool) -> float:
    """Return the error that a half of the turns have at least, or reach.

    A process' figure is the median of its turns, so a fault in fewer of them gains nothing. A busy
    machine disturbs more: there it is the error that three quarters have. Of two turns it is the
    lesser one.
    """
    if is_busy or len(errors) <= 2:
        return float(np.quantile(errors, QUIET, method="nearest"))
    return float(np.quantile(errors, 0.5, method="higher"))


def late_error(member: Member, samples: list[Sample]) -> float:
    """Return what work the turns have left, as a share of a step."""
    step = float(np.median([sample["seconds"] for sample in samples]))
    late = (member.ask("turns.late_work", step_seconds=step) for _ in range(TRIES))
    return first_within(
        late, CASES[member.row["case"]].closing["late"][member.row["precision"]].limit
    )


def seconds_of(member: Member, task: str) -> float:
    """Return what a request takes by the parent's clock."""
    started = time.monotonic()
    member.ask(task)
    return time.monotonic() - started


def first_within(errors: Any, limit: float) -> float:
    """Return the least error, or the first that is within the limit; later ones are not asked."""
    least = float("inf")
    for error in errors:
        least = min(least, error)
        if least <= limit:
            break
    return least


def reference_errors(
    case: str, folder: Path, inputs: Path, outputs: Path
) -> dict[str, float | None]:
    """Return the errors of closing answers, which a process of its own computes."""
    program = [sys.executable, "-m", "benchmarks.equal_work.closing", case]
    files = [str(folder / "config.json"), str(inputs), str(outputs)]
    errors: dict[str, float | None] = json.loads(computed([*program, *files], case))
    return errors


def worse(a: float | None, b: float | None) -> float | None:
    """Return the larger of two errors; None is the largest."""
    return None if a is None or b is None else max(a, b)


def case_errors(
    member: Member, question: Question, samples: list[Sample]
) -> dict[str, float | None]:
    """Return the errors of the case's own closing question; none where it has none."""
    row, folder = member.row, question.inputs.parent
    inputs, outputs = folder / "closing.npz", folder / "closing-answers.npz"
    # Of the system's entropy: what the seed gives could be known before.
    generator = np.random.default_rng(secrets.randbits(64))
    errors: dict[str, float | None] = {}
    if not member.begun:  # A turn has too many steps.
        member.steps = LINEAR // 2
        member.begin(1)
        member.turn()
    for steps in (int(generator.integers(4)), 0):  # Of two steps in a row both have to be done.
        drawn = CASES[row["case"]].unseen(question.config, generator)
        if drawn is None:
            return {}
        write_arrays(inputs, drawn)
        member.ask("turns.close", inputs=str(inputs), outputs=str(outputs), steps=steps)
        for quantity, error in reference_errors(row["case"], folder, inputs, outputs).items():
            errors[quantity] = worse(errors.get(quantity, 0.0), error)
        outputs.unlink()
    slow = float(np.quantile([sample["seconds"] for sample in samples], 1 - QUIET))
    limit = CASES[row["case"]].closing["unseen"][row["precision"]].limit
    is_busy = of_others(samples) > MOST_FOR_OTHERS
    unseen = (unseen_error(member, inputs, slow, number, is_busy) for number in range(TRIES))
    errors["unseen"] = first_within(unseen, limit)
    inputs.unlink()  # No later process may find that this one was asked.
    return errors


def unseen_error(member: Member, inputs: Path, slow: float, number: int, is_busy: bool) -> float:
    """Return by which share a step on unknown batches takes longer than a timed one.

    On a busy machine both are timed now; no figure of such a machine is a verdict.

    Args:
        slow: Seconds of a timed step, in a slow turn.
        number: Of the try, each with other batches.
        is_busy: Whether the turns were disturbed.
    """
    member.ask("turns.wake")
    taken = member.ask("turns.take_unseen", inputs=str(inputs), number=number)
    started = time.monotonic()
    step, steps = member.ask("turns.unseen_seconds", steps=taken["steps"]), taken["steps"]
    lasted = time.monotonic() - started - slack_beside(steps * step, is_busy)
    unseen = max(step, lasted / steps) + taken["copying"]
    if unseen > slow:
        now = watched(member.results.document, member.row, member.turn)
        if (now["other_cpu_share"] or 0.0) > MOST_FOR_OTHERS:
            slow = max(slow, now["seconds"])
    return max(0.0, unseen / max(slow, 1e-9) - 1)
