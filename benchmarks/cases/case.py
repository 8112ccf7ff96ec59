"""What a case is: one object that knows all about one thing that can be measured.

Three kinds of process use a case: the parent (which rows, which inputs, what to print), the process
of the float64 reference (``expected``) and the workers (``work``). This module imports NumPy alone,
because a worker has nothing else beside its framework.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.closing import HARNESS, whole_batch
from benchmarks.cases.inputs import Arrays, parameters_in
from common.config import Config
from common.parameters.costs import Costs
from common.reference.distances import relative_error
from common.reference.tolerances import BOUNDS, Bound

Bounds = Mapping[str, Mapping[str, Bound]]
"""Quantity -> precision -> the largest error that passes."""


def bounds_of(**names: str) -> dict[str, Mapping[str, Bound]]:
    """Return the bounds of quantities; a value is the name of an entry of ``BOUNDS``."""
    return {quantity: BOUNDS[name] for quantity, name in names.items()}


@dataclass(frozen=True)
class Machine:
    """What of a machine decides which rows a case has: a worker's GPUs and CPU threads.

    There are 0 GPUs where the device is ``cpu``.
    """

    gpus: int
    threads: int


class Work(ABC):
    """A case that has been set up in a worker, with one backend.

    Args:
        backend: The package, or a track's module with its functions.
        config: What the row is measured with.
        inputs: What ``Case.inputs`` returned.

    Attributes:
        takes: The inputs that are the arguments of a step; the first axis of each counts batches.
        first_seconds: Seconds of the first step, compiling included; known after ``answer``.
        steps_together: The steps of a turn are a multiple of it.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    first_seconds: float
    steps_together: int = 1

    def __init__(self, backend: ModuleType, config: Config, inputs: Arrays) -> None:
        self.backend, self.config = backend, config
        self.set_up(inputs)

    @abstractmethod
    def set_up(self, inputs: Arrays) -> None:
        """Prepare the steps, before the first one is timed."""

    @abstractmethod
    def run(self, steps: int) -> None:
        """Do, or only queue, that many steps."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until all of it has been computed."""

    @abstractmethod
    def read(self) -> list[NDArray]:
        """Copy the last step's outcome to the host; return the arrays if a read is their copy."""

    @abstractmethod
    def answer(self) -> Arrays:
        """Do the steps that are compared with the reference and return what they gave."""

    def begin(self) -> None:  # noqa: B027
        """Note the state before the first turn; most work has nothing to note."""

    def close(self, inputs: Arrays) -> Arrays:
        """Answer the closing question, which ``Case.unseen`` drew, from the state that is left."""
        raise NotImplementedError

    def first_step(self) -> None:
        """Do the first step and note what it took, compiling included."""
        started = time.perf_counter()
        self.run(1)
        self.finish()
        self.first_seconds = time.perf_counter() - started


class Steps(Work):
    """Work whose steps take several batches in turn, so that none is always in the cache."""

    def set_up(self, inputs: Arrays) -> None:
        """Copy the batches to the device."""
        arguments = zip(*(inputs[name] for name in self.takes), strict=True)
        self.own = [tuple(map(self.to_device, batch)) for batch in arguments]
        self.batches = cycle(self.own)
        self.outcome: Any = None

    def take(self, batches: list[Any]) -> None:
        """Let the steps that follow take other batches in turn."""
        self.batches = cycle(batches)

    @abstractmethod
    def step(self, *batch: Any) -> Any:
        """Do, or queue, one step and return its outcome."""

    def to_device(self, array: NDArray) -> Any:
        """Copy an array to the device; a float map [B, H, W, C] gets the network's layout."""
        is_map = array.ndim == 4 and array.dtype.kind == "f"
        if is_map and self.backend.LAYOUT == "NCHW":
            array = array.transpose(0, 3, 1, 2)
        return self.backend.to_device(array, self.config)

    def run(self, steps: int) -> None:
        """Do, or only queue, that many steps."""
        for _ in range(steps):
            self.outcome = self.step(*next(self.batches))

    def finish(self) -> None:
        """Wait until the last step has been computed."""
        self.backend.synchronize(self.outcome)

    def read(self) -> list[NDArray]:
        """Copy the last step's outcome to the host."""
        return [np.asarray(self.backend.to_host(self.outcome))]


class NetworkSteps(Steps):
    """Steps of the whole network, with the parameters that are among the inputs."""

    def set_up(self, inputs: Arrays) -> None:
        """Make the state, too."""
        super().set_up(inputs)
        self.state = self.backend.create_state(self.config, parameters_in(inputs))


class Operation(Steps):
    """A part of a step alone, with its gradients; a step has one outcome for each of ``names``."""

    names: ClassVar[tuple[str, ...]]
    operation: Callable[..., Any]

    def step(self, *batch: Any) -> Any:
        """Do, or queue, the operation."""
        return self.operation(*batch)

    def finish(self) -> None:
        """Wait until all outcomes have been computed."""
        for value in self.outcome:
            self.backend.synchronize(value)

    def read(self) -> list[NDArray]:
        """Copy the last outcomes to the host."""
        return [np.asarray(self.backend.to_host(value)) for value in self.outcome]

    def answer(self) -> Arrays:
        """Do the first step and return its outcomes, maps as [B, H, W, C]."""
        self.first_step()
        return self.outcomes()

    def close(self, inputs: Arrays) -> Arrays:
        """Return the outcomes of a step on the batch of the closing question."""
        self.outcome = self.step(*map(self.to_device, whole_batch(inputs)))
        return self.outcomes()

    def outcomes(self) -> Arrays:
        """Return the last step's outcomes as NumPy."""
        return {n: self.to_host(n, v) for n, v in zip(self.names, self.outcome, strict=True)}

    def to_host(self, name: str, value: Any) -> NDArray:
        """Return an outcome as NumPy; maps lose the layout of the network."""
        array = np.asarray(self.backend.to_host(value))
        is_map = array.ndim == 4
        return array.transpose(0, 2, 3, 1) if is_map and self.backend.LAYOUT == "NCHW" else array


class Case(ABC):
    """One thing that can be measured; ``benchmarks.cases.CASES`` has them all.

    Attributes:
        name: On the command line and in documents.
        sentence: What a step is, for ``--help`` and pages: words without a full stop.
        work: The class that does the steps in a worker. It raises InputError where the backend or
            the track does not offer the case.
        bounds: Quantity -> the bounds of its error. The gate wants all of them in every row.
        closing: The same of what is asked after the last turn.
        compared: How many steps the gate compares with the reference.
        parts: What a step computes, of ``network``, ``upsampling``, ``loss`` and ``gradients``. A
            track that changes none of them is the default and has no row.
        place: When the case is measured: 0 is first, 1 next, and 2, what compiles again what
            another case compiles, last.
        unheeded: Names of ``fcn bench``'s settings that change nothing in the case.
        needs: The function that a backend must have.
        heeds_precision: Its steps compute in the precision; bytes have none.
        compiles: Some backend compiles its steps.
        in_new_processes: Every sample is the start of a process, shown in seconds, not as a rate.
        column: ``rows`` if its rows are those of the table in Markdown, ``rate`` if its rate is a
            column of that table, else None.
        marker: matplotlib's marker in the roofline picture.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    work: ClassVar[type[Work]]
    bounds: ClassVar[Bounds] = {}
    closing: ClassVar[Bounds] = HARNESS
    compared: ClassVar[int] = 1
    parts: ClassVar[frozenset[str]] = frozenset()
    place: ClassVar[int] = 1
    unheeded: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[str] = "train_step"
    heeds_precision: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    in_new_processes: ClassVar[bool] = False
    column: ClassVar[str | None] = None
    marker: ClassVar[str] = "o"

    def variants(self, machine: Machine) -> list[str | None]:
        """Return the ways in which the case is measured, each with rows of its own."""
        return [None]

    def tracks(self, chosen: list[str]) -> list[str]:
        """Return the tracks that have rows, of those that were chosen on the command line."""
        return chosen

    def has_row(self, variant: str | None, track: str, backend: str, machine: Machine) -> bool:
        """Return whether a variant has a row on a track of a backend."""
        return True

    def configured(self, config: Config, variant: str | None) -> Config:
        """Return the configuration that a variant computes with."""
        return config

    @abstractmethod
    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        """Return the arrays that every worker gets, drawn from the configuration's seed.

        Files that a worker reads are written below ``folder``.
        """

    @abstractmethod
    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        """Return what a worker has to answer, computed in float64.

        It depends on ``config.recipe`` and ``inputs`` alone and calls no method that a subclass may
        override: cases that inherit it share the answers, which are kept.
        """

    def reference_inputs(self, inputs: Arrays) -> Arrays:
        """Return the inputs that ``expected`` depends on; its answers are kept by their digest.

        By default these are the batches that are compared, and every input that is no batch.
        """
        return inputs | {name: inputs[name][: self.compared] for name in self.work.takes}

    def expected_of(self, expected: Arrays, code: str) -> Arrays:
        """Return the answers that a row is held to, of those that ``expected`` returned.

        The code of a track, ``default`` or ``chapter``, may have its own.
        """
        return expected

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        """Return each quantity's relative error; infinity for one that cannot be compared."""
        return {name: relative_error(answers[name], array) for name, array in expected.items()}

    def unseen(self, config: Config, generator: np.random.Generator) -> Arrays | None:
        """Return the closing question, as ``closing.draw_unseen`` does; None without one."""
        return None

    def closing_errors(self, config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
        """Return the errors of what ``Work.close`` answered, beside the float64 reference."""
        return {}

    @abstractmethod
    def costs(self, config: Config) -> Costs:
        """Return the least that a step has to compute and to move."""

    def limit(self, precision: str, variant: str | None) -> tuple[str, int]:
        """Return the name of the machine's limit of a row, and how many times it counts."""
        return precision, 1

    def pixels(self, config: Config, track: str) -> int | None:
        """Return how many pixels get a label in a step on a track, if that rate is shown."""
        return None
