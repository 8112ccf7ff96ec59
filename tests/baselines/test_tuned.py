"""The tuned track does the same work, or says why there is none here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.commands.bench import main as bench

OPTIONS = ["--track", "tuned", "--crop", "64", "96", "--batch-sizes", "2", "--rounds", "3"]


@pytest.mark.slow
@pytest.mark.xdist_group("torch")  # Alone, the last but two, it would keep one worker waiting.
def test_compiled_steps_pass_the_gate(tmp_path: Path) -> None:
    options = ["--backends", "torch,tf", "--cases", "train,predict", "--seconds", "0.01"]
    assert bench([*OPTIONS, *options, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in rows] == ["ok"] * 4
    compilers = {row["backend"]: row["processes"][0]["switches"]["compile"] for row in rows}
    assert compilers == {
        "torch": "torch.compile, max-autotune",
        "tf": "tf.function, jit_compile",
    }


def test_where_nothing_is_left_to_tune_the_row_says_so(tmp_path: Path) -> None:
    options = ["--backends", "mxnet,jax", "--cases", "predict", "--seconds", "0.01"]
    assert bench([*OPTIONS, *options, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in rows] == ["unsupported"] * 2
    assert "static shapes" in rows[0]["reason"] and "documented for a CPU" in rows[1]["reason"]
