"""Tasks on the hosts of a cluster: one at a time on each, several hosts at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster import tasks as tasks_on_hosts
from benchmarks.cluster.launch import ENDED_BY_RAY
from benchmarks.cluster.slots import Slot, hosts_joined
from benchmarks.cluster.tasks import End, Running, Task, run_tasks
from common.errors import InputError
from common.machine.files import system_lines
from tests.cluster.conftest import PROJECT

SECONDS = 0.5
PROGRAM = """
import json, sys
from pathlib import Path
from tests.cluster.hosts import test_tasks
test_tasks.run_here(*map(json.loads, sys.argv[1:]))
"""


def run_here(address: str, folder: str, data: str, requests: list[dict[str, Any]]) -> None:
    """Run tasks and print, as JSON, what they tell and how they end."""
    from benchmarks.cluster.place import Question
    from common.config import Config
    from common.recipes import make_recipe

    config = Config(make_recipe("modern", batch_size=2, crop=(64, 96)))
    question = Question([], config, Path(data), [])
    told, ends, waiting = list[Any](), list[End](), list(requests)

    def next_task(host: Any) -> Task | None:
        if not waiting:
            return None
        request = waiting.pop(0)

        def take(line: Any) -> bool:
            told.append(line)
            return len(line) == 2

        return Task("a task", "tests.cluster.hosts.timed", request, take)

    def ended(task: Task, end: End) -> None:
        ends.append(end)
        if end.status is None:
            waiting.append(task.request)

    try:
        with hosts_joined(address, Path(folder), question, None) as hosts:
            print("at work", file=sys.stderr, flush=True)
            run_tasks(hosts, next_task, ended)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    print(json.dumps([told, ends]))


def start(cluster: Any, folder: Path, data: Path, requests: list[Any]) -> subprocess.Popen[str]:
    words = [json.dumps(x) for x in (cluster.address, str(folder), str(data), requests)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_apart(intervals: list[tuple[int, float, float]]) -> None:
    """Assert that two places worked at once, and no place did two tasks at once."""
    assert len({place for place, _, _ in intervals}) == 2
    pairs = [(a, b) for i, a in enumerate(intervals) for b in intervals[:i]]
    at_once = [(a, b) for a, b in pairs if a[1] < b[2] and b[1] < a[2]]
    assert at_once, "one waited for the other"
    assert all(a[0] != b[0] for a, b in at_once)


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
def test_two_hosts_work_at_once_and_none_does_two_tasks_at_once(
    cluster: object, generated: Path, tmp_path: Path
) -> None:
    requests = [{"seconds": SECONDS}] * 4 + [{"seconds": SECONDS, "status": 3}]
    requests += [{"seconds": 0, "more": 60}]
    out, errors = start(cluster, tmp_path, generated, requests).communicate(timeout=60)
    told, ends = json.loads(out)
    check_apart([line for line in told if len(line) == 3])
    statuses = sorted(status for status, *_ in ends)
    assert statuses == [-9, 0, 0, 0, 0, 3], errors
    assert {message for _, message, _ in ends} == {"working"}
    assert "-2: working" in errors
    assert not list(tmp_path.iterdir())


def test_a_task_that_ray_ends_for_memory_fails_and_its_host_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running(
        Slot("a", "ended", lambda: "new"), Task("a task", "module", {}, lambda line: False)
    )
    monkeypatch.setattr(tasks_on_hosts, "news_of", lambda ray, reference: ENDED_BY_RAY)
    assert running.told(None) == End(1, f"it {ENDED_BY_RAY}", "a")
    assert running.slot.actor == "new"


def test_a_task_that_python_fails_to_start_fails_and_its_host_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running(
        Slot("a", "actor", lambda: "new"), Task("a task", "module", {}, lambda line: False)
    )
    monkeypatch.setattr(tasks_on_hosts, "news_of", lambda ray, reference: "failed: no room")
    assert running.told(None) == End(1, "it failed: no room", "a")
    assert running.slot.actor == "actor"


@pytest.mark.release
@pytest.mark.xdist_group("cluster")
def test_the_task_of_a_lost_host_is_done_on_another_and_no_task_outlives_its_command(
    cluster: Any, generated: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    command = start(cluster, tmp_path, generated, [{"seconds": 3}] * 3)
    assert command.stderr is not None
    while "-3: working" not in (line := command.stderr.readline()):
        assert line, "the third host does nothing"
    cluster.remove_node(node, allow_graceful=False)
    out, errors = command.communicate(timeout=60)
    told, ends = json.loads(out)
    assert [status for status, *_ in ends].count(None) == 1 and len(ends) == 4
    assert len(told) == 3 and len({place for place, *_ in told}) == 2
    assert " is lost: a task has to be done again" in errors

    lines = list[str]()
    for number in (signal.SIGINT, signal.SIGKILL):
        command = start(cluster, tmp_path, generated, [{"seconds": 60}] * 2)
        assert command.stderr is not None
        while "working" not in (line := command.stderr.readline()):
            assert line, lines
            lines.append(line)
        command.send_signal(number)
        command.communicate(timeout=30)
        deadline = time.monotonic() + 30
        while tasks():
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.release
@pytest.mark.xdist_group("cluster")
def test_a_host_that_is_not_free_is_left_out(cluster: Any, generated: Path, tmp_path: Path) -> None:
    first = start(cluster, tmp_path, generated, [{"seconds": 70}])
    assert first.stderr is not None
    while "working" not in (line := first.stderr.readline()):
        assert line
    second = start(cluster, tmp_path, generated, [{"seconds": 0}])
    out, errors = second.communicate(timeout=100)
    assert json.loads(out) == [[], []]
    assert errors.splitlines()[-1].endswith(
        "no host of the cluster is free: wait until what runs there has ended"
    )
    first.kill()
    first.communicate()


@pytest.mark.release
@pytest.mark.xdist_group("cluster")
def test_in_a_cluster_with_gpus_each_task_has_one_of_them(
    cluster: Any, generated: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=80 * 2**20)
    requests = [{"seconds": 1, "more": 60}] * 2
    out, errors = start(cluster, tmp_path, generated, requests).communicate(timeout=60)
    cluster.remove_node(node)
    told, _ = json.loads(out)
    check_apart([line for line in told if len(line) == 3])
    ours = sorted(os.sched_getaffinity(0))
    parts = [ours[: len(ours) // 2], ours[len(ours) // 2 :]] if len(ours) > 1 else [ours] * 2
    used = sorted(line for line in told if len(line) == 2)
    assert [gpus for gpus, _ in used] == ["0", "1"], errors
    assert sorted(cpus for _, cpus in used) == parts


@pytest.mark.release
def test_the_loss_of_the_cluster_s_head_is_one_line_and_leaves_no_task(
    generated: Path, tmp_path: Path
) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=node)
    try:
        command = start(nodes, tmp_path, generated, [{"seconds": 100}])
        assert command.stderr is not None
        while ": working" not in (line := command.stderr.readline()):
            assert line
        (gcs,) = nodes.head_node.all_processes["gcs_server"]
        gcs.process.kill()
        _, errors = command.communicate(timeout=60)
        assert f"error: the cluster at {nodes.address} has ended" in errors
        assert not tasks()
    finally:
        nodes.shutdown()


def tasks() -> list[str]:
    """Return the tasks that run on this machine."""
    lines = [system_lines(str(path)) for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [line for text in lines for line in text if "tests.cluster.hosts.timed" in line]
