"""The gate refuses an error beyond its bound, and bounds are those of the row's code."""

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.equal_work.gate import judge
from benchmarks.records.documents import Gate
from common.reference.tolerances import row_limits

TRAIN = CASES["train"]


def judged(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, float], track: str, backend: str
) -> Gate:
    """Return the gate's record of a training step with these errors."""
    monkeypatch.setattr(type(TRAIN), "errors", lambda *_: errors)
    limits = row_limits(TRAIN.bounds, "float32", track, backend)
    return judge(TRAIN, {}, {}, {}, limits)


@pytest.mark.parametrize(
    "errors, reason",
    [
        ({"loss": 1e-7}, None),
        ({"loss": 4e-2}, "loss is off by 0.04"),
        ({"loss": float("inf")}, "loss"),
        ({"unheard of": 1e-9}, "unheard of"),
    ],
)
def test_an_error_over_its_bound_or_without_one_is_refused(
    errors: dict[str, float], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = judged(monkeypatch, errors, "default", "torch")
    assert gate["passed"] == (reason is None)
    assert (reason or "") in (gate["reason"] or "")


def test_an_answer_that_is_missing_is_refused() -> None:
    limits = row_limits(TRAIN.bounds, "float32", "default", "torch")
    gate = judge(TRAIN, {}, {"loss": np.zeros(1)}, {}, limits)
    assert not gate["passed"] and "loss" in str(gate["reason"])


def test_only_a_framework_that_defines_variances_otherwise_may_have_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = {
        (backend, track)
        for backend in ("torch", "mxnet", "jax", "tf")
        for track in ("default", "chapter")
        if judged(monkeypatch, {"statistics": 4e-2}, track, backend)["passed"]
    }
    assert passed == {(backend, "chapter") for backend in ("mxnet", "jax", "tf")}
