"""What a training at the chapter's size takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.workers.environment import backend_environment
from common.data.synthetic import make_dataset

pytestmark = pytest.mark.release
GIB = 2**30


def test_a_training_at_320x480_stays_below_six_gibibytes(backend_name: str, tmp_path: Path) -> None:
    data = tmp_path / "VOC"
    make_dataset(data, train=16, val=8, size=(340, 500), seed=1)
    command = [sys.executable, "-m", f"{backend_name}_impl.train", "--data", str(data)]
    command += ["--out", str(tmp_path / "run"), "--recipe", "chapter-torch", "--batch-size", "8"]
    command += ["--epochs", "1", "--no-progress", "--json"]
    environment = backend_environment(None)  # Which it would else start anew for.
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    # Of the framework alone it is more than half of one.
    assert 0.5 * GIB < json.loads(result.stdout)["host_memory_peak_bytes"] < 6 * GIB
