"""The case `backward`: every backend's gradients are the reference's, and mistakes are refused."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.cases.inputs import parameters_in
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Gate
from benchmarks.timing.plants import changed
from common.config import Config
from common.parameters.names import is_statistic
from common.recipes import make_recipe
from common.reference.tolerances import row_limits
from tests.conftest import PRESENT
from tests.equal_work.cheats import rounded
from tests.support.plants import epsilon_of_keras

CONFIG = Config(make_recipe("chapter-torch", batch_size=2, crop=(64, 96)), device="cpu")
CASE = CASES["backward"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return CASE.inputs(None, CONFIG, tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def expected(inputs: dict[str, Any]) -> dict[str, Any]:
    return CASE.expected(CONFIG, inputs)


def gate_of(backend: ModuleType, name: str, inputs: Any, expected: Any) -> Gate:
    backend.configure(CONFIG)
    answers = CASE.work(backend, CONFIG, inputs).answer()
    limits = row_limits(CASE.bounds, "float32", "default", name)
    return judge(CASE, answers, expected, inputs, limits)


def refused(gate: Gate) -> set[str]:
    """Return the quantities that are beyond their bounds."""
    checks = gate["checks"].items()
    return {
        name for name, check in checks if check["error"] is None or check["error"] > check["bound"]
    }


def test_the_backward_pass_gives_what_the_reference_gives(
    backend: ModuleType, backend_name: str, inputs: Any, expected: Any
) -> None:
    gate = gate_of(backend, backend_name, inputs, expected)
    quantities = {"loss", "gradients", "score_weights", "statistics"}
    assert gate["passed"] and gate["checks"].keys() == quantities


def test_the_backward_pass_updates_no_parameter(backend: ModuleType, inputs: Any) -> None:
    backend.configure(CONFIG)
    work: Any = CASE.work(backend, CONFIG, inputs)
    work.run(2)
    work.finish()
    before, after = parameters_in(inputs), backend.parameters_of(work.state)
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {name for name in before if not is_statistic(name)}


def test_a_backward_pass_that_is_left_out_is_refused(
    backend: ModuleType, backend_name: str, inputs: Any, expected: Any
) -> None:
    def none(state: Any, *batch: Any) -> Any:
        state, loss, _ = backend.backward_step(state, *batch)
        return state, loss, {}

    def zeros(state: Any, *batch: Any) -> Any:
        state, loss, gradients = backend.backward_step(state, *batch)
        return state, loss, {name: 0 * gradient for name, gradient in gradients.items()}

    gate = gate_of(changed(backend, backward_step=none), backend_name, inputs, expected)
    assert not gate["passed"]
    gate = gate_of(changed(backend, backward_step=zeros), backend_name, inputs, expected)
    assert refused(gate) == {"gradients", "score_weights"}


def test_gradients_that_are_rounded_to_bfloat16_are_refused(
    backend: ModuleType, backend_name: str, inputs: Any, expected: Any
) -> None:
    planted = changed(backend, to_canonical=lambda array: rounded(backend.to_canonical(array)))
    gate = gate_of(planted, backend_name, inputs, expected)
    assert refused(gate) == {"score_weights"}


@pytest.mark.parametrize("backend_name", PRESENT[:1], indirect=True)
def test_another_epsilon_is_refused(
    backend: ModuleType,
    backend_name: str,
    inputs: Any,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one backend: in the others tests/equal_work/test_planted.py plants it."""
    epsilon_of_keras(monkeypatch, backend_name, backend)
    gate = gate_of(backend, backend_name, inputs, expected)
    assert {"loss", "gradients"} <= refused(gate)
