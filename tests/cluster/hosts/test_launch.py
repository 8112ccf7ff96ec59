"""`fcn train --workers` without Ray: stand-ins are the hosts, and what becomes of them is said."""

import os
import re
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cluster import checks, hosts, joining, launch, place
from benchmarks.cluster.hosts import Member
from benchmarks.cluster.place import Host, Job, Place, Question, has_path
from common.config import Config
from common.errors import InputError
from common.machine.group import Group
from common.recipes import make_recipe

CONFIG = Config(make_recipe("modern", batch_size=4), workers=2)


class Actor:
    """An actor whose methods, all of them, are noted."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: object) -> object:
            self.called.append(name)
            return object()

        return SimpleNamespace(remote=remote)


@pytest.fixture
def members(monkeypatch: pytest.MonkeyPatch) -> list[Member]:
    """Two processes of a cluster that never tell anything."""
    together = [Member(Actor(), Host(name, [], {}, ""), name, "127.0.0.1") for name in "ab"]
    silent = SimpleNamespace(wait=lambda references, **_: ([], references))
    monkeypatch.setitem(sys.modules, "ray", silent)
    monkeypatch.setattr(launch, "check_ray", lambda option: None)
    monkeypatch.setattr(launch, "joined", lambda *_: nullcontext())
    monkeypatch.setattr(launch, "placed", lambda *_: [])
    monkeypatch.setattr(launch, "checked", lambda *_: together)
    monkeypatch.setattr(launch, "check_first_sees", lambda *_: None)
    monkeypatch.setattr(launch, "start", lambda *_: None)
    monkeypatch.setenv(launch.CLUSTER, "")
    return together


def options(tmp_path: Path, address: str) -> Namespace:
    return Namespace(
        backend="torch", data=tmp_path, out=None, resume=None, timeout=None, address=address
    )


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_the_end_of_the_cluster_ends_a_training_and_says_how_to_go_on(
    members: list[Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(joining, "HEAD_SECONDS", 0)
    monkeypatch.setattr(launch, "way_on", lambda *_: ["go on with: fcn train --resume run"])
    args = options(tmp_path, free_address())
    assert launch.train_together(args, CONFIG, []) == 1
    assert capsys.readouterr().err == (
        f"error: the cluster at {args.address} has ended: go on with: fcn train --resume run\n"
    )
    assert all("stop" in member.actor.called for member in members)


def test_ray_changes_neither_what_ends_a_command_nor_its_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def init(*_: object, **__: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        print("joined")

    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: None))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with joining.joined(joining.LOCAL):
            assert signal.getsignal(signal.SIGTERM) == before
            print("a host is lost")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr() == ("", "joined\na host is lost\n")


def test_a_host_that_may_not_read_its_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(self: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    name = socket.gethostname()
    question = Question([], CONFIG, tmp_path, [str(tmp_path)])
    with pytest.raises(InputError, match=f"^host {name}: "):
        Place().host(question)
    with pytest.raises(InputError, match=f"^host {name} starts no process: "):
        Place().run(["true"], {}, str(tmp_path / "missing"))
    monkeypatch.setattr(Path, "exists", forbidden)
    assert not has_path(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("RayTaskError", "ray::Place.host()\nOSError: x", "a host of the cluster: OSError: x"),
        (
            "RayTaskError",
            "ray::Place.host() (pid=1, ip=192.0.2.2, repr=<>)\nOSError: x",
            "the host at 192.0.2.2: OSError: x",
        ),
        (
            "RayError",
            "it died: ray::Place.__init__() (pid=1, ip=192.0.2.2)\nModuleNotFoundError: x",
            "the host at 192.0.2.2 starts no process (ModuleNotFoundError: x): install there what "
            "is installed here",
        ),
    ],
)
def test_an_unforeseen_error_on_a_host_is_one_line(
    kind: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RayError(Exception):
        cause = OSError()

    class RayTaskError(RayError):
        pass

    def get(references: object) -> None:
        raise {"RayError": RayError, "RayTaskError": RayTaskError}[kind](text)

    exceptions = SimpleNamespace(RayTaskError=RayTaskError, RayError=RayError)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=get, exceptions=exceptions))
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        hosts.answers([])


MISMATCH = """RuntimeError: Version mismatch: The cluster was started with:
    Ray: 2.60.0
    Python: 3.12.3
This process on 192.0.2.1 was started with:
    Ray: 2.60.0
    Python: 3.11.2
"""


def test_a_cluster_of_another_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = subprocess.CompletedProcess([], 1, "", MISMATCH)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: tried)
    message = "^Python is 3.11.2 here and 3.12.3 in the cluster at host:1: install the same$"
    with pytest.raises(InputError, match=message):
        joining.check_cluster("host:1")


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            "RuntimeError: Failed to connect to GCS.\nAuthenticationError: InvalidAuthToken: x",
            "the cluster there has a token that this host has not: copy ~/.ray/auth_token from",
        ),
        ("Failed to connect to GCS within 20 seconds", "what listens there did not answer as a"),
        (
            "RuntimeError: No node info found matching attributes: ''",
            "this host is not in the cluster: `ray start --address host:1` lets it join$",
        ),
        ("RuntimeError: x", r"what listens there is no Ray cluster of this version \(.*x\): start"),
    ],
)
def test_what_cannot_be_joined_is_said_with_its_cause(
    errors: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = subprocess.CompletedProcess([], 1, "", errors)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: tried)
    with pytest.raises(InputError, match=f"^--address host:1: {message}"):
        joining.check_cluster("host:1")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("host", "expected local or HOST:PORT, as 192.0.2.1:6379"),
        ("host:http", "expected local or HOST:PORT, as 192.0.2.1:6379"),
        ("http://host:1", r"there is no host http://host \(.*\): expected HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--address {address}: {message}$"):
        joining.check_listening(address)


def test_a_server_that_stays_silent_holds_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "TRY_SECONDS", 0.01)
    with pytest.raises(InputError, match="^--address host:1: what listens there did not answer"):
        joining.check_cluster("host:1")


def test_all_clusters_of_a_process_have_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace(init=lambda *_, **__: None, shutdown=lambda: None)
    )
    monkeypatch.setattr(os, "environ", dict(os.environ))
    tokens = set()
    for _ in range(2):
        with joining.joined(joining.LOCAL):
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
    assert len(tokens) == 1


def test_more_threads_than_a_host_has_cpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "available_cpus", lambda: [0, 1, 2, 3, 4])
    job = Job("torch", [], 3, "cpu", "/", {})
    message = "^--threads 3: host .* has 5 CPUs for 2 processes: choose at most --threads 2$"
    with pytest.raises(InputError, match=message):
        Place().start(job, Group(0, ()), (0, 2))


def test_the_host_of_the_command_is_compared_where_it_has_no_process(
    members: list[Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SimpleNamespace(get_node_id=lambda: "c")
    ray = SimpleNamespace(get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    path = str(tmp_path / "missing")
    with pytest.raises(InputError, match=f"^{path}: host {socket.gethostname()} does not see it"):
        checks.check_this_host(members, Question([], CONFIG, tmp_path, [path]))


def test_the_first_process_on_another_host_has_to_share_the_folder_of_the_run(
    members: list[Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = "a"
    context = SimpleNamespace(get_node_id=lambda: node)
    ray = SimpleNamespace(get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(checks, "answers", lambda references: [("a", False)])
    checks.check_first_sees(members, tmp_path / "run")
    node = "c"
    with pytest.raises(InputError, match=f"^{tmp_path}: host a does not see what is written"):
        checks.check_first_sees(members, tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.release
def test_one_process_joins_two_clusters_of_its_own_one_after_the_other() -> None:
    program = """
from benchmarks.cluster.joining import LOCAL, joined
for _ in range(2):
    with joined(LOCAL):
        import ray
        assert ray.get(ray.remote(lambda: 3).remote()) == 3
"""
    command = [sys.executable, "-c", program]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert tried.returncode == 0, tried.stderr
