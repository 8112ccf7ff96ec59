"""Faults planted in a backend, in a worker: what the harness has to find.

`fcn bench selftest` and `fcn bench calibrate` plant them.
"""

import importlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

from benchmarks.cases.case import Work
from benchmarks.records.documents import Process
from benchmarks.timing import turns

SLOWDOWNS = (0.01, 0.02, 0.05, 0.1)
"""By which shares of its time a row of a calibration is slower than a plain one."""
PAUSE = 0.05
"""After each step of a calibration's plain row, as a share of the step. A pause lets a framework's
threads fall asleep, and waking them takes time. With a pause in every row, rows differ by what is
planted alone."""


def slowed(share: float) -> str:
    """Return the name of the plant that makes a calibration's row slower by ``share``; 0: plain."""
    return f"slowed-{share:g}"


PAUSES: dict[str, float] = {
    "slower": 0.05,
    **{slowed(share): (1 + PAUSE) * (1 + share) - 1 for share in (0.0, *SLOWDOWNS)},
}
"""Name -> after each step, a pause of this share of the step's own time."""


def set_up(package: ModuleType, plant: str, **arguments: Any) -> Process:
    """Set a case up, as ``timing.turns.set_up`` does, with a fault planted in the backend."""
    process = turns.set_up(FAULTS[plant](package) if plant in FAULTS else package, **arguments)
    if plant in PAUSES:
        pause_after_steps(turns.Turn.work, PAUSES[plant])
    return process


def pause_after_steps(work: Work, share: float) -> None:
    """Let each step of ``work`` be waited for, then do nothing for ``share`` of its time.

    A step with its pause takes exactly 1 + ``share`` times as long as the step. The pause watches
    the clock, because a sleep would last longer than it was told to.
    """
    run = work.run

    def run_with_pauses(steps: int) -> None:
        for _ in range(steps):
            started = time.perf_counter()
            run(1)
            work.finish()
            ended = time.perf_counter()
            end = ended + share * (ended - started)
            while time.perf_counter() < end:
                pass

    work.run = run_with_pauses  # type: ignore[method-assign]


def changed(package: ModuleType, **functions: Any) -> ModuleType:
    """Return a package that differs in some functions."""
    copy = ModuleType(package.__name__)
    vars(copy).update(vars(package) | functions)
    return copy


class Later:
    """One of the outcomes of a step that another thread does."""

    def __init__(self, future: Future[tuple[Any, Any]], index: int) -> None:
        self.future, self.index = future, index

    def __float__(self) -> float:
        return float(value_of(self))


def value_of(value: Any) -> Any:
    return value.future.result()[value.index] if isinstance(value, Later) else value


def unsynchronised(package: ModuleType) -> ModuleType:
    """Steps are queued, in any framework, and ``synchronize`` does not wait for them."""
    queue = ThreadPoolExecutor(1)

    def train_step(state: Any, *arguments: Any) -> tuple[Later, Later]:
        future = queue.submit(lambda: package.train_step(value_of(state), *arguments))
        return Later(future, 0), Later(future, 1)

    return changed(
        package,
        train_step=train_step,
        parameters_of=lambda state: package.parameters_of(value_of(state)),
        synchronize=lambda value: None,
    )


def epsilon(package: ModuleType) -> ModuleType:
    """Batch norm divides by the deviation with Keras' epsilon, not PyTorch's."""
    model: Any = importlib.import_module(f"{package.__name__}.model")
    model.BATCH_NORM_EPSILON = 1e-3
    return package


FAULTS: dict[str, Callable[[ModuleType], ModuleType]] = {
    plant.__name__: plant for plant in (unsynchronised, epsilon)
}
"""Name -> a function that returns a backend with the fault."""
PLANTS = (*PAUSES, *FAULTS)
