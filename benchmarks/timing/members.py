"""The rows that are measured side by side and their workers: start, fail, end."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cases.inputs import LINEAR
from benchmarks.records.documents import Row, RowStatus
from benchmarks.records.results import Results
from benchmarks.timing.machine import check_card
from benchmarks.timing.proof.late import late_bound
from benchmarks.timing.tracks import WITHOUT_KEPT_MEMORY, WITHOUT_SHORT_SPINNING
from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import (
    COMPILED_ANEW,
    backend_environment,
    cpus_limited,
    interpreter_of,
)
from common.errors import InputError
from common.machine.threads import available_cpus


class Member:
    """A row and, while it is being measured, its worker.

    Attributes:
        steps: Of a turn, when the worker has been calibrated.
        cpus: How many CPUs the worker was given, whatever it says.
        begun: Whether its steps are accounted for.
        plant: A fault that the self-test plants in the backend, of ``timing.plants``.
    """

    def __init__(
        self,
        results: Results,
        row: Row,
        worker: Worker,
        threads: int | None = None,
        plant: str | None = None,
    ) -> None:
        self.results, self.row, self.worker, self.plant = results, row, worker, plant
        self.settings = results.document["settings"]
        self.cpus = threads or len(available_cpus())
        self.steps, self.begun = 1, False

    def begin(self, turns: int) -> None:
        """Let the steps be accounted for from now on, if so many turns are not too many."""
        if not self.begun and turns * (self.steps + 1) <= LINEAR:
            self.ask("turns.begin")
            self.begun = True

    def ask(self, task: str, **arguments: Any) -> Any:
        """Return the worker's answer to a task of this room."""
        return self.worker.ask(f"timing.{task}", self.settings["timeout"], **arguments)

    def turn(self) -> dict[str, Any]:
        """Return the worker's sample of a turn, and the seconds that it took by the parent's clock.

        ``clocked_seconds`` are those of the timed steps alone: a worker's clock may be right again
        after them.
        """
        started = time.monotonic()
        self.ask("turns.wake")
        woken = time.monotonic()
        sample = self.ask("turns.time_turn", steps=self.steps)
        ended = time.monotonic()
        return sample | {"asked_seconds": ended - started, "clocked_seconds": ended - woken}

    @contextmanager
    def measured(self, refused: RowStatus = "failed") -> Iterator[None]:
        """End the row if its worker refuses or fails within, end the worker with the row, save."""
        with ending_on_failure([self.row], refused):
            yield
        if self.row["status"] != "running":
            self.worker.close()
        self.results.save()


def running(rows: list[Row]) -> list[Row]:
    """Return the rows that have not ended."""
    return [row for row in rows if row["status"] == "running"]


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


@contextmanager
def ending_on_failure(rows: list[Row], refused: RowStatus = "unsupported") -> Iterator[None]:
    """End rows if a worker refuses or fails within; what had been measured of them stays.

    Args:
        rows: Those that end.
        refused: Their status if the worker refused.
    """
    try:
        yield
    except (InputError, WorkerFailed) as error:
        for row in rows:
            end(row, refused if isinstance(error, InputError) else "failed", str(error))


def end(row: Row, status: RowStatus, reason: str | None) -> None:
    """End a row with a status and, unless it is ``ok``, a reason and no figures."""
    row["status"], row["reason"] = status, reason
    if status != "ok":
        row["figures"] = None
        say(f"  {row['backend']} {row['track']}: {status}: {reason}")
