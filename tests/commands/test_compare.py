"""`fcn compare` from end to end: what it trains, what it leaves, and its status where one fails."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import compare
from benchmarks.equal_work.drift import WITH_FLOAT64
from benchmarks.workers import scripts
from common import backends
from tests.conftest import PRESENT


def test_a_missing_and_a_crashing_backend_are_rows_and_another_goes_on(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = next(name for name in WITH_FLOAT64 if name in PRESENT)
    missing, crashing, *_ = (name for name in backends.BACKENDS if name != trained)
    monkeypatch.setitem(backends.IMPORT_NAMES, missing, "absent_framework")
    monkeypatch.setitem(backends.IMPORT_NAMES, crashing, "numpy")
    right = scripts.script_command

    def command(
        backend: str, script: str, arguments: Sequence[str], python: str = sys.executable
    ) -> list[str]:
        if backend == crashing:
            return [sys.executable, "-c", "import os; os.abort()"]
        return right(backend, script, arguments, python)

    monkeypatch.setattr(scripts, "script_command", command)
    prove = compare.prove_evaluation

    def prove_all_but_the_crashing(backend: str, *rest: Any) -> scripts.Outcome:
        return scripts.Outcome("ok", None) if backend == crashing else prove(backend, *rest)

    monkeypatch.setattr(compare, "prove_evaluation", prove_all_but_the_crashing)
    out = tmp_path / "out"
    small = ["--crop", "64", "64", "--batch-size", "4", "--max-steps", "2"]
    order = ",".join((missing, crashing, trained))
    where = ["--data", str(generated), "--out", str(out)]
    status = fcn(["compare", *where, "--backends", order, *small, "--json"])
    assert status == 1
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    first, second, third = result["rows"]
    assert (first["backend"], first["status"]) == (missing, "missing")
    assert "is not installed here" in first["reason"]
    assert (second["backend"], second["status"]) == (crashing, "failed")
    assert "ended by signal 6" in second["reason"]
    assert (third["backend"], third["status"]) == (trained, "ok")
    assert third["agreement"] <= 1 and len(third["steps"]) == 2
    pixels = result["pixels"]
    assert pixels["background"] == 4 * 64 * 64 > pixels["ignore"] > 0
    for reading, scores in third["epochs"][0]["scores"].items():
        assert scores["pixels"] == pixels[reading]
    assert f"{pixels['background']:,} validation pixels" in (out / "report.html").read_text("utf-8")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert first["reason"].partition(";")[0] in page and "ended by signal 6" in page
    for example in result["gallery"]:
        assert list(example["predictions"]) == [trained]
        assert all((out / path).is_file() for path in example["predictions"].values())


def test_what_cannot_be_proven_is_not_trained(
    generated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in WITH_FLOAT64:
        monkeypatch.setitem(backends.IMPORT_NAMES, name, "absent_framework")
    out = tmp_path / "out"
    small = ["--crop", "64", "64", "--batch-size", "4", "--max-steps", "2"]
    assert fcn(["compare", "--data", str(generated), "--out", str(out), *small]) == 2
    assert "error: no backend here computes the first losses in float64" in capsys.readouterr().err
    assert not (out / "compare.json").exists()


@pytest.mark.release
def test_a_comparison_of_nothing_but_defaults_learns_in_all_four(tmp_path: Path) -> None:
    """Above always predicting background: 0.10 in pixel accuracy, three times its mean IoU."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.cli", "compare", "--out", str(out)]
    subprocess.run([*command, "--backends", ",".join(PRESENT)], check=True, capture_output=True)
    result = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in result["rows"]] == ["ok"] * len(result["rows"])
    for row in result["rows"]:
        scores = row["scores"][result["config"]["recipe"]["void"]]
        assert 0.5 <= scores["background_pixel_accuracy"] <= 0.8
        assert scores["classes_present"] >= 8
        assert scores["pixel_accuracy"] >= scores["background_pixel_accuracy"] + 0.10
        assert scores["mean_iou"] >= 3 * scores["background_mean_iou"]
