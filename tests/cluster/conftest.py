"""A Ray cluster of two nodes on this machine, and trainings on it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.machine.group import ADDRESSES, RANK

PROJECT = Path(__file__).parents[2]
COMPARED_STEPS = 2
SMALL = ["--recipe", "modern", "--crop", "64", "64", "--batch-size", "6", "--evaluation", "crops"]
SMALL += ["--learning-rate", "1e-4", "--max-steps", str(COMPARED_STEPS)]
"""Options of a quick comparison, and of the training that goes on with it."""


class Training(NamedTuple):
    """A command `fcn train` that runs."""

    process: subprocess.Popen[str]
    run: Path

    def members(self) -> dict[int, int]:
        """Return rank -> process of what trains into this run on this machine."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            values = dict(line.decode().partition("=")[::2] for line in variables)
            if os.fsencode(self.run) in words and ADDRESSES in values:
                found[int(values[RANK])] = int(folder.name)
        return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """Two nodes, each with two places."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Else Ray ends what works here when other programs fill the memory.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    add_node(nodes, include_dashboard=False)
    add_node(nodes)
    yield nodes
    nodes.shutdown()


def add_node(cluster: object, **options: object) -> object:
    """Add a node with two places and return it.

    Ray waits half a minute for it, which a machine with much other work may exceed.
    """
    for attempt in range(5):
        try:
            return cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20, **options)
        except Exception as error:
            if attempt == 4 or "timed out during startup" not in str(error):
                raise
    raise AssertionError


def start_training(cluster: object, data: Path, run: Path, *options: object) -> Training:
    command = [sys.executable, "-m", "benchmarks.cli", "train", "--data", data, "--out", run]
    command += ["--address", cluster.address, "--no-progress", "--recipe", "modern"]
    command += ["--crop", 64, 96, "--batch-size", 6, *options]
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Training(process, run)


def compare_in_two_processes(data: Path, out: Path, backends: Sequence[str], address: str) -> None:
    """Let `fcn compare` train each of the backends in two processes."""
    where = ["--data", str(data), "--out", str(out), "--backends", ",".join(backends)]
    command = [sys.executable, "-m", "benchmarks.cli", "compare", *where, *SMALL]
    command += ["--workers", "2", "--address", address]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def comparison(
    cluster: Any, torch_present: None, generated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a comparison with PyTorch alone, in a process on each node."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    compare_in_two_processes(generated, out, ["torch"], cluster.address)
    return out
