"""Tasks on the hosts of a Ray cluster: on each host one process at a time, or one on each GPU.

``fcn study --address`` and ``fcn tune --address`` give their trainings to hosts by this module. It
serves any command whose parts are independent processes: ``hosts_joined`` takes the hosts,
``run_tasks`` keeps them at work. A task is a module that the host's own Python runs, with one JSON
object as its argument. It prints JSON lines for the command on standard output, and messages for
the user on standard error.
"""

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from benchmarks.cluster.hosts import (
    LOCAL,
    PLACE_SECONDS,
    Member,
    answers,
    check_hosts,
    check_listening,
    check_ray,
    checked,
    joined,
    node_of,
)
from benchmarks.cluster.launch import IMAGENET
from benchmarks.cluster.place import Desk, News, Question
from benchmarks.workers.supervision import last_line
from common.config import Config
from common.errors import InputError, notice, printable
from common.machine.files import write_text

HEAD_SECONDS = 5
"""How often it is looked whether the head of the cluster is still there."""
STOP_SECONDS = 5
"""How long tasks may take to end with the command."""


class Task(NamedTuple):
    """What a host does by itself.

    Attributes:
        name: In words, for messages.
        module: That runs there.
        request: Its argument, as JSON's types.
        told: f(a JSON line that it prints) -> whether to end it now.
    """

    name: str
    module: str
    request: dict[str, Any]
    told: Callable[[Any], bool]


class End(NamedTuple):
    """How a task ended.

    Attributes:
        status: As ``subprocess`` gives it, negative for a signal; None where its host was lost.
        message: The last that it has printed on standard error.
    """

    status: int | None
    message: str


class Host(NamedTuple):
    """A host of the cluster, or one GPU of it, that does one task at a time.

    Attributes:
        name: Of the host, with a number where it has several GPUs or others have the same name.
        member: Its place.
    """

    name: str
    member: Member


class Hosts(NamedTuple):
    """The hosts that a command has taken.

    Attributes:
        all: Of the cluster, those that were free.
        address: Of the cluster.
        config: Its threads and its device hold for every task.
    """

    all: Sequence[Host]
    address: str
    config: Config


@contextmanager
def hosts_joined(
    address: str, folder: Path, question: Question, weights: Path | None
) -> Iterator[Hosts]:
    """Take all hosts of the cluster at ``address`` for the time of the block.

    Args:
        address: As ``--address``.
        folder: Of the results, which all hosts have to share.
        question: What they are asked; its paths are set here.
        weights: A file that they have to have, or ``IMAGENET``, which each host downloads.

    Raises:
        InputError: If the cluster or its hosts do not fit: one line says which and why.
    """
    check_ray(f"--address {address}")
    config = question.config
    before = signal.getsignal(signal.SIGTERM)
    # Ray tells of lost hosts on standard output, where a command's result stands.
    with redirect_stdout(sys.stderr), joined(address):
        signal.signal(signal.SIGTERM, before)  # Ray has one of its own.
        actors = free_desks(address, config)
        check_shared(actors, folder)
        named = [Path.cwd(), question.data, *([weights] if weights else [])]
        paths = [str(path.absolute()) for path in named if path != IMAGENET]
        question = question._replace(data=question.data.absolute(), paths=paths)
        members = checked(actors, question)
        check_this_host(members, question)
        counts, names = Counter[str](), []
        for member in members:
            counts[member.host.name] += 1
            count = counts[member.host.name]
            names.append(member.host.name if count == 1 else f"{member.host.name} ({count})")
        yield Hosts(list(map(Host, names, members)), address, config)


def free_desks(address: str, config: Config) -> list[Any]:
    """Return an actor for each GPU of a cluster that has any, otherwise one for each host.

    An actor takes all CPUs of its host, or its GPU's share of them, so that nothing else that Ray
    starts computes there meanwhile. Hosts that are not free are left out, which is said.

    Raises:
        InputError: If no host is free.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    gpus = {name: int(node["Resources"].get("GPU", 0)) for name, node in nodes.items()}
    on_gpus = config.device == "gpu" or (config.device == "auto" and any(gpus.values()))
    if on_gpus and not any(gpus.values()):
        raise InputError(f"--device gpu: the cluster at {address} has no GPU")
    desks: dict[Any, tuple[Any, str]] = {}
    for name, node in nodes.items():
        cpus = int(node["Resources"].get("CPU", 0))
        parts = gpus[name] if on_gpus else min(cpus, 1)
        for number in range(parts):
            actor = (
                ray.remote(Desk)
                .options(
                    num_cpus=cpus // parts,
                    num_gpus=int(on_gpus),
                    max_restarts=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False),
                )
                .remote()
            )
            actor.use_part.remote((number, parts), config.threads)
            desks[actor.__ray_call__.remote(node_of)] = actor, name
    ready, late = list[Any](), list[Any]()
    if desks:  # A cluster may have no CPU.
        ready, late = ray.wait([*desks], num_returns=len(desks), timeout=PLACE_SECONDS)
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    lost = [reference for reference in ready if desks[reference][1] not in alive]
    for reference in (*late, *lost):
        actor, name = desks[reference]
        ray.kill(actor)
        notice(f"the host at {nodes[name]['NodeManagerAddress']} is not free: it does nothing here")
    free = [reference for reference in ready if reference not in lost]
    if not free:
        raise InputError(
            f"--address {address}: no host of the cluster is free: wait until what runs there has "
            "ended"
        )
    answers(free)  # Raises where an actor cannot be started.
    return [desks[reference][0] for reference in free]


def check_shared(actors: Sequence[Any], folder: Path) -> None:
    """Raise InputError unless every host reads what is written into ``folder``."""
    text = token_hex(16)
    token = folder.absolute() / f".shared-{text[:8]}"
    write_text(token, text)
    try:
        sees = answers([actor.sees.remote(str(token), text) for actor in actors])
    finally:
        token.unlink(missing_ok=True)
    for name, is_same in sees:
        if not is_same:
            raise InputError(
                f"{folder}: host {name} does not see what is written there: choose a folder that "
                "all hosts share under the same path"
            )


def check_this_host(members: Sequence[Member], question: Question) -> None:
    """Raise InputError if this host, where none of them is, differs from them."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    if all(member.node != node for member in members):
        check_hosts([Desk().host(question), members[0].host], question.data)


def run_tasks(
    hosts: Hosts, next_task: Callable[[Host], Task | None], ended: Callable[[Task, End], None]
) -> None:
    """Keep the hosts at work until there is no task for any of them and all have ended.

    A host that is lost gets no more tasks; the others go on.

    Args:
        next_task: f(a host that is free) -> its task, or None while there is none.
        ended: f(a task, how it ended). What it or ``next_task`` raises ends all tasks.

    Raises:
        InputError: If all hosts are lost, or the one at the address, without which there is no
            cluster.
    """
    import ray

    free, busy, looked = list(hosts.all), dict[Any, Running](), time.monotonic()
    try:
        while True:
            if hosts.address != LOCAL and time.monotonic() > looked + HEAD_SECONDS:
                check_listening(hosts.address)  # Else Ray's core would end this process.
                looked = time.monotonic()
            while free and (task := next_task(free[0])) is not None:
                running = Running(free.pop(0), task)
                busy[running.begin(hosts.config)] = running
            if not busy:
                break
            ready, _ = ray.wait([*busy], timeout=1)
            for reference in ready:
                running = busy.pop(reference)
                end = running.told(reference)
                if end is None:
                    busy[running.read()] = running
                    continue
                free += [running.host] if end.status is not None else []
                ended(running.task, end)
    finally:
        stops = [running.host.member.actor.stop.remote() for running in busy.values()]
        if stops:  # They reach the hosts also where the head is lost.
            ray.wait(stops, num_returns=len(stops), timeout=STOP_SECONDS)
    if not free:
        raise InputError(f"--address {hosts.address}: all hosts of the cluster are lost")


class Running:
    """A task on a host."""

    def __init__(self, host: Host, task: Task) -> None:
        self.host, self.task = host, task
        self._last, self._out, self._errors = "no message", b"", b""

    def begin(self, config: Config) -> Any:
        """Start it; return the reference of its first news."""
        request, folder = json.dumps(self.task.request), str(Path.cwd())
        return self.host.member.actor.begin.remote(self.task.module, request, folder, config)

    def read(self) -> Any:
        """Return the reference of its next news."""
        return self.host.member.actor.read.remote()

    def told(self, reference: Any) -> End | None:
        """Pass on news, messages with the name of the host before them; return the end, if any."""
        import ray

        try:
            news: News = ray.get(reference)
        except ray.exceptions.RayError:
            notice(f"{self.host.name} is lost: {self.task.name} has to be done again")
            return End(None, "")
        last = b"\n" if news.status is not None else b""  # It ends a line that has no end.
        *lines, self._out = (self._out + news.out + last).split(b"\n")
        for line in filter(None, lines):
            if self.task.told(json.loads(line)):
                self.host.member.actor.stop.remote()
        *lines, self._errors = (self._errors + news.errors + last).split(b"\n")
        for text in (line.decode(errors="replace").strip() for line in lines):
            if text:
                self._last = last_line(text)
                print(f"{self.host.name}: {printable(text)}", file=sys.stderr, flush=True)
        return None if news.status is None else End(news.status, self._last)
