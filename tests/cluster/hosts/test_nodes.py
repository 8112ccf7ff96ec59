"""Which hosts a command takes, how they are named, and what it says where they do not suffice."""

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cluster import joining, nodes, place, slots
from benchmarks.cluster.hosts import check_started, too_few
from benchmarks.cluster.joining import LOCAL
from benchmarks.cluster.nodes import Held, Share, numbered
from benchmarks.cluster.place import Desk
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from tests.cluster.conftest import PROJECT

PROGRAM = """
import sys
from benchmarks.cluster import nodes
from benchmarks.cluster.whole import whole_hosts
from common.errors import InputError
nodes.CLAIM_SECONDS = 1
try:
    with whole_hosts(sys.argv[1]) as hosts:
        print("holds", file=sys.__stdout__, flush=True)  # Within, prints are messages.
        sys.stdin.read()
except InputError as error:
    print(error, flush=True)
    sys.exit(2)
"""


@pytest.mark.cluster
@pytest.mark.xdist_group("cluster")
def test_of_two_commands_that_take_all_hosts_at_once_one_does(cluster: Any) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, cluster.address],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        (holder, said), (other, message) = sorted(
            ((each, each.stdout.readline()) for each in both if each.stdout), key=lambda x: x[1]
        )[::-1]
        assert said == "holds\n"
        assert message.startswith(
            f"--address {cluster.address}: `fcn bench` (process {holder.pid} on host "
        )
        assert message.endswith(") holds the hosts of the cluster: wait until it has ended\n")
        assert other.wait(timeout=30) == 2
        holder.communicate("", timeout=30)
        assert holder.returncode == 0
    finally:
        for each in both:
            each.kill()
            each.communicate()


def test_names_that_come_again_get_numbers_that_no_name_has() -> None:
    assert numbered(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]
    assert numbered(["a", "a", "a-2", "a-2"]) == ["a", "a-3", "a-2", "a-2-2"]


@pytest.mark.parametrize(
    ("kind", "slots", "address", "message"),
    [
        ("CPU", 2, "h:1", "CPUs, and the cluster at h:1 has 2: choose --workers 2, or let more"),
        ("CPU", 1, "h:1", "CPUs, and the cluster at h:1 has 1: let more hosts join it"),
        ("GPU", 1, "h:1", "GPUs, and the cluster at h:1 has 1: choose --device cpu, or let more"),
        ("GPU", 0, LOCAL, "GPUs, and this host has none: choose --device cpu"),
        ("GPU", 2, LOCAL, "GPUs, and this host has 2: choose --workers 2 or --device cpu"),
    ],
)
def test_too_few_places_are_said_with_what_to_do(
    kind: str, slots: int, address: str, message: str
) -> None:
    assert too_few(3, kind, slots, address).startswith(f"--workers 3: needs 3 {message}")


def test_a_host_with_fewer_cpus_than_threads_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def remote(part: tuple[int, int], threads: int | None) -> Any:
        return lambda: Desk().use_part(part, threads)

    monkeypatch.setattr(place, "available_cpus", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(place.socket, "gethostname", lambda: "small")
    monkeypatch.setattr(slots, "answers", lambda references: [each() for each in references])
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    node = {"NodeID": "n", "NodeManagerHostname": "small", "Resources": {"CPU": 4.0}}
    monkeypatch.setattr(slots, "live_nodes", lambda: [node])
    actor = SimpleNamespace(use_part=SimpleNamespace(remote=remote))
    share = Share("n", "small", 4, 0, (0, 1))
    monkeypatch.setattr(slots, "held", lambda kind, shares: ([Held("small", actor, shares[0])], []))
    message = "^--threads 5: host small has 4 CPUs: choose at most --threads 4$"
    with pytest.raises(InputError, match=message):
        slots.free_desks("h:1", Config(make_recipe("modern"), threads=5, device="cpu"))
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    (desk,) = slots.free_desks("h:1", Config(make_recipe("modern"), threads=4, device="cpu"))
    assert desk == Held("small", actor, share)


def test_a_cluster_that_runs_already_is_joined_without_what_one_is_started_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace(init=lambda *_, **__: None, shutdown=lambda: None)
    )
    for name in ("check_listening", "check_cluster"):
        monkeypatch.setattr(joining, name, lambda address: None)
    others = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    monkeypatch.setattr(os, "environ", dict(others))
    with joining.joined("h:1"):
        assert os.environ.keys() - others.keys() == {
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
            "RAY_gcs_rpc_server_reconnect_timeout_s",
        }
    with joining.joined(LOCAL):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_lost_host_is_neither_ready_nor_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def new_actor(kind: type, share: Share) -> Any:
        return SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: share.node))

    monkeypatch.setattr(nodes, "new_actor", new_actor)
    alive = [{"NodeID": name, "Alive": True} for name in ("busy", "ready")]
    ray = SimpleNamespace(wait=lambda *_, **__: (["ready", "lost"], ["busy"]), nodes=lambda: alive)
    monkeypatch.setitem(sys.modules, "ray", ray)
    shares = [Share(name, "h", 1, 0, (0, 1)) for name in ("busy", "lost", "ready")]
    ready, waiting = nodes.held(Desk, shares)
    assert [each.name for each in ready] == ["h-3"] and [each.name for each in waiting] == ["h"]
    assert "host h-2 is lost: it does nothing here" in capsys.readouterr().err


def test_a_host_that_starts_no_process_holds_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    actors = [SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: "a"))] * 3
    ray = SimpleNamespace(wait=lambda waited, **_: (waited[:1], waited[1:]))
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(InputError, match="at h:1 have started 1 of the processes in 120 s: see"):
        check_started(actors, "h:1")
    ray.wait = lambda waited, **_: (waited, [])
    check_started(actors, "h:1")
