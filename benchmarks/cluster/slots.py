"""The hosts of a Ray cluster as slots of tasks: one for each GPU, or for each host without any."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cluster.checks import check_shared, checked
from benchmarks.cluster.hosts import answers
from benchmarks.cluster.joining import check_ray, joined
from benchmarks.cluster.launch import shared_paths
from benchmarks.cluster.nodes import Held, Share, held, live_nodes, new_actor
from benchmarks.cluster.place import Desk, Question
from common.config import Config
from common.errors import InputError, notice


class Slot(NamedTuple):
    """A host of the cluster, or one GPU of it, that does one task at a time.

    Attributes:
        name: As ``Held``'s.
        actor: Its place.
        renewed: f() -> another one there, once that has ended.
    """

    name: str
    actor: Any
    renewed: Callable[[], Any]


class Slots(NamedTuple):
    """The hosts that a command has taken.

    Attributes:
        all: Of the cluster, those that were free.
        address: Of the cluster.
    """

    all: Sequence[Slot]
    address: str


@contextmanager
def hosts_joined(
    address: str, folder: Path, question: Question, weights: Path | None
) -> Iterator[Slots]:
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
    with joined(address):
        desks = free_desks(address, config)
        actors = [desk.actor for desk in desks]
        check_shared(actors, folder)
        paths = shared_paths(question.data, weights)
        question = question._replace(data=question.data.absolute(), paths=paths)
        named = {id(desk.actor): desk for desk in desks}
        members = [named[id(member.actor)] for member in checked(actors, question)]
        slots = [
            Slot(desk.name, desk.actor, partial(new_desk, desk.share, config.threads))
            for desk in members
        ]
        yield Slots(slots, address)


def free_desks(address: str, config: Config) -> list[Held]:
    """Return an actor for each GPU of a cluster that has any, otherwise one for each host.

    Hosts that are not free are left out, which is said.

    Raises:
        InputError: If no host is free, or one has fewer CPUs than ``config.threads`` for it.
    """
    import ray

    nodes = live_nodes()
    gpus = {node["NodeID"]: int(node["Resources"].get("GPU", 0)) for node in nodes}
    on_gpus = config.device == "gpu" or (config.device == "auto" and any(gpus.values()))
    if on_gpus and not any(gpus.values()):
        raise InputError(
            f"--device gpu: the cluster at {address} has no GPU: choose --device cpu, or let a "
            "host with a GPU join it"
        )
    shares = list[Share]()
    for node in nodes:
        name, host = node["NodeID"], node["NodeManagerHostname"]
        cpus = int(node["Resources"].get("CPU", 0))
        parts = gpus[name] if on_gpus else min(cpus, 1)
        shares += [
            Share(name, host, cpus // parts, int(on_gpus), (number, parts))
            for number in range(parts)
        ]
    desks, waiting = held(Desk, shares)
    for each in waiting:
        ray.kill(each.actor)
        notice(f"host {each.name} is not free: it does nothing here")
    if not desks:
        raise InputError(
            f"--address {address}: no host of the cluster is free: wait until what runs there has "
            "ended"
        )
    answers([each.actor.use_part.remote(each.share.part, config.threads) for each in desks])
    return desks


def new_desk(share: Share, threads: int | None) -> Any:
    """Return a new actor on its share of a node, with its part of the CPUs."""
    actor = new_actor(Desk, share)
    actor.use_part.remote(share.part, threads)
    return actor
