"""Every way to look faster than one is, is refused by name.

The cheats with the state are planted in a package whose framework is the reference, of a thin
network, and for a release in each backend. Those with the clock and with threads are the harness'
own: a simulated device has them.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.cases import closing as asked
from benchmarks.cases.case import Case
from benchmarks.cases.inputs import read_arrays
from benchmarks.equal_work.case_answers import cached_answers
from benchmarks.records.documents import Gate, Row
from benchmarks.records.results import Results
from benchmarks.timing import members, turns
from benchmarks.timing.group.processes import take_turn
from benchmarks.timing.members import Member
from benchmarks.timing.plan import config_of
from benchmarks.timing.plants import changed
from benchmarks.timing.proof import closing, opening
from benchmarks.timing.proof.opening import Question, make_question, prove
from common.config import Config
from common.reference.distances import finite
from tests.equal_work.cheats import CHEATS, Cheat
from tests.equal_work.numpy_package import Clock, numpy_package
from tests.reference.thin import use_thin_network
from tests.support.bench_sample import planned
from tests.support.documents import ROOT

STEPS = 4
QuestionOf = Callable[[str], Question]
IN_GATE = [name for name, cheat in CHEATS.items() if cheat.refused[0] == "gate"]
ALONE = {
    "no decay",
    "statistics left",
    "loss of the step before",
    "accumulated loss",
    "gradients in bfloat16",
}
"""These are refused by the one quantity that is named; all others of the gate by several."""
QUICK = {*IN_GATE, *(name for name, cheat in CHEATS.items() if cheat.case in ("loss", "predict"))}
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


def document_of(backend: str, case: str, size: tuple[int, int]) -> Any:
    chosen = {"cases": [case], "batch_sizes": [2], "crop": list(size), "tracks": ["default"]}
    return planned(backends=[backend], processes=1, rounds=1, **chosen)


def question_of(case: str, size: tuple[int, int], folder: Path) -> Question:
    document = document_of("torch", case, size)
    config = config_of(document["settings"], document["rows"][0])
    return make_question(document["rows"][0], config, folder)


def computed_here(command: list[str], case: str) -> str:
    """Return the path of a case's answers: a process of its own would have the whole network."""
    config = Config.from_json(json.loads(Path(command[-2]).read_text(encoding="utf-8")))
    return str(cached_answers(case, config, Path(command[-1])))


@pytest.fixture(scope="module")
def thin_questions(tmp_path_factory: pytest.TempPathFactory) -> QuestionOf:
    """Of images so small that only the reference has no kink among their few values."""

    @cache
    def question(case: str) -> Question:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opening, "computed", computed_here)
            return question_of(case, (32, 64), tmp_path_factory.mktemp(case))

    return question


@pytest.fixture
def questions(thin_questions: QuestionOf, monkeypatch: pytest.MonkeyPatch) -> QuestionOf:
    """f(case) -> its question of a thin network."""
    use_thin_network(monkeypatch)
    return thin_questions


@pytest.fixture(scope="module")
def larger_questions(tmp_path_factory: pytest.TempPathFactory) -> QuestionOf:
    """f(case) -> its question of the whole network."""
    return cache(lambda case: question_of(case, (64, 96), tmp_path_factory.mktemp(case)))


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
    for module in (turns, members, closing):
        monkeypatch.setattr(module, "time", clock)
    return clock


def measured(
    package: ModuleType,
    name: str,
    case: str,
    question: Question,
    steps: int,
    folder: Path,
    closes: bool = True,
) -> Row:
    """Return the row of a package that was proved, timed for a turn, and asked again."""
    document = document_of(name, case, question.config.recipe.crop)
    (row,) = document["rows"]
    member = Member(Results(folder, document), row, Here(package))  # type: ignore[arg-type]
    # Where nobody will ask for the sum of the updates, none is begun.
    member.steps, member.begun = steps, not closes
    if prove(member, question):
        take_turn(member, {"process": 0, "round": 0, "turn": 0, "position": 0}, left=1)
        assert closing.turns_pass(member)
        if closes:
            closing.close(member, question)
    return deepcopy(row)


def test_the_table_has_every_cheat_and_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "BENCHMARK.md").read_text(encoding="utf-8")
    table = text.partition("<!-- cheats -->")[2].partition("<!-- end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    own = [(what, who) for what, who, test in rows if "test_cheats.py" in test]
    assert own == [(cheat.sentence, refuser(cheat)) for cheat in CHEATS.values()]
    assert len(rows) >= 25
    for _, _, test in rows:
        file, name = test.strip("`").split(": ")
        (path,) = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in path.read_text(encoding="utf-8")


def broken(proof: Gate | None) -> set[str]:
    """Return the quantities of a proof that are past their bounds."""
    checks = proof["checks"] if proof else {}
    return {n for n, c in checks.items() if c["error"] is None or c["error"] > c["bound"]}


def refuser(cheat: Cheat) -> str:
    """Return who refuses a cheat, in the words of the table."""
    proof, quantity = cheat.refused
    return f"{proof}{'' if cheat.case == 'train' else f' of `{cheat.case}`'}, `{quantity}`"


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("train", "upsample")),
        "predict",
        "loss",
    ],
)
def test_who_does_not_cheat_is_not_refused(
    case: str, clock: Clock, questions: QuestionOf, tmp_path: Path
) -> None:
    row = measured(numpy_package(clock), "torch", case, questions(case), STEPS, tmp_path)
    assert (row["status"], row["reason"]) == ("running", None)
    assert row["closing"]["passed"]
    assert row["closing"]["checks"].keys() == CASES[case].closing.keys()


@pytest.mark.parametrize(
    "cheat",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHEATS],
)
def test_a_cheat_is_refused_by_name(
    cheat: str, clock: Clock, questions: QuestionOf, tmp_path: Path
) -> None:
    refuse(cheat, numpy_package(clock), "torch", questions, tmp_path)


def forget(case: Case, quantities: set[str], patch: pytest.MonkeyPatch) -> None:
    """Let the gate of a case have no such quantities."""

    def left(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in quantities}

    errors = case.errors
    patch.setattr(case, "errors", lambda *arrays: left(errors(*arrays)), raising=False)
    patch.setattr(case, "bounds", left(case.bounds), raising=False)


@pytest.mark.parametrize("cheat", IN_GATE)
def test_without_the_quantities_that_refuse_it_a_cheat_is_timed(
    cheat: str,
    clock: Clock,
    questions: QuestionOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, case, (_, quantity) = CHEATS[cheat].plant, CHEATS[cheat].case, CHEATS[cheat].refused

    def opened() -> Row:
        package = plant(numpy_package(clock))
        return measured(package, "torch", case, questions(case), 1, tmp_path, closes=False)

    row = opened()
    refused = broken(row["gate"])
    assert quantity in refused and not row["samples"]
    assert (refused == {quantity}) == (cheat in ALONE)
    forget(CASES[case], refused, monkeypatch)
    row = opened()
    assert row["gate"] and row["gate"]["passed"] and row["status"] == "running"
    assert len(row["samples"]) == 1


def on_the_clock(backend: ModuleType, clock: Clock) -> ModuleType:
    """Return a backend's package whose steps take a second each by a clock that only they move."""

    def ticking(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            clock.now += 1
            return function(*arguments)

        return step

    return changed(
        backend,
        train_step=ticking(backend.train_step),
        predict_step=ticking(backend.predict_step),
        upsample_operation=lambda *given: ticking(backend.upsample_operation(*given)),
        loss_operation=lambda *given: ticking(backend.loss_operation(*given)),
    )


@pytest.mark.release
@pytest.mark.parametrize("case", ["train", "predict", "upsample", "loss"])
def test_a_backend_that_does_not_cheat_is_not_refused(
    case: str,
    backend: ModuleType,
    backend_name: str,
    clock: Clock,
    larger_questions: QuestionOf,
    tmp_path: Path,
) -> None:
    package = on_the_clock(backend, clock)
    row = measured(package, backend_name, case, larger_questions(case), STEPS, tmp_path)
    assert (row["status"], row["reason"]) == ("running", None)


@pytest.mark.release
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_refused_in_every_backend(
    cheat: str,
    backend: ModuleType,
    backend_name: str,
    clock: Clock,
    larger_questions: QuestionOf,
    tmp_path: Path,
) -> None:
    package = on_the_clock(backend, clock)
    refuse(cheat, package, backend_name, larger_questions, tmp_path)


def refuse(cheat: str, package: ModuleType, name: str, questions: QuestionOf, folder: Path) -> None:
    """Plant a cheat; assert that the proof that has to refuse it does, by the quantity's name."""
    plant, case, (proof, quantity) = CHEATS[cheat].plant, CHEATS[cheat].case, CHEATS[cheat].refused
    steps = 12 if "tenth" in cheat else STEPS
    row = measured(plant(package), name, case, questions(case), steps, folder)
    assert row["status"] == "invalid", cheat
    assert row["gate"]["passed"] == (proof == "closing"), cheat
    refused = broken(row[proof])  # type: ignore[literal-required]
    assert quantity in refused or CHEATS[cheat].also in refused, (cheat, refused)
    assert row["reason"].startswith("after the last turn: " if proof == "closing" else "not equal")
