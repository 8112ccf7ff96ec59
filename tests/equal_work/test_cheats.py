"""Every way to look faster than one is, is refused by name.

The cheats with the state are planted in a package whose framework is the reference, of a thin
network, and for a release in each backend. Those with the clock and with threads are the harness'
own: a simulated device has them.
"""

import importlib
import json
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.cases import closing as asked
from benchmarks.cases.inputs import read_arrays
from benchmarks.equal_work.case_answers import cached_answers
from benchmarks.records.documents import Row
from benchmarks.records.results import Results
from benchmarks.timing import turns
from benchmarks.timing.group.processes import take_turn
from benchmarks.timing.members import Member
from benchmarks.timing.plan import config_of
from benchmarks.timing.plants import changed
from benchmarks.timing.proof import closing, opening
from benchmarks.timing.proof.opening import Question, make_question, prove
from common.config import Config
from common.reference.distances import finite
from tests.equal_work.cheats import CHEATS
from tests.equal_work.numpy_package import Clock, numpy_package
from tests.reference.thin import use_thin_network
from tests.support.bench_sample import planned
from tests.support.documents import ROOT

STEPS = 4
CASE = CASES["train"]
QUICK = {name for name, cheat in CHEATS.items() if cheat.refused[0] == "gate"}
"""All others are asked whole closing questions, which take seconds."""


class Here:
    """A worker in this process.

    Args:
        package: Of its backend.
    """

    def __init__(self, package: ModuleType) -> None:
        self.package = package

    def ask(self, task: str, timeout: float, **arguments: Any) -> Any:
        module, function = f"benchmarks.{task}".rsplit(".", 1)
        return getattr(importlib.import_module(module), function)(self.package, **arguments)

    def close(self) -> None:
        pass


def document_of(backend: str, size: tuple[int, int]) -> Any:
    chosen = {"cases": ["train"], "batch_sizes": [2], "crop": list(size), "tracks": ["default"]}
    return planned(backends=[backend], processes=1, rounds=1, **chosen)


def question_of(size: tuple[int, int], folder: Path) -> Question:
    document = document_of("torch", size)
    config = config_of(document["settings"], document["rows"][0])
    return make_question(document["rows"][0], config, folder)


def computed_here(command: list[str], case: str) -> str:
    """Return the path of a case's answers: a process of its own would have the whole network."""
    config = Config.from_json(json.loads(Path(command[-2]).read_text(encoding="utf-8")))
    return str(cached_answers(case, config, Path(command[-1])))


@pytest.fixture(scope="module")
def thin_question(tmp_path_factory: pytest.TempPathFactory) -> Question:
    """Of images so small that only the reference has no kink among their few values."""
    with pytest.MonkeyPatch.context() as patch:
        use_thin_network(patch)
        patch.setattr(opening, "computed", computed_here)
        return question_of((32, 64), tmp_path_factory.mktemp("question"))


@pytest.fixture
def question(thin_question: Question, monkeypatch: pytest.MonkeyPatch) -> Question:
    use_thin_network(monkeypatch)
    return thin_question


@pytest.fixture(scope="module")
def larger_question(tmp_path_factory: pytest.TempPathFactory) -> Question:
    return question_of((64, 96), tmp_path_factory.mktemp("larger"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Ask of the state alone, in this process, with few steps and a clock that they move."""
    clock = Clock()

    def errors(case: str, folder: Path, inputs: Path, outputs: Path) -> dict[str, float | None]:
        values = (folder / "config.json").read_text(encoding="utf-8")
        config = Config.from_json(json.loads(values))
        given = (read_arrays(inputs), read_arrays(outputs))
        return {k: finite(v) for k, v in CASES[case].closing_errors(config, *given).items()}

    monkeypatch.setattr(closing, "reference_errors", errors)
    monkeypatch.setattr(closing, "turn_errors", lambda *_: dict.fromkeys(closing.OF_TURNS, 0.0))
    monkeypatch.setattr(closing, "late_error", lambda *_: 0.0)
    monkeypatch.setattr(asked, "MOST_UNSEEN", 3)
    monkeypatch.setattr("gc.collect", int)
    monkeypatch.setattr(turns, "time", clock)
    return clock


def measured(package: ModuleType, name: str, question: Question, steps: int, folder: Path) -> Row:
    """Return the row of a package that was proved, timed for a turn, and asked again."""
    document = document_of(name, question.config.recipe.crop)
    (row,) = document["rows"]
    member = Member(Results(folder, document), row, Here(package))  # type: ignore[arg-type]
    member.steps = steps
    if prove(member, question):
        take_turn(member, {"process": 0, "round": 0, "turn": 0, "position": 0}, left=1)
        assert closing.turns_pass(member)
        closing.close(member, question)
    return deepcopy(row)


def test_the_table_has_every_cheat_and_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "BENCHMARK.md").read_text(encoding="utf-8")
    table = text.partition("<!-- cheats -->")[2].partition("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    own = [(what, who) for what, who, test in rows if "test_cheats.py" in test]
    assert own == [
        (cheat.sentence, f"{cheat.refused[0]}, `{cheat.refused[1]}`") for cheat in CHEATS.values()
    ]
    assert len(rows) >= 25
    for _, _, test in rows:
        file, name = test.strip("`").split(": ")
        (path,) = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_who_does_not_cheat_is_not_refused(
    clock: Clock, question: Question, tmp_path: Path
) -> None:
    row = measured(numpy_package(clock), "torch", question, STEPS, tmp_path)
    assert (row["status"], row["reason"]) == ("running", None)
    assert row["closing"]["passed"] and row["closing"]["checks"].keys() == CASE.closing.keys()


@pytest.mark.parametrize(
    "cheat",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHEATS],
)
def test_a_cheat_is_refused_by_name(
    cheat: str, clock: Clock, question: Question, tmp_path: Path
) -> None:
    refuse(cheat, numpy_package(clock), "torch", question, tmp_path)


def on_the_clock(backend: ModuleType, clock: Clock) -> ModuleType:
    """Return a backend's package whose steps take a second each by a clock that only they move."""

    def train_step(*arguments: Any) -> Any:
        clock.now += 1
        return backend.train_step(*arguments)

    return changed(backend, train_step=train_step)


@pytest.mark.release
def test_a_backend_that_does_not_cheat_is_not_refused(
    backend: ModuleType, backend_name: str, clock: Clock, larger_question: Question, tmp_path: Path
) -> None:
    package = on_the_clock(backend, clock)
    row = measured(package, backend_name, larger_question, STEPS, tmp_path)
    assert (row["status"], row["reason"]) == ("running", None)


@pytest.mark.release
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_refused_in_every_backend(
    cheat: str,
    backend: ModuleType,
    backend_name: str,
    clock: Clock,
    larger_question: Question,
    tmp_path: Path,
) -> None:
    package = on_the_clock(backend, clock)
    refuse(cheat, package, backend_name, larger_question, tmp_path)


def refuse(cheat: str, package: ModuleType, name: str, question: Question, folder: Path) -> None:
    """Plant a cheat; assert that the proof that has to refuse it does, by the quantity's name."""
    plant, (proof, quantity) = CHEATS[cheat].plant, CHEATS[cheat].refused
    steps = 12 if "tenth" in cheat else STEPS
    row = measured(plant(package), name, question, steps, folder)
    assert row["status"] == "invalid", cheat
    assert row["gate"]["passed"] == (proof == "closing"), cheat
    checks = row[proof]["checks"]  # type: ignore[literal-required]
    broken = [n for n, c in checks.items() if c["error"] is None or c["error"] > c["bound"]]
    assert quantity in broken or CHEATS[cheat].also in broken, (cheat, checks)
    assert row["reason"].startswith("after the last turn: " if proof == "closing" else "not equal")
