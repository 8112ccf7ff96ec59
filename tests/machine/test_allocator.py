"""The allocator keeps a step's memory from the start of a process on, and can be told not to."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.workers.environment import backend_environment
from common.machine import allocator as memory
from common.machine.allocator import VARIABLE, allocator_environment

# The page faults of a block of 64 MiB that is taken and given back by a thread for the tenth time.
BLOCKS = """
import resource, threading
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(64 << 20, np.uint8).fill(1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def run():
    for _ in range(10):
        faults()

thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def last_faults(keep_memory: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS],
        env=backend_environment(1, "cpu", keep_memory),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_a_block_is_taken_from_the_system_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert last_faults(keep_memory=True) == 0
    # NumPy asks for huge pages: 32 faults for 64 MiB, or one for each page of 4 KiB.
    assert last_faults(keep_memory=False) >= 64 * 2**20 // (2 * 2**20)


def test_what_the_user_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert backend_environment(1)[VARIABLE] == ""
    monkeypatch.delenv(VARIABLE)
    assert VARIABLE not in backend_environment(1, "cpu", keep_memory=False)
    assert "mmap_threshold" in backend_environment(1, "cpu")[VARIABLE]


def test_a_gpu_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(memory, "Path", lambda _: tmp_path)
    (tmp_path / "nvidiactl").touch()
    environments = {device: allocator_environment(device) for device in ("cpu", "auto", "gpu")}
    assert environments["cpu"] == environments["auto"] != {} == environments["gpu"]
    (tmp_path / "nvidia0").touch()
    assert (
        allocator_environment("auto") == {} and allocator_environment("cpu") == environments["cpu"]
    )
