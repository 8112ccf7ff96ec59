"""Faults planted in a backend, in a worker: what `fcn bench selftest` has to find."""

import importlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

from benchmarks.records.documents import Process
from benchmarks.timing import turns


def set_up(package: ModuleType, plant: str, **arguments: Any) -> Process:
    """Set a case up, as ``timing.turns.set_up`` does, with a fault planted in the backend."""
    return turns.set_up(PLANTS[plant](package), **arguments)


def changed(package: ModuleType, **functions: Any) -> ModuleType:
    """Return a package that differs in some functions."""
    copy = ModuleType(package.__name__)
    vars(copy).update(vars(package) | functions)
    return copy


def slower(package: ModuleType) -> ModuleType:
    """Each step is followed by a sleep of a twentieth of its time."""

    def train_step(*arguments: Any) -> tuple[Any, Any]:
        started = time.perf_counter()
        state, loss = package.train_step(*arguments)
        package.synchronize(loss)
        time.sleep(0.05 * (time.perf_counter() - started))
        return state, loss

    return changed(package, train_step=train_step)


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


PLANTS: dict[str, Callable[[ModuleType], ModuleType]] = {
    plant.__name__: plant for plant in (slower, unsynchronised, epsilon)
}
"""Name -> a function that returns a backend with the fault."""
