"""What a case is: one object that knows all about one thing that can be measured.

A case is asked by the parent (which rows, which inputs, what to print), by the process of the
float64 reference (``expected``) and by a worker (``set_up``). Imports NumPy only, for a worker has
nothing else beside its framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Protocol

from numpy.typing import NDArray

from common.config import Config
from common.reference.distances import relative_error
from common.reference.tolerances import Bound

Arrays = dict[str, NDArray]
Bounds = Mapping[str, Bound]
"""Precision -> the largest error that passes; zero for all where bytes are compared."""


@dataclass(frozen=True)
class Plan:
    """What of a benchmark's settings decides which rows a case has.

    Attributes:
        backends, tracks, precisions: By name, in the order of the rows.
        device: ``auto``, ``cpu`` or ``gpu``.
        upsampling: As in ``common.config.Config``.
        gpus: How many GPUs a worker sees; 0 where the device is ``cpu``.
        threads: CPU threads of a worker.
    """

    backends: tuple[str, ...]
    tracks: tuple[str, ...]
    precisions: tuple[str, ...]
    device: str
    upsampling: str
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


@dataclass(frozen=True)
class Costs:
    """The least that a step has to do, counted from the shapes: FLOPs and bytes."""

    flops: float
    bytes: float


class Case(ABC):
    """One thing that can be measured; ``benchmarks.cases.CASES`` has them all.

    Attributes:
        name: On the command line and in documents.
        sentence: What a step is, for ``--help`` and pages; a noun phrase without a full stop.
        bounds: Quantity -> the bounds of its error. The gate wants all of them in every row.
        unheeded: Options of ``fcn bench``, by the names of their settings, that change nothing.
        place: Where the case comes in a benchmark: 0 first, 1 then, 2 last. What is wanted most
            comes first, what compiles once more what another case did comes last.
        in_new_processes: Every sample is the start of a process, told in seconds and not as a rate.
        whole_trainings: It has no rows, but a part of the document of its own.
        compiles: Some backend compiles its steps.
        needs: The function that a backend must have.
        heeds_precision: Its steps compute in the precision; bytes have none.
        marker: matplotlib's marker in the roofline picture.
        beside_training: Its rate stands in a column of the README's table of ``train``.
        parts: What a step computes: ``training``, ``network``, ``upsampling``, ``loss``. A track
            that changes none of them is the default and has no row.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    bounds: ClassVar[Mapping[str, Bounds]]
    unheeded: ClassVar[frozenset[str]] = frozenset()
    place: ClassVar[int] = 1
    in_new_processes: ClassVar[bool] = False
    whole_trainings: ClassVar[bool] = False
    compiles: ClassVar[bool] = True
    needs: ClassVar[str] = "train_step"
    heeds_precision: ClassVar[bool] = True
    marker: ClassVar[str] = "o"
    beside_training: ClassVar[bool] = False
    parts: ClassVar[frozenset[str]] = frozenset()

    def variants(self, plan: Plan) -> list[str | None]:
        """Return the ways in which the case is measured, each with rows of its own."""
        return [None]

    def tracks(self, plan: Plan) -> tuple[str, ...]:
        """Return the tracks that have rows, of those that were asked for."""
        return plan.tracks

    def has_row(self, variant: str | None, track: str, backend: str, plan: Plan) -> bool:
        """Tell whether a variant means something for a track of a backend."""
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
        """Return what a worker has to answer, computed in float64."""

    def reference_inputs(self, inputs: Arrays) -> Arrays:
        """Return the inputs that ``expected`` depends on; its answers are kept by their digest."""
        return inputs

    @abstractmethod
    def set_up(self, backend: ModuleType, config: Config, inputs: Arrays) -> Work:
        """Prepare the case in a worker.

        Raises:
            InputError: If the backend or track does not offer it.
        """

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        """Return each quantity's relative error; infinity for one that cannot be compared."""
        return {name: relative_error(answers[name], array) for name, array in expected.items()}

    def expected_of_track(self, expected: Arrays, track: str) -> Arrays:
        """Return the answers that a row is held to, where tracks have answers of their own."""
        return expected

    @abstractmethod
    def costs(self, config: Config) -> Costs:
        """Return the least that a step has to do."""

    def limit(self, precision: str, variant: str | None) -> tuple[str, int]:
        """Return the name of the machine's limit that a row is held to, and how often it counts."""
        return precision, 1

    def pixels(self, config: Config, track: str) -> int | None:
        """Return how many pixels get a label in a step, where a rate of those is told too."""
        return None
