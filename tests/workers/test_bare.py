"""Workers need NumPy and their framework alone, the parent NumPy; each may have its own Python."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.cases.inputs import write_arrays
from benchmarks.cli import main as fcn
from benchmarks.workers.client import Worker
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from tests.conftest import PRESENT
from tests.support.interpreters import bare, stand_in

ROOTS = {
    "torch": "torch",
    "mxnet": "mxnet,requests,setuptools",
    "jax": "jax,flax,optax",
    "tf": "tensorflow",
}
"""A backend's dependency group; torchvision, for weights and the chapter's track, may be absent, as
may Grain, for that track's loading."""
ABSENT = ("PIL", "tqdm", "jsonschema", "safetensors", "matplotlib", "hypothesis", "playwright")


def test_nothing_else_is_found_there(tmp_path: Path) -> None:
    there, absent = ("numpy", "json", "common.config"), (*ABSENT, "torch", "scipy", "jinja2")
    program = f"""
import importlib
for name in {(*there, *absent)}:
    try:
        importlib.import_module(name)
        print(name)
    except ImportError:
        pass
"""
    command = [bare(tmp_path, "numpy"), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(there)


@pytest.mark.slow
def test_a_worker_does_what_every_case_does_with_its_framework_alone(
    backend_name: str, tmp_path: Path
) -> None:
    recipe = make_recipe("chapter-torch", batch_size=1, crop=(32, 64))
    config = Config(recipe)
    python = bare(tmp_path, ROOTS[backend_name])
    log = tmp_path / "log"
    with Worker(backend_name, backend_environment(None), log, str(python)) as worker:
        # Of what `backward` does, `train` does all.
        for case in ("train", "predict", "images", "upsample", "loss", "load"):
            inputs, outputs = tmp_path / f"{case}.npz", tmp_path / "outputs.npz"
            write_arrays(inputs, CASES[case].inputs(None, config, tmp_path))
            arguments: dict[str, Any] = {
                "backend": backend_name,
                "track": "default",
                "case": case,
                "config": config.to_json(),
                "inputs": str(inputs),
                "outputs": str(outputs),
            }
            if case == "load":
                with pytest.raises(InputError, match="Pillow"):
                    worker.ask("timing.turns.set_up", 300, **arguments)
                continue
            if case == "predict" and backend_name == "torch":
                with pytest.raises(
                    InputError, match="track needs torchvision, which is not installed"
                ):
                    worker.ask("timing.turns.set_up", 300, **{**arguments, "track": "chapter"})
            worker.ask("timing.turns.set_up", 300, **arguments)
            with np.load(outputs) as answers:
                assert all(np.isfinite(answers[name]).all() for name in answers)
            worker.ask("timing.turns.wake", 300)
            assert worker.ask("timing.turns.time_turn", 300, steps=1)["seconds"] > 0
        # Of the last case alone: the others calibrate by the same code. Whether work was left over
        # can be judged only where nothing else runs: each row of `fcn bench` and its selftest do.
        assert worker.ask("timing.turns.calibrate", 300, seconds=0.0, least=1)["steps"] == 1
        assert worker.ask("timing.turns.used", 60, steps=1)["host_memory_peak_bytes"] > 2**20
        rates = worker.ask("timing.limits.measure", 300, config=config.to_json(), seconds=0.0)
        assert rates["flops_per_second"] > 1e8


def test_without_grain_the_chapters_track_loads_nothing_and_does_the_rest(tmp_path: Path) -> None:
    if "jax" not in PRESENT:
        pytest.skip("FCN_SKIP_BACKENDS names jax")
    config = Config(make_recipe("chapter-torch", batch_size=1, crop=(32, 64)))
    python, inputs = bare(tmp_path, f"{ROOTS['jax']},pillow"), tmp_path / "inputs.npz"
    with Worker("jax", backend_environment(None), tmp_path / "log", str(python)) as worker:
        arguments: dict[str, Any] = {
            "backend": "jax",
            "track": "chapter",
            "config": config.to_json(),
            "inputs": str(inputs),
            "outputs": str(tmp_path / "outputs.npz"),
        }
        write_arrays(inputs, CASES["load"].inputs("cold", config, tmp_path))
        with pytest.raises(InputError, match="^jax's own loader needs grain, not installed$"):
            worker.ask("timing.turns.set_up", 300, case="load", **arguments)
        write_arrays(inputs, CASES["predict"].inputs(None, config, tmp_path))
        process = worker.ask("timing.turns.set_up", 300, case="predict", **arguments)
    assert "grain" not in process["backend"]["versions"]


def test_the_parent_needs_numpy_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [bare(tmp_path, ""), "-m", "benchmarks.cli", "bench", "--cases", "loss"]
    command += ["--backends", "torch,jax", "--out", out]
    command += ["--python", f"torch={stand_in(tmp_path, 'fine')}"]
    command += ["--batch-sizes", "1", "--crop", "32", "32", "--processes", "1", "--seconds", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"bench.json", "bench.txt", "logs"}
    document = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert not document["schema_checked"]
    torch, jax = document["rows"]
    assert torch["status"] == "ok"
    assert jax["status"] == "unsupported" and "is not installed here" in jax["reason"]
    assert "is not installed here" in (out / "bench.txt").read_text(encoding="utf-8")
    assert fcn(["bench", "check", str(out)]) == 0


def test_an_interpreter_without_its_framework_is_a_row_and_the_others_are_whole(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    options = ["--backends", "torch,jax", "--cases", "loss", "--out", str(out)]
    options += [
        "--python",
        f"torch={bare(tmp_path, '')}",
        "--python",
        f"jax={stand_in(tmp_path, 'fine')}",
    ]
    small = ["--batch-sizes", "1,2", "--crop", "32", "32", "--processes", "1", "--seconds", "0.01"]
    assert fcn(["bench", *options, *small]) == 0
    rows = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in rows] == ["unsupported", "ok"] * 2
    for row in rows[::2]:
        assert row["reason"].startswith("backend torch: PyTorch is not installed here")


def test_an_interpreter_that_cannot_be_run_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("no program", encoding="utf-8")
    out = tmp_path / "out"
    options = ["--backends", "torch", "--python", f"torch={tmp_path}/python", "--out", str(out)]
    small = ["--cases", "loss", "--batch-sizes", "1", "--crop", "32", "32", "--processes", "1"]
    assert fcn(["bench", *options, *small]) == 1
    (row,) = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert row["status"] == "failed" and "python cannot be run (Permission denied)" in row["reason"]
