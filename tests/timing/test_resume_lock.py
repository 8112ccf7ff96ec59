"""A benchmark has one writer: while it runs, it is neither resumed nor begun anew."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands import bench
from benchmarks.timing.conductor import SCRATCH
from common.machine.locks import only_writer
from tests.support.bench_sample import sample_bench


@pytest.mark.parametrize("options", [["--resume"], ["--quick", "--force", "--out"]])
def test_a_running_benchmark_is_left_alone(
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("it is measured"))
    out, text = tmp_path / "out", json.dumps(sample_bench(cases=["train"], batch_sizes=[1]))
    (out / SCRATCH).mkdir(parents=True)
    (out / "bench.json").write_text(text, encoding="utf-8")
    (out / SCRATCH / "answers.npz").write_bytes(b"in use")
    with only_writer(out):
        before = sorted(out.rglob("*"))
        assert fcn(["bench", *options, str(out)]) == 2
        assert f"error: {out}: is being written by process" in capsys.readouterr().err
        assert sorted(out.rglob("*")) == before
    assert (out / "bench.json").read_text(encoding="utf-8") == text
    assert (out / SCRATCH / "answers.npz").read_bytes() == b"in use"
