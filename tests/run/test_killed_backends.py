"""Each backend's own training, killed while it runs, ends as if it had not been."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers.environment import backend_environment, cpus_limited
from common.parameters.files import read_parameters
from common.run.log import read_metrics

pytestmark = pytest.mark.release
OPTIONS = ["--recipe", "modern", "--epochs", "2", "--crop", "64", "64", "--batch-size", "4"]
OPTIONS += ["--deterministic", "--threads", "1", "--checkpoint-every", "2", "--no-progress"]
STEPS = 6


def command(backend: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"{backend}_impl.train", *map(str, arguments), *OPTIONS]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `--threads 1` would else start each of the trainings anew for."""
    for name, value in backend_environment(1).items():
        monkeypatch.setenv(name, value)
    with cpus_limited(1):
        yield


def kill_after(backend: str, steps: int, *arguments: object) -> None:
    """Run a training and kill it once it has said ``steps`` losses, whatever it does then."""
    out = Path(str(arguments[-1]))
    with subprocess.Popen(command(backend, *arguments), stderr=subprocess.DEVNULL) as process:
        metrics, deadline = out / "metrics.jsonl", time.monotonic() + 200
        while not metrics.exists() or metrics.read_bytes().count(b'"step"') < 2 * steps:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_killed_training_ends_bit_for_bit_as_an_uninterrupted_one(
    backend_name: str, generated: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    data = ("--data", generated)
    subprocess.run(command(backend_name, *data, "--out", whole), check=True, capture_output=True)
    # One that is killed after it was resumed: tests/run/test_killed_training.py.
    kill_after(backend_name, 3, *data, "--out", killed)
    subprocess.run(
        command(backend_name, *data, "--resume", killed), check=True, capture_output=True
    )
    for name in (f"checkpoints/step-{STEPS:08d}/optimizer.safetensors", "model.safetensors"):
        actual, expected = (read_parameters(run / name)[0] for run in (killed, whole))
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(actual[key], value, err_msg=key)
    lines = [read_metrics(run / "metrics.jsonl") for run in (killed, whole)]
    steps, expected_steps = (
        [(line["step"], line["loss"]) for line in of_run if line["kind"] == "step"]
        for of_run in lines
    )
    assert [step for step, _ in steps] == list(range(STEPS))
    assert steps == expected_steps
