"""The requests that a benchmark's worker answers: set up, time a turn, report the memory.

Runs in a worker, with NumPy and the framework alone. A process has one case and keeps it through
all rounds; between its turns it waits for the next request.
"""

import ctypes
import gc
import importlib
import importlib.util
import multiprocessing
import time
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np

from benchmarks.cases import CASES
from benchmarks.cases.case import Steps, Work
from benchmarks.cases.closing import copied_batches
from benchmarks.cases.inputs import read_arrays, write_arrays
from benchmarks.records.documents import Process
from benchmarks.timing.proof.late import complete, late_bound, work_left
from benchmarks.timing.tracks import code_of, config_of_track
from benchmarks.workers.supervision import cpu_seconds
from common.config import Config, check_precision
from common.errors import InputError
from common.machine.provenance import host_memory_peak, recorded_environment, resident_peak
from common.machine.threads import available_cpus


class Turn:
    """This process's work and when it last ended some."""

    backend: ModuleType
    config: Config
    work: Work
    ended: tuple[float, float]
    """Wall clock and CPU time, both in seconds, at the end of the last turn."""
    woken: tuple[float, float]
    """The same at the beginning of this turn."""
    own: dict[str, Any]
    """What the work steps on, while it has unknown batches in its place."""


def track_module(package: ModuleType, backend: str, track: str) -> ModuleType:
    """Return the module whose code a track runs: the backend's package, or that of a baseline.

    Raises:
        InputError: If the backend has no such track, or what the track needs is not installed.
    """
    if code_of(track) == "default":
        return package
    baseline = f"benchmarks.baselines.{track}"
    if importlib.util.find_spec(f"{baseline}.{backend}_code") is None:
        raise InputError(f"{backend} has no {track} track")
    try:
        own = importlib.import_module(f"{baseline}.{backend}_code")
        return importlib.import_module(baseline).completed(own, package)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{backend}'s {track} track needs {error.name}, which is not installed"
        ) from error


def ready(package: ModuleType) -> None:
    """Answer once the framework is imported."""


def set_up(
    package: ModuleType,
    backend: str,
    track: str,
    case: str,
    config: dict[str, Any],
    inputs: str,
    outputs: str,
) -> Process:
    """Prepare a case, take its first steps, and leave their answers in the file ``outputs``.

    Returns:
        The process's part of a row. ``first_ended`` is when its first step was done, by the clock
        that all processes of the machine share.

    Raises:
        InputError: If the backend or track does not offer the case, or not in this precision.
    """
    Turn.config = config_of_track(Config.from_json(config), track)
    Turn.backend = track_module(package, backend, track)
    started = time.perf_counter()
    measured = CASES[case]
    if not hasattr(Turn.backend, measured.needs):
        raise InputError(f"{backend} has no {case} on the track {track}")
    Turn.backend.configure(Turn.config)
    if measured.heeds_precision:
        check_precision(Turn.config, Turn.backend.precisions(Turn.config))
    Turn.work = measured.work(Turn.backend, Turn.config, read_arrays(Path(inputs)))
    created, clock = time.perf_counter(), time.monotonic()
    write_arrays(Path(outputs), Turn.work.answer())
    rest()
    return {
        "backend": Turn.backend.describe(Turn.config),
        "switches": Turn.backend.switches(Turn.config),
        "environment": recorded_environment(),
        "cpus": available_cpus(),
        "create_seconds": created - started,
        "first_seconds": Turn.work.first_seconds,
        "first_ended": clock + Turn.work.first_seconds,
        "cpu_seconds": own_seconds(),
    }


def time_steps(steps: int) -> float:
    """Return the seconds that ``steps`` steps take, from idle to idle."""
    gc.collect()
    return clocked(steps)


def clocked(steps: int) -> float:
    """Return the seconds that ``steps`` steps take once the garbage is collected."""
    gc.disable()
    try:
        started = time.perf_counter()
        complete(Turn.work, steps)
        return time.perf_counter() - started
    finally:
        gc.enable()


def calibrate(package: ModuleType, seconds: float, least: int) -> dict[str, float]:
    """Find how many steps fill ``seconds``, and whether anything is computed after a turn's end."""
    whole = Turn.work.steps_together
    complete(Turn.work, 1)
    # A backend that does not wait leaves work every time, another process disturbs now and then.
    for _ in range(3):
        step = min(time_steps(whole), time_steps(whole)) / whole
        if whole * step < seconds / 8:  # Few steps are short beside what a turn costs itself.
            step = time_steps(4 * whole) / (4 * whole)
        steps, late = work_left(Turn.work, step)
        if late <= late_bound(steps * step):
            break
    rest()
    return {
        "steps": whole * int(np.ceil(max(least, seconds / max(step, 1e-6)) / whole)),
        "step_seconds": step,
        "late_steps": steps,
        "late_seconds": late,
    }


def wake(package: ModuleType) -> None:
    """Begin a turn: do one step and collect the garbage, so that the timed steps find all awake.

    It is a request of its own, so that the parent can clock the timed steps alone.
    """
    Turn.woken = time.perf_counter(), own_seconds()
    complete(Turn.work, 1)
    gc.collect()


def time_turn(package: ModuleType, steps: int) -> dict[str, Any]:
    """Time ``steps`` after ``wake``; return what the CPU did since the last turn, too."""
    seconds = clocked(steps)
    (slept, asleep), (woken, used) = Turn.ended, Turn.woken
    rest()
    return {
        "seconds": seconds / steps,
        "steps": steps,
        "turn_seconds": Turn.ended[0] - woken,
        "turn_cpu_seconds": Turn.ended[1] - used,
        "slept_seconds": woken - slept,
        "asleep_cpu_share": (used - asleep) / (woken - slept) if woken > slept else 0.0,
    }


def begin(package: ModuleType) -> None:
    """Note the state; the steps that follow are accounted for when the worker is closed."""
    Turn.work.begin()
    rest()


def close(package: ModuleType, inputs: str, outputs: str, steps: int) -> None:
    """Do ``steps`` more; leave the answers to the closing question in the file ``outputs``."""
    Turn.work.run(steps)
    write_arrays(Path(outputs), Turn.work.close(read_arrays(Path(inputs))))


def take_unseen(package: ModuleType, inputs: str, number: int) -> dict[str, float]:
    """Copy batches that no step, and no other ``number``, has had; the next steps are on them.

    Call it after ``wake``: from the first copy to the end of ``unseen_seconds`` nothing of the
    backend is called but what is timed, so it cannot do the batches' work beside the clock.

    Returns:
        How many batches they are, and the seconds for each that are no copy.
    """
    work, arrays = cast(Steps, Turn.work), read_arrays(Path(inputs))
    gc.disable()
    batches, copying = copied_batches(work.backend, work.to_device, arrays, number)
    Turn.own = {k: value for k, value in vars(work).items() if k in ("batches", "loader", "rate")}
    work.take(batches)
    return {"steps": len(batches), "copying": copying}


def unseen_seconds(package: ModuleType, steps: int) -> float:
    """Return the seconds of a step on the batches of ``take_unseen``, and give the work its own."""
    seconds = clocked(steps)
    vars(Turn.work).update(Turn.own)
    return seconds / steps


def late_work(package: ModuleType, step_seconds: float) -> float:
    """Return the share of a turn's work that is left after it, now that all turns were timed."""
    steps, late = work_left(Turn.work, step_seconds)
    return max(0.0, late) / (4 * late_bound(steps * step_seconds))


def collect(package: ModuleType) -> None:
    """Do what a turn does beside its steps."""
    gc.collect()


def profile(package: ModuleType, folder: str, steps: int) -> None:
    """Leave the framework's own trace of ``steps`` steps in ``folder``."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with package.trace(Path(folder)):
        complete(Turn.work, steps)
    rest()


def used(package: ModuleType, steps: int) -> dict[str, Any]:
    """Return the peaks of memory, in bytes.

    The host's peak is that of this process and of those it keeps for loading, which live as long
    as the case; pages that they share count in each. It is the peak of ``steps`` steps, which are
    done for it. Without steps, or where the system cannot reset it, it is that since the start.
    """
    reset = steps > 0 and forget_peak()
    if reset:
        complete(Turn.work, steps)
        rest()
    children = sum(resident_peak(child.pid or 0) for child in multiprocessing.active_children())
    return {
        "host_memory_peak_bytes": host_memory_peak() + children,
        "host_memory_peak_reset": reset,
        "device_memory_peak_bytes": Turn.backend.device_memory_peak(Turn.config),
    }


def forget_peak() -> bool:
    """Let the peak of this process's memory begin anew; return whether it does.

    glibc keeps the memory that the proof of equal work and compiling have freed. It would count
    again, so it is given back. Later steps find other pages and may take another time, so this is
    done when all of them have been timed.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except (AttributeError, OSError):  # Another C library; another system, or not allowed.
        return False
    return True


def rest() -> None:
    """Note when this process began to wait."""
    Turn.ended = time.perf_counter(), own_seconds()


def own_seconds() -> float:
    """Return the CPU time of this process and of those that it keeps for loading."""
    children = [child.pid or 0 for child in multiprocessing.active_children()]
    return time.process_time() + cpu_seconds(*children)
