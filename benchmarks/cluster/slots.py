"""The hosts of a Ray cluster as slots of tasks: one for each GPU, or for each host without any."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cluster.checks import check_shared, checked
from benchmarks.cluster.hosts import (
    PLACE_SECONDS,
    answers,
    check_ray,
    joined,
    node_of,
)
from benchmarks.cluster.launch import IMAGENET
from benchmarks.cluster.place import Desk, Question
from common.config import Config
from common.errors import InputError, notice


class Slot(NamedTuple):
    """A host of the cluster, or one GPU of it, that does one task at a time.

    Attributes:
        name: Of the host, with a number where it has several GPUs or others have the same name.
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
        actors = [actor for actor, _ in desks]
        check_shared(actors, folder)
        named = [Path.cwd(), question.data, *([weights] if weights else [])]
        paths = [str(path.absolute()) for path in named if path != IMAGENET]
        question = question._replace(data=question.data.absolute(), paths=paths)
        members = checked(actors, question)
        counts, slots = Counter[str](), []
        renewals = {id(actor): renewed for actor, renewed in desks}
        for actor, host, *_ in members:
            counts[host.name] += 1
            number = f" ({counts[host.name]})" if counts[host.name] > 1 else ""
            slots.append(Slot(f"{host.name}{number}", actor, renewals[id(actor)]))
        yield Slots(slots, address)


def free_desks(address: str, config: Config) -> list[tuple[Any, Callable[[], Any]]]:
    """Return an actor for each GPU of a cluster that has any, otherwise one for each host.

    Each is with what makes another one there. Hosts that are not free are left out, which is said.

    Raises:
        InputError: If no host is free.
    """
    import ray

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    gpus = {name: int(node["Resources"].get("GPU", 0)) for name, node in nodes.items()}
    on_gpus = config.device == "gpu" or (config.device == "auto" and any(gpus.values()))
    if on_gpus and not any(gpus.values()):
        raise InputError(f"--device gpu: the cluster at {address} has no GPU")
    desks: dict[Any, tuple[str, Any, Callable[[], Any]]] = {}
    for name, node in nodes.items():
        cpus = int(node["Resources"].get("CPU", 0))
        parts = gpus[name] if on_gpus else min(cpus, 1)
        for number in range(parts):
            use = cpus // parts, int(on_gpus)
            renewed = partial(new_desk, name, use, (number, parts), config.threads)
            actor = renewed()
            desks[actor.__ray_call__.remote(node_of)] = name, actor, renewed
    ready, late = list[Any](), list[Any]()
    if desks:  # A cluster may have no CPU.
        ready, late = ray.wait([*desks], num_returns=len(desks), timeout=PLACE_SECONDS)
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    lost = [reference for reference in ready if desks[reference][0] not in alive]
    for reference in (*late, *lost):
        name, actor, _ = desks[reference]
        ray.kill(actor)
        notice(f"the host at {nodes[name]['NodeManagerAddress']} is not free: it does nothing here")
    free = [reference for reference in ready if reference not in lost]
    if not free:
        raise InputError(
            f"--address {address}: no host of the cluster is free: wait until what runs there has "
            "ended"
        )
    answers(free)  # Raises where an actor cannot be started.
    return [desks[reference][1:] for reference in free]


def new_desk(node: str, use: tuple[int, int], part: tuple[int, int], threads: int | None) -> Any:
    """Return a new actor on a node.

    Args:
        node: Its number.
        use: CPUs and GPUs that the actor takes: all CPUs of its host, or its GPU's share of them,
            so that nothing else that Ray starts computes there meanwhile.
        part, threads: As ``Place.use_part``.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpus, gpus = use
    actor = (
        ray.remote(Desk)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote()
    )
    actor.use_part.remote(part, threads)
    return actor
