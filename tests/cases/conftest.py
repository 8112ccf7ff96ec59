"""One worker a backend and one reference a case, shared by all tests of the room."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.cases.inputs import Arrays, read_arrays, write_arrays
from benchmarks.equal_work.case_answers import cached_answers
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Gate, Process
from benchmarks.timing.tracks import code_of
from benchmarks.workers.client import Worker
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.reference.tolerances import row_limits


class Question:
    """A case's inputs in a file, and the answers that are expected.

    Args:
        folder: Gets the file, and those that the inputs name.
    """

    def __init__(self, case: str, variant: str | None, config: Config, folder: Path) -> None:
        self.case, self.config, self.path = CASES[case], config, folder / "inputs.npz"
        self.inputs = self.case.inputs(variant, config, folder)
        write_arrays(self.path, self.inputs)
        self.expected = read_arrays(cached_answers(case, config, self.path))

    def gate(self, answers: Arrays, precision: str, track: str, backend: str) -> Gate:
        """Return the gate's record of a backend's answers."""
        limits = row_limits(self.case.bounds, precision, track, backend)
        expected = self.case.expected_of(self.expected, code_of(track))
        return judge(self.case, answers, expected, self.inputs, limits)


class Asked:
    """A backend's worker, and what it answered last."""

    process: Process
    answers: Arrays

    def __init__(self, worker: Worker, folder: Path) -> None:
        self.worker, self.backend, self.outputs = worker, worker.backend, folder / "outputs.npz"

    def set_up(self, question: Question, track: str, precision: str = "float32") -> Gate:
        """Let the worker set a case up; return the gate's record of its answers.

        Raises:
            InputError: What the worker refuses.
        """
        config = {**question.config.to_json(), "precision": precision}
        self.process = self.worker.ask(
            "timing.turns.set_up",
            300,
            backend=self.backend,
            track=track,
            case=question.case.name,
            config=config,
            inputs=str(question.path),
            outputs=str(self.outputs),
        )
        self.answers = read_arrays(self.outputs)
        return question.gate(self.answers, precision, track, self.backend)

    def ask(self, task: str, **arguments: Any) -> Any:
        """Return what a task of a turn returns."""
        return self.worker.ask(f"timing.turns.{task}", 300, **arguments)


@pytest.fixture(scope="package")
def asked(backend_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Each backend's worker in turn, with one thread."""
    folder = tmp_path_factory.mktemp(backend_name)
    with Worker(backend_name, backend_environment(1), folder / "log") as worker:
        yield Asked(worker, folder)


@pytest.fixture(scope="session")
def ask_about(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Question]:
    """f(case, variant, config) -> its question, made once; data sets are small."""

    @cache
    def question(case: str, variant: str | None, config: Config) -> Question:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("benchmarks.cases.load.EPOCH_IMAGES", 16)
            return Question(case, variant, config, tmp_path_factory.mktemp(case))

    return question
