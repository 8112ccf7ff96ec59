"""benchmarks/gpu.sh, with programs that stand in for uv, nvidia-smi and the interpreters."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.cases import CASES
from benchmarks.timing.settings import bench_parser, settings_from
from common.options import parsed
from tests.conftest import PRESENT
from tests.support.interpreters import bare, program

GPU_SCRIPT = Path(benchmarks.__file__).with_name("gpu.sh")
SMALL = {"FCN_CROP": "32 64", "FCN_BATCH_SIZES": "1"}


def gpu_script(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GPU_SCRIPT, str(out)],
        env={**os.environ, **SMALL, **environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # As in the background.
    )


def test_the_gpu_script_leaves_a_row_for_each_backend_and_ends_where_none_has_a_figure(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    variables = {"PYTHON": str(bare(tmp_path, "")), "FCN_DEVICE": "cpu"}
    done = gpu_script(out, **variables)
    assert done.returncode == 2 and "error: no row has a figure: " in done.stderr, done.stderr
    document = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    rows = document["rows"]
    assert {row["case"] for row in rows} == {"train", "predict"}
    for row in rows:
        assert row["status"] == "unsupported" and "is not installed here" in row["reason"]
    assert (out / "bench.txt").is_file()
    assert "not measured: larger-batches fcn8s " in done.stderr
    again = gpu_script(out, **variables)
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
    cases = [line.split(" --cases ")[1].split()[0] for line in done.stdout.splitlines()]
    assert any("scale" in each for each in cases) == scale


def test_the_gpu_script_measures_other_cases_in_more_processes_where_told(tmp_path: Path) -> None:
    python = program(tmp_path / "python", 'echo "$@"')
    variables = {
        "FCN_CASES": "first_step",
        "FCN_PROCESSES": "3",
        "FCN_NO_NETWORK": "1",
        "FCN_ROUNDS": "2",
    }
    variables["FCN_OPTIONS"] = "--head fcn8s --profile"
    done = gpu_script(tmp_path / "out", PYTHON=str(python), **variables)
    assert " --cases first_step " in done.stdout
    assert " --processes 3 " in done.stdout
    assert done.stdout.endswith(" --rounds 2 --head fcn8s --profile\n")
    assert len(done.stdout.splitlines()) == 1  # No further parts beside the cases that were named.


PARTS = ("larger-batches", "fcn8s", "profiles")
LATER = ("precisions", "others", "first-steps", "other-batches", "gains")
SWITCHED = ("xla-graphs", "xla-latency-hiding", "xla-autotuning", "inductor-autotuning")
ECHO = 'printf "%s\\n" "$XLA_FLAGS $TORCHINDUCTOR_MAX_AUTOTUNE $*"'


def know_the_switches(*switches: str) -> None:
    """XLA ends a process that has a switch which it does not know, on any device."""
    environment = {**os.environ, "XLA_FLAGS": " ".join(switches)}
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_gpu_script_measures_all_in_parts_the_most_wanted_first(
    device: str, tmp_path: Path
) -> None:
    python, out = program(tmp_path / "python", ECHO), tmp_path / "out"
    sizes = {"FCN_BATCH_SIZES": "32 8", "FCN_ROUNDS": "2", "XLA_FLAGS": ""}
    if device == "cpu":
        sizes["FCN_PRECISIONS"] = "float32,float64"
    done = gpu_script(out, PYTHON=str(python), FCN_NO_NETWORK="1", FCN_DEVICE=device, **sizes)
    assert done.returncode == 0 and "not measured" not in done.stderr, done.stderr
    parts, variables = {}, {}
    for line in done.stdout.splitlines():
        before, _, options = line.partition(" -m benchmarks.cli bench ")
        args, named = parsed(bench_parser(), options.split())
        variables[args.out.name] = before.split()
        # None of its options is refused.
        parts[args.out] = settings_from(args, named)
    switched = SWITCHED if device == "gpu" else ()
    names = [*PARTS, *switched, *LATER]
    assert [*parts] == [out, *(out / name for name in names)]
    assert {name for name, words in variables.items() if words} == {*switched}
    for name in switched:
        assert parts[out / name].backends == (("torch" if "inductor" in name else "jax"),)
        words = ["1"] if "inductor" in name else ["--xla_gpu_"]
        assert all(word.startswith(words[0]) for word in variables[name]), name
        assert parts[out / name].profile, name
    if device == "gpu" and "jax" in PRESENT:
        know_the_switches(*(w for name in switched for w in variables[name] if w[0] == "-"))
    assert {case for each in parts.values() for case in each.cases} >= {*CASES} - {
        "accuracy",
        "scale",
    }
    assert parts[out / "larger-batches"].batch_sizes == (64, 128, 256)
    assert parts[out / "other-batches"].batch_sizes == (8,)
    assert parts[out / "fcn8s"].head == "fcn8s" and parts[out / "profiles"].profile
    first, *others = ("float32,float64" if device == "cpu" else "bfloat16,tf32,float32").split(",")
    for path, each in parts.items():
        wanted = others if path.name == "precisions" else [first]
        assert [*each.precisions] == wanted and each.device == device, path


def test_the_gpu_script_ends_when_it_is_interrupted(tmp_path: Path) -> None:
    python = program(tmp_path / "python", f"{ECHO}; exit 130")
    done = gpu_script(tmp_path / "out", PYTHON=str(python), FCN_DEVICE="cpu")
    assert done.returncode == 130 and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("minutes", ["ten", "8,4", "8.4m", "-1"])
def test_the_gpu_script_refuses_minutes_that_are_no_number(minutes: str, tmp_path: Path) -> None:
    done = gpu_script(tmp_path / "out", FCN_MINUTES=minutes, FCN_DEVICE="cpu")
    assert done.returncode == 2
    expected = f"error: FCN_MINUTES={minutes}: expected a number, such as 8.4\n"
    assert done.stderr == expected and not (tmp_path / "out").exists()


def test_the_gpu_script_interrupts_what_takes_too_long(tmp_path: Path) -> None:
    # Only an interrupt ends it, and then it prints its arguments.
    waits = "import sys, time\ntry:\n    time.sleep(1000)\nexcept KeyboardInterrupt:\n"
    (tmp_path / "waits.py").write_text(f"{waits}    print('page', *sys.argv)", encoding="utf-8")
    python = program(tmp_path / "python", f'exec "{sys.executable}" "{tmp_path}/waits.py" "$@"')
    done = gpu_script(tmp_path / "out", PYTHON=str(python), FCN_DEVICE="cpu", FCN_MINUTES="0.02")
    assert done.returncode == 0, done.stderr
    assert "the time is up" in done.stderr
    assert (
        "not measured: larger-batches fcn8s profiles others first-steps gains (FCN_M" in done.stderr
    )
    assert done.stdout.startswith("page ") and " --crop 32 64 " in done.stdout


def test_the_gpu_script_asks_once_whether_there_is_a_network(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "uv", f'echo "$@" >>"{tmp_path}/calls"; exit 2')
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    python = program(tmp_path / "python", 'echo "$@"')
    done = gpu_script(tmp_path / "out", PYTHON=str(python), PATH=path)
    assert done.returncode == 0 and done.stdout.startswith("-m benchmarks.cli bench "), done.stderr
    assert done.stderr.startswith("no uv or no network: the frameworks of ")
    (call,) = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert call.startswith("pip compile ")


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
        ran = subprocess.run([places / name / "python", "x"], capture_output=True, text=True)
        assert ran.stdout.startswith(f"{places}/{name}/bin/python {libraries}"), ran.stderr


def test_the_gpu_script_says_when_the_benchmark_was_killed(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "kill -KILL $$")
    done = gpu_script(tmp_path / "out", PYTHON=str(python), FCN_DEVICE="cpu")
    assert done.returncode == 137
    assert "error: killed, 30 s after the interrupt or because memory ran out" in done.stderr
