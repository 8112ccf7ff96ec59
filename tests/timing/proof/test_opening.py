"""What a row's worker is asked beside, and how its answers are read."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.records.documents import Check, Gate
from benchmarks.timing.proof.opening import Question, check, largest, make_question
from benchmarks.workers.client import WorkerFailed
from common.config import Config
from common.recipes import make_recipe
from tests.support.bench_sample import planned

CONFIG = Config(make_recipe("chapter-torch"))


def test_the_reference_keeps_its_memory_as_the_workers_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (row, *_) = planned(cases=["loss"])["rows"]
    environments = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        environments.append(options["env"])
        return subprocess.CompletedProcess(command, 0, "outputs.npz\n", "")

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    small = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 64)))
    question = make_question(row, small, tmp_path)
    assert question == Question(small, tmp_path / "inputs.npz", Path("outputs.npz"))
    assert "mmap_threshold" in environments[0]["GLIBC_TUNABLES"]


def test_answers_in_a_type_that_numpy_has_not_are_one_workers_failure(tmp_path: Path) -> None:
    np.savez(tmp_path / "outputs.npz", logits=np.zeros(4, "V2"))
    np.savez(tmp_path / "expected.npz", logits=np.zeros(4, np.float32))
    rows = planned(cases=["predict"], precisions=["bfloat16"])["rows"]
    row = next(row for row in rows if row["backend"] == "jax")
    question = Question(CONFIG, tmp_path / "expected.npz", tmp_path / "expected.npz")
    with pytest.raises(WorkerFailed, match="^jax left logits in a type that NumPy"):
        check(tmp_path / "outputs.npz", question, row)


def gate_of(reason: str | None, **errors: float | None) -> Gate:
    """Return a gate with these errors, all of one bound."""
    checks: dict[str, Check] = {name: {"error": e, "bound": 1e-3} for name, e in errors.items()}
    return {"passed": reason is None, "reason": reason, "checks": checks}


def test_a_row_has_the_largest_error_of_its_processes() -> None:
    first, second = gate_of(None, loss=1e-5, update=2e-4), gate_of(None, loss=2e-5, update=1e-4)
    assert largest(None, first) == first
    assert largest(first, second) == gate_of(None, loss=2e-5, update=2e-4)
    asked_of_one = gate_of(None, loss=3e-5)
    assert largest(first, asked_of_one) == gate_of(None, loss=3e-5, update=2e-4)
    refused = gate_of("loss is infinite", loss=None, update=0.0)
    assert largest(first, refused) == refused
