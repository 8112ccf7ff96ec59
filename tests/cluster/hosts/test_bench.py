"""A benchmark over two hosts: never two turns at once on one, and nothing measured twice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.check import problems
from benchmarks.records.machines.kinds import kinds_in
from benchmarks.timing.group.processes import finished_processes
from tests.cluster.conftest import PROJECT
from tests.support.commands import PROCESSES, ROUNDS, bench_options

SOON = 60
pytestmark = pytest.mark.xdist_group("cluster")


def start_bench(cluster: Any, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.cli", "bench", "--address", cluster.address]
    return subprocess.Popen(
        [*command, *map(str, options)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stand_ins(folder: Path) -> list[str]:
    """Return the options of two cases of two backends, one case for each host."""
    return [*bench_options(folder, "fine", "fine"), "--cases", "loss,upsample"]


def wait_for_turn(process: subprocess.Popen[str]) -> None:
    """Read the messages of a command until the first turn of a host is timed."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "timed: " in line:
            return
    pytest.fail("".join(lines))


def assert_nothing_is_left() -> None:
    """Wait until no process works in the folder of a host."""
    deadline = time.monotonic() + SOON
    while any(b"fcn-host-" in words for words in map(command_line, Path("/proc").glob("[0-9]*"))):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def rows_in(out: Path) -> list[Any]:
    """Return the rows of the only kind of machine."""
    (kind,) = kinds_in(out)
    document = json.loads((kind / "bench.json").read_text(encoding="utf-8"))
    assert problems(document) == []
    return list(document["rows"])


def turns(row: Any) -> list[tuple[float, float]]:
    """Return the begin and the end of each turn of a row."""
    return [(each["began"], each["began"] + each["turn_seconds"]) for each in row["samples"]]


def finished_samples(rows: list[Any]) -> dict[str, list[Any]]:
    """Return the samples of the processes that all rows of a case have finished."""
    finished = {
        case: min(finished_processes(row) for row in rows if row["case"] == case)
        for case in {row["case"] for row in rows}
    }
    return {
        row["key"]: [s for s in row["samples"] if s["process"] < finished[row["case"]]]
        for row in rows
    }


@pytest.mark.cluster
def test_an_interrupted_benchmark_goes_on_and_no_host_times_two_rows_at_once(
    cluster: object, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start_bench(cluster, *stand_ins(tmp_path), "--out", out)
    wait_for_turn(process)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=SOON)
    assert process.returncode == 130
    go_on = f"go on with: fcn bench --resume {out} --address {cluster.address}\n"
    assert messages.endswith(f"interrupted; {go_on}")
    assert_nothing_is_left()
    earlier = finished_samples(rows_in(out))

    process = start_bench(cluster, "--resume", out)
    _, messages = process.communicate(timeout=240)
    assert process.returncode == 0, messages
    assert_nothing_is_left()
    rows = rows_in(out)
    assert [(row["case"], row["backend"]) for row in rows] == [
        ("loss", "torch"),
        ("loss", "mxnet"),
        ("upsample", "torch"),
        ("upsample", "mxnet"),
    ]
    hosts = {row["case"]: row["host"] for row in rows}
    assert len(set(hosts.values())) == 2
    for row in rows:
        assert row["host"] == hosts[row["case"]]
        assert len(row["samples"]) == 2 * PROCESSES * ROUNDS
        assert all(sample in row["samples"] for sample in earlier[row["key"]])
    for host in hosts.values():
        times = sorted(turn for row in rows if row["host"] == host for turn in turns(row))
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))


@pytest.mark.release
def test_what_a_killed_node_measured_is_measured_by_another(tmp_path: Path) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        other, out = nodes.add_node(**node), tmp_path / "out"
        process = start_bench(nodes, *stand_ins(tmp_path), "--out", out)
        wait_for_turn(process)
        nodes.remove_node(other, allow_graceful=False)
        _, messages = process.communicate(timeout=240)
        assert process.returncode == 0, messages
        assert "measures nothing any more: its command was lost with its host" in messages
        rows = rows_in(out)
        assert {row["status"] for row in rows} == {"ok"}
        long = [*stand_ins(tmp_path), "--rounds", 1000]
        process = start_bench(nodes, *long, "--out", tmp_path / "killed")
        wait_for_turn(process)
        second = start_bench(nodes, *stand_ins(tmp_path), "--out", tmp_path / "second")
        _, messages = second.communicate(timeout=SOON)
        assert second.returncode == 2
        first = f"`fcn bench` (process {process.pid} on host {socket.gethostname()})"
        assert f"--address {nodes.address}: {first} holds the hosts of the cluster: " in messages
        assert not (tmp_path / "second").exists()
        process.kill()
        assert_nothing_is_left()
    finally:
        nodes.shutdown()
