"""Workers need NumPy and their framework alone, the parent NumPy; each may have its own Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks
from benchmarks.cases.inputs import make_inputs, write_inputs
from benchmarks.cli import main as fcn
from benchmarks.timing.settings import CASES
from benchmarks.workers.client import Worker
from benchmarks.workers.environment import backend_environment
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from tests.conftest import PRESENT

BARE = Path(__file__).parents[1] / "support/bare.py"
STAND_IN = Path(__file__).parents[1] / "support/stand_in.py"
ROOTS = {
    "torch": "torch",
    "mxnet": "mxnet,requests,setuptools",
    "jax": "jax,flax,optax",
    "tf": "tensorflow",
}
"""A backend's dependency group; torchvision, for weights and the chapter's track, may be absent, as
may Grain, for that track's loading."""
ABSENT = ("PIL", "tqdm", "jsonschema", "safetensors", "matplotlib", "hypothesis", "playwright")


def bare(folder: Path, roots: str) -> Path:
    """Return an interpreter that finds nothing but ``roots``."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{BARE}" "{roots}" "$@"\n')
    path.chmod(0o755)
    return path


def imports(python: Path, name: str) -> bool:
    command = [python, "-c", f"import {name}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nothing_else_is_found_there(tmp_path: Path) -> None:
    python = bare(tmp_path, "numpy")
    assert imports(python, "numpy, json, common.config")
    assert not any(imports(python, name) for name in (*ABSENT, "torch", "scipy", "jinja2"))


@pytest.mark.slow
def test_a_worker_does_every_case_with_its_framework_alone(
    backend_name: str, tmp_path: Path
) -> None:
    recipe = make_recipe("chapter-torch", batch_size=1, crop=(32, 64))
    config = Config(recipe)
    python = bare(tmp_path, ROOTS[backend_name])
    log = tmp_path / "log"
    with Worker(backend_name, backend_environment(None), log, str(python)) as worker:
        for case in ("train", "predict", "images", "upsample", "loss", "load"):
            inputs, outputs = tmp_path / f"{case}.npz", tmp_path / "outputs.npz"
            write_inputs(inputs, make_inputs(case, None, config, tmp_path))
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
                with pytest.raises(InputError, match="track needs torchvision, not installed"):
                    worker.ask("timing.turns.set_up", 300, **{**arguments, "track": "chapter"})
            worker.ask("timing.turns.set_up", 300, **arguments)
            with np.load(outputs) as found:
                assert all(np.isfinite(found[name]).all() for name in found)
            # What it says of work left over is judged where nothing else runs: by each row of
            # `fcn bench`, and by its selftest.
            assert worker.ask("timing.turns.calibrate", 300, seconds=0.0, least=1)["steps"] == 1
            assert worker.ask("timing.turns.time_turn", 300, steps=1)["seconds"] > 0
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
        write_inputs(inputs, make_inputs("load", "cold", config, tmp_path))
        with pytest.raises(InputError, match="^jax's own loader needs grain, not installed$"):
            worker.ask("timing.turns.set_up", 300, case="load", **arguments)
        write_inputs(inputs, make_inputs("predict", None, config, tmp_path))
        found = worker.ask("timing.turns.set_up", 300, case="predict", **arguments)
    assert "grain" not in found["backend"]["versions"]


def test_the_parent_needs_numpy_alone(tmp_path: Path) -> None:
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" fine "$@"\n')
    stand_in.chmod(0o755)
    out = tmp_path / "out"
    command = [bare(tmp_path, ""), "-m", "benchmarks.cli", "bench", "--cases", "loss"]
    command += ["--backends", "torch,jax", "--python", f"torch={stand_in}", "--out", out]
    command += ["--batch-sizes", "1", "--crop", "32", "32", "--rounds", "2", "--seconds", "0.01"]
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
    stand_in = program(tmp_path / "stand-in", f'exec "{sys.executable}" "{STAND_IN}" fine "$@"')
    out = tmp_path / "out"
    options = ["--backends", "torch,jax", "--cases", "loss", "--out", str(out)]
    options += ["--python", f"torch={bare(tmp_path, '')}", "--python", f"jax={stand_in}"]
    small = ["--batch-sizes", "1,2", "--crop", "32", "32", "--rounds", "1", "--seconds", "0.01"]
    assert fcn(["bench", *options, *small]) == 0
    rows = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in rows] == ["unsupported", "ok"] * 2
    for row in rows[::2]:
        assert row["reason"].startswith("backend torch: PyTorch is not installed here")


def test_an_interpreter_that_cannot_be_run_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("no program", encoding="utf-8")
    out = tmp_path / "out"
    options = ["--backends", "torch", "--python", f"torch={tmp_path}/python", "--out", str(out)]
    small = ["--cases", "loss", "--batch-sizes", "1", "--crop", "32", "32", "--rounds", "1"]
    assert fcn(["bench", *options, *small]) == 1
    (row,) = json.loads((out / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert row["status"] == "failed" and "python cannot be run (Permission denied)" in row["reason"]


GPU_SCRIPT = Path(benchmarks.__file__).with_name("gpu.sh")
SMALL = {"FCN_CROP": "32 64", "FCN_BATCH_SIZES": "1"}


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def gpu_script(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GPU_SCRIPT, str(out)],
        env={**os.environ, **SMALL, **environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # As in the background.
    )


def test_the_gpu_script_leaves_a_row_for_each_backend_and_case(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = {"PYTHON": str(bare(tmp_path, "")), "FCN_DEVICE": "cpu"}
    done = gpu_script(out, **given)
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    rows = document["rows"]
    assert {row["case"] for row in rows} == {*CASES} - {"accuracy", "first_step"}
    for row in rows:
        assert row["status"] == "unsupported" and "is not installed here" in row["reason"]
    assert (out / "bench.txt").is_file()
    again = gpu_script(out, **given)
    assert again.returncode == 2
    assert again.stderr == f"error: {out} is not empty: name another folder\n"


@pytest.mark.parametrize(
    "visible, scale",
    [({}, True), ({"CUDA_VISIBLE_DEVICES": "1"}, False), ({"CUDA_VISIBLE_DEVICES": "1,0"}, True)],
)
def test_the_gpu_script_scales_where_it_may_use_several_gpus(
    visible: dict[str, str], scale: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "nvidia-smi", "printf '8.0\\n8.0\\n'")
    python = program(tmp_path / "python", 'echo "$@"')
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "FCN_NO_NETWORK": "1"}
    done = gpu_script(tmp_path / "out", PYTHON=str(python), **path, **visible)
    assert done.returncode == 0, done.stderr
    (cases,) = (line.split()[0] for line in done.stdout.split(" --cases ")[1:])
    assert cases.split(",")[:3] == ["train", "predict", "load"]
    assert ("scale" in cases) == scale


def test_the_gpu_script_measures_other_cases_in_other_rounds_where_told(tmp_path: Path) -> None:
    python = program(tmp_path / "python", 'echo "$@"')
    given = {"FCN_CASES": "first_step", "FCN_ROUNDS": "1", "FCN_NO_NETWORK": "1"}
    done = gpu_script(tmp_path / "out", PYTHON=str(python), **given)
    assert " --cases first_step " in done.stdout and " --rounds 1 " in done.stdout


def test_the_gpu_script_interrupts_what_takes_too_long(tmp_path: Path) -> None:
    # Ends, and well, by an interrupt alone; it is asked for the page, then.
    waits = "import sys, time\ntry:\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n"
    (tmp_path / "waits.py").write_text(f"{waits}    print('page', *sys.argv)", encoding="utf-8")
    python = program(tmp_path / "python", f'exec "{sys.executable}" "{tmp_path}/waits.py" "$@"')
    done = gpu_script(tmp_path / "out", PYTHON=str(python), FCN_DEVICE="cpu", FCN_MINUTES="0.02")
    assert done.returncode == 0, done.stderr
    assert "the time is up" in done.stderr
    assert done.stdout.startswith("page ") and "--batch-sizes 1 --crop 32 64" in done.stdout


def test_the_gpu_script_asks_once_whether_there_is_a_network(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "uv", f'echo "$@" >>"{tmp_path}/asked"; exit 2')
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    python = program(tmp_path / "python", 'echo "$@"')
    done = gpu_script(tmp_path / "out", PYTHON=str(python), PATH=path)
    assert done.returncode == 0 and done.stdout.startswith("-m benchmarks.cli bench "), done.stderr
    assert done.stderr.startswith("no uv or no network: the frameworks of ")
    (asked,) = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked.startswith("pip compile ")


UV = """
[ "$1 $2" = "pip install" ] && echo "$@" >>"{folder}/installed"
[ "$1" = venv ] || exit 0
for place; do :; done
mkdir -p "$place/bin" "$place/nvidia/cudnn/lib"
printf '#!/bin/sh\\necho "$0" "$LD_LIBRARY_PATH" "$@"\\n' >"$place/bin/python"
chmod +x "$place/bin/python"
"""


def test_the_gpu_script_makes_an_environment_for_the_benchmark_and_one_for_each_backend(
    tmp_path: Path,
) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "uv", UV.format(folder=tmp_path))
    program(tmp_path / "bin" / "nvidia-smi", "echo 8.0")
    python = program(tmp_path / "python", "exit 3")  # It alone has nothing to measure with.
    out = tmp_path / "a folder"
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = gpu_script(out, PYTHON=str(python), PATH=path, LD_LIBRARY_PATH="/given")
    assert done.returncode == 0, done.stderr
    places = out / "environments"
    assert done.stdout.startswith(f"{places}/parent/bin/python /given -m benchmarks.cli bench ")
    parent, *others = (tmp_path / "installed").read_text(encoding="utf-8").splitlines()
    assert parent.endswith("-r pyproject.toml")
    assert [line.count(" nvidia-ml-py ") for line in others] == [1] * 4
    for name, libraries in (
        ("torch", ""),
        ("mxnet", f"{places}/mxnet/nvidia/cudnn/lib:"),
    ):
        assert f"--python {name}={places}/{name}/python" in done.stdout
        said = subprocess.run([places / name / "python", "x"], capture_output=True, text=True)
        assert said.stdout.startswith(f"{places}/{name}/bin/python {libraries}"), said.stderr


def test_the_gpu_script_says_when_the_benchmark_was_killed(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "kill -KILL $$")
    done = gpu_script(tmp_path / "out", PYTHON=str(python), FCN_DEVICE="cpu")
    assert done.returncode == 137
    assert "error: killed, 30 s after the interrupt or because memory ran out" in done.stderr
