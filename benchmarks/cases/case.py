"""What a case is: one object that knows all about one thing that can be measured.

A case is asked by the parent (which rows, which inputs, what to print), by the process of the
float64 reference (``expected``) and by a worker (``set_up``). Imports NumPy only, for a worker has
nothing else beside its framework.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.parameters.costs import Costs
from common.reference.distances import relative_error
from common.reference.tolerances import Bound

Arrays = dict[str, NDArray]
Bounds = Mapping[str, Bound]
"""Precision -> the largest error that passes."""


@dataclass(frozen=True)
class Machine:
    """What of a machine decides which rows a case has.

    Attributes:
        gpus: How many GPUs a worker may use; 0 where the device is ``cpu``.
        threads: CPU threads of a worker.
    """

    gpus: int
    threads: int


class Work(Protocol):
    """A case that has been set up in a worker, with one backend.

    Attributes:
        first_seconds: Seconds of the first step, compiling included; known after ``answer``.
        steps_together: The steps of a turn are a multiple of it.
    """

    first_seconds: float
    steps_together: int

    def run(self, steps: int) -> None:
        """Do, or only queue, that many steps."""

    def finish(self) -> None:
        """Wait until all of it has been computed."""

    def read(self) -> None:
        """Copy to the host what the last step computed: it cannot be read before it is there."""

    def answer(self) -> Arrays:
        """Do the steps that are compared with the reference and return what they gave."""


class Steps(ABC):
    """Work whose steps take several batches in turn, so that none is always in the cache.

    Args:
        backend: The package, or a track's module with its functions.
        batches: Each the arguments of a step, on the device.
    """

    first_seconds: float
    steps_together = 1

    def __init__(self, backend: ModuleType, batches: list[tuple[Any, ...]]) -> None:
        self.backend, self.batches = backend, batches
        self.done = 0
        self.outcome: Any = None

    @abstractmethod
    def step(self, *batch: Any) -> Any:
        """Do, or queue, one step and return what it will have computed."""

    @abstractmethod
    def answer(self) -> Arrays:
        """Do the steps that are compared with the reference and return what they gave."""

    def next_batch(self) -> tuple[Any, ...]:
        """Return the arguments of the next step."""
        batch = self.batches[self.done % len(self.batches)]
        self.done += 1
        return batch

    def run(self, steps: int) -> None:
        """Do, or only queue, that many steps."""
        for _ in range(steps):
            self.outcome = self.step(*self.next_batch())

    def finish(self) -> None:
        """Wait until the last step has been computed."""
        self.backend.synchronize(self.outcome)

    def read(self) -> None:
        """Copy the last step's outcome to the host."""
        self.backend.to_host(self.outcome)

    def first_step(self) -> None:
        """Do the first step and note what it took, compiling included."""
        started = time.perf_counter()
        self.run(1)
        self.finish()
        self.first_seconds = time.perf_counter() - started


class Operation(Steps):
    """A part of a step alone, with its gradients; a step has one outcome for each of ``names``."""

    names: ClassVar[tuple[str, ...]]

    def finish(self) -> None:
        """Wait until all outcomes have been computed."""
        for value in self.outcome:
            self.backend.synchronize(value)

    def read(self) -> None:
        """Copy the last outcome to the host."""
        self.backend.to_host(self.outcome[-1])

    def answer(self) -> Arrays:
        """Do the first step and return its outcomes, maps as [B, H, W, C]."""
        self.first_step()
        return {
            name: self.to_host(name, value)
            for name, value in zip(self.names, self.outcome, strict=True)
        }

    def to_host(self, name: str, value: Any) -> NDArray:
        """Return an outcome as NumPy; maps lose the layout of the network."""
        array = np.asarray(self.backend.to_host(value))
        is_map = array.ndim == 4
        return array.transpose(0, 2, 3, 1) if is_map and self.backend.LAYOUT == "NCHW" else array


def map_to_device(array: NDArray, backend: ModuleType, config: Config) -> Any:
    """Copy a map [B, H, W, C] to the device, in the layout that it has inside the network."""
    in_layout = array.transpose(0, 3, 1, 2) if backend.LAYOUT == "NCHW" else array
    return backend.to_device(in_layout, config)


class Case(ABC):
    """One thing that can be measured; ``benchmarks.cases.CASES`` has them all.

    Attributes:
        name: On the command line and in documents.
        sentence: What a step is, for ``--help`` and pages: words without a full stop.
        bounds: Quantity -> the bounds of its error. The gate wants all of them in every row.
        parts: What a step computes, of ``network``, ``upsampling``, ``loss`` and ``gradients``. A
            track that changes none of them is the default and has no row.
        place: Where the case comes in a benchmark: 0 first, 1 then, 2 last. What is wanted most
            comes first; what compiles once more what another case has compiled comes last.
        unheeded: Names of ``fcn bench``'s settings that change nothing in the case.
        needs: The function that a backend must have.
        heeds_precision: Its steps compute in the precision; bytes have none.
        compiles: Some backend compiles its steps.
        in_new_processes: Every sample is the start of a process, told in seconds and not as a rate.
        column: ``rows`` if its rows are those of the table in Markdown, ``rate`` if its rate is a
            column of that table, else None.
        marker: matplotlib's marker in the roofline picture.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    bounds: ClassVar[Mapping[str, Bounds]] = {}
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
        """Tell whether a variant differs from the case's first one on a track of a backend."""
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
        """Return the inputs that ``expected`` depends on; its answers are kept by their digest."""
        return inputs

    @abstractmethod
    def set_up(self, backend: ModuleType, config: Config, inputs: Arrays) -> Work:
        """Prepare the case in a worker.

        Raises:
            InputError: If the backend or the track does not offer it.
        """

    def expected_of(self, expected: Arrays, code: str) -> Arrays:
        """Return the answers that a row is held to, where the code of a track has its own.

        Args:
            expected: What ``expected`` returned.
            code: ``default`` or ``chapter``.
        """
        return expected

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        """Return each quantity's relative error; infinity for one that cannot be compared."""
        return {name: relative_error(answers[name], array) for name, array in expected.items()}

    @abstractmethod
    def costs(self, config: Config) -> Costs:
        """Return the least that a step has to compute and to move."""

    def limit(self, precision: str, variant: str | None) -> tuple[str, int]:
        """Return the name of the machine's limit that a row is held to, and how often it counts."""
        return precision, 1

    def pixels(self, config: Config, code: str) -> int | None:
        """Return how many pixels get a label in a step, where that rate is told too."""
        return None
