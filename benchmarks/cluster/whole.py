"""Whole hosts of a cluster: on each runs one command of `fcn` at a time, and nothing else of Ray's.

An actor holds all CPUs and GPUs that its node has in the cluster, so that no other work of the
cluster runs beside the command.
"""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from benchmarks.cluster.hosts import answers
from benchmarks.cluster.joining import Head, joined
from benchmarks.cluster.launch import LOST, news_of
from benchmarks.cluster.nodes import Share, claimed, held, live_nodes
from benchmarks.cluster.place import Host, News, Place, has_path, versions_here
from benchmarks.workers.environment import PROJECT
from common.errors import InputError, notice
from common.machine.files import inside, write_bytes

FOLDER = "fcn-host-"
"""Beginning of the name of a host's folder, among those for temporary files."""
ALL = 0, 1
"""The only part of a host."""
READ_SECONDS, FETCH_SECONDS, CLEAR_SECONDS = 2, 30, 5
"""How long a host waits for something to tell, and may take to hand over files and to clear up."""


class WholeHost(Place):
    """One host, and the command that runs there in a folder that goes with this object."""

    def __init__(self) -> None:
        remove_left_folders()
        self._folder = own_folder()
        self._told: dict[str, int] = {}

    def begin(self, arguments: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Start `fcn` with these arguments and, as the last, a new folder that has the files."""
        self.clear()
        self._folder = own_folder()
        folder = Path(self._folder.name)
        for name, content in files.items():
            write_bytes(inside(folder, name), content)
        self._told = {name: (folder / name).stat().st_mtime_ns for name in files}
        command = [sys.executable, "-m", "benchmarks.cli", *arguments, str(folder)]
        self.run(command, environment_of_host(), str(PROJECT))

    def files(self, patterns: Sequence[str]) -> dict[str, bytes]:
        """Return the folder's files of these patterns that changed since the last time."""
        folder, new = Path(self._folder.name), {}
        for path in (path for pattern in patterns for path in folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and self._told.get(name) != (changed := path.stat().st_mtime_ns):
                self._told[name] = changed
                new[name] = path.read_bytes()
        return new

    def take_priority(self) -> int:
        """Take the niceness with which Ray was started here; return how much more is left.

        Ray gives more to what it starts, and only the superuser may take it back.
        """
        own = os.getpriority(os.PRIO_PROCESS, os.getppid())
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, own)
        return os.getpriority(os.PRIO_PROCESS, 0) - own

    def clear(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def own_folder() -> TemporaryDirectory[str]:
    """Return a new folder whose name has this process's number."""
    return TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-", ignore_cleanup_errors=True)


def remove_left_folders() -> None:
    """Remove the folders of processes that were killed: Ray lets none of its own clear up."""
    for folder in Path(gettempdir()).glob(f"{FOLDER}*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def environment_of_host() -> dict[str, str]:
    """Return the variables with which this host's part of Ray was started, where they are known.

    Ray adds the number of OpenMP's threads and the visible GPUs to those of the process itself.
    """
    try:
        entries = os.fsdecode(Path("/proc/self/environ").read_bytes()).split("\0")
    except OSError:
        return dict(os.environ)
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def facts_of_host(
    host: WholeHost | None, backends: Sequence[str], paths: Sequence[str] = ()
) -> Host:
    """Return by which versions a host, or this one, computes, and which of the paths it lacks."""
    missing = [path for path in paths if not has_path(path)]
    return Host(socket.gethostname(), missing, versions_here(backends), "")


class WholeHosts:
    """The whole hosts of a cluster.

    Args:
        address: Of the cluster.
        actors: That of each host, by its name.

    Attributes:
        lost: Why some no longer answer, by name.
    """

    def __init__(self, address: str, actors: Mapping[str, Any]) -> None:
        self._head, self._actors = Head(address), actors
        self._reads: dict[Any, str] = {}
        self.lost: dict[str, str] = {}

    def ask(self, function: Callable[..., Any], *arguments: object) -> dict[str, Any]:
        """Return what a function of the host's actor and the arguments returns on each host.

        Raises:
            InputError: As that of a host says, or if a host is lost.
        """
        references = [
            actor.__ray_call__.remote(function, *arguments) for actor in self._actors.values()
        ]
        return dict(zip(self._actors, answers(references), strict=True))

    def begin(self, name: str, arguments: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Start a command on a host, as ``WholeHost.begin``; ``news`` tells of it."""
        actor = self._actors[name]
        answers([actor.begin.remote(arguments, files)])
        self._reads[actor.read.remote(READ_SECONDS)] = name

    def news(self) -> Iterator[tuple[str, News]]:
        """Yield what hosts whose commands run have told within a second; a lost one tells none."""
        import ray

        ready, _ = ray.wait([*self._reads], timeout=1)
        for reference in ready:
            name = self._reads.pop(reference)
            news = news_of(ray, reference)
            if isinstance(news, str):
                self.lost[name] = f"its command {news}"
                continue
            if news.status is None:
                self._reads[self._actors[name].read.remote(READ_SECONDS)] = name
            yield name, news
        try:
            self._head.check()
        except InputError as error:
            self.lost |= dict.fromkeys(self._actors, str(error))

    def files(self, name: str, patterns: Sequence[str]) -> dict[str, bytes]:
        """Return the files of ``WholeHost.files``; none of a lost host."""
        import ray

        try:
            new: dict[str, bytes] = ray.get(
                self._actors[name].files.remote(patterns), timeout=FETCH_SECONDS
            )
        except ray.exceptions.RayError:
            self.lost[name] = f"its command {LOST}"
            return {}
        return new

    def clear(self) -> None:
        """Remove the folders of the hosts that answer within a few seconds."""
        import ray

        cleared = [actor.clear.remote() for actor in self._actors.values()]
        ray.wait(cleared, num_returns=len(cleared), timeout=CLEAR_SECONDS)

    def tell_to_end(self) -> None:
        """Tell every command to end."""
        for name in self._reads.values():
            self._actors[name].tell_to_end.remote()


@contextmanager
def whole_hosts(address: str) -> Iterator[WholeHosts]:
    """Hold all hosts of a cluster that have a CPU there within the block.

    Args:
        address: As ``joined`` takes it.

    Raises:
        InputError: If there is no cluster, another command holds its hosts, or other work of it
            runs on one.
    """
    with joined(address), claimed(address, "fcn bench"):
        hosts = WholeHosts(address, all_held(address))
        for name, more in hosts.ask(WholeHost.take_priority).items():
            if more > 0:
                notice(
                    f"{name}: Ray gives what it starts niceness, so that timed rows wait for what "
                    "else the host does: `RAY_worker_niceness=0 ray start ...` gives none"
                )
        try:
            yield hosts
        finally:
            hosts.clear()


def all_held(address: str) -> dict[str, Any]:
    """Return an actor for each node that has a CPU, under the name of its host."""
    nodes = [(node, node["Resources"]) for node in live_nodes() if node["Resources"].get("CPU")]
    if not nodes:
        raise InputError(
            f"--address {address}: no host of the cluster has a CPU there: let one join it"
        )
    ready, waiting = held(
        WholeHost,
        [
            Share(node["NodeID"], node["NodeManagerHostname"], has["CPU"], has.get("GPU", 0), ALL)
            for node, has in nodes
        ],
    )
    if waiting:
        raise InputError(
            f"--address {address}: other work of the cluster runs on host {waiting[0].name}: wait "
            "until it has ended, for a host is measured alone"
        )
    return {each.name: each.actor for each in ready}
