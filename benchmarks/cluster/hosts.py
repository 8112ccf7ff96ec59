"""The places of processes: the actors on a Ray cluster, and what they answer."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.cluster.joining import LOCAL
from benchmarks.cluster.place import Host, Place
from benchmarks.workers.supervision import last_line
from common.config import Config
from common.errors import InputError

PLACE_SECONDS, START_SECONDS, STOP_SECONDS = 30, 120, 5
"""How long Ray may take to find a place for every process, to start its actor there, and to end
processes."""


class Member(NamedTuple):
    """One place: the actor that holds it, its host, and where that is."""

    actor: Any
    host: Host
    node: str
    ip: str


def placed(config: Config, address: str) -> list[Any]:
    """Return an actor for each process, on as many hosts as there are.

    Raises:
        InputError: If the cluster has too few places, or a host starts no actor.
    """
    import ray
    from ray.util import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    resources = ray.cluster_resources()
    gpu = config.device == "gpu" or (config.device == "auto" and resources.get("GPU", 0) > 0)
    kind = "GPU" if gpu else "CPU"
    slots = int(resources.get(kind, 0))
    if slots < config.workers:
        raise InputError(too_few(config.workers, kind, slots, address))
    bundle = {"CPU": 1.0, "GPU": 1.0} if gpu else {"CPU": 1.0}
    group = placement_group([bundle] * config.workers, strategy="SPREAD")
    if not group.wait(PLACE_SECONDS):
        raise InputError(
            f"--workers {config.workers}: needs {config.workers} {kind}s, and fewer of the {slots} "
            f"in the cluster at {address} are free: wait until what runs there has ended"
        )
    options = {"num_cpus": 1, "num_gpus": 1 if gpu else 0, "max_restarts": 0}
    actors = [
        ray.remote(Place)
        .options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index), **options)
        .remote()
        for index in range(config.workers)
    ]
    check_started(actors, address)
    return actors


def check_started(actors: Sequence[Any], address: str) -> None:
    """Raise InputError unless every actor is started, or has failed to be, which it answers."""
    import ray

    references = [actor.__ray_ready__.remote() for actor in actors]
    _, waiting = ray.wait(references, num_returns=len(references), timeout=START_SECONDS)
    if waiting:
        raise InputError(
            f"--workers {len(actors)}: hosts of the cluster at {address} have started "
            f"{len(actors) - len(waiting)} of the processes in {START_SECONDS} s: see their logs "
            "below /tmp/ray, or wait until they have less to do"
        )


def too_few(workers: int, kind: str, slots: int, address: str) -> str:
    """Return in words that a cluster has fewer CPUs or GPUs than workers, and what to do."""
    where = "this host" if address == LOCAL else f"the cluster at {address}"
    options = [f"--workers {slots}"] if slots > 1 else []
    options += ["--device cpu"] if kind == "GPU" else []
    ways = [f"choose {' or '.join(options)}"] if options else []
    ways += ["let more hosts join it"] if address != LOCAL else []
    return (
        f"--workers {workers}: needs {workers} {kind}s, and {where} has {slots or 'none'}: "
        f"{', or '.join(ways)}"
    )


def answers(references: list[Any]) -> list[Any]:
    """Return what actors answer.

    Raises:
        InputError: If one of them says so, or cannot be started.
    """
    import ray

    try:
        values: list[Any] = ray.get(references)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise InputError(f"{host_in(str(error))}: {last_line(str(error))}") from error
    except ray.exceptions.RayError as error:
        raise InputError(
            f"{host_in(str(error))} starts no process ({last_line(str(error))}): install "
            "there what is installed here"
        ) from error
    return values


def host_in(error: str) -> str:
    """Return, in words, the host that an error of Ray names, if it does."""
    named = re.search(r"\bip=([^,\s)]+)", error)
    return f"the host at {named[1]}" if named else "a host of the cluster"


def stop_all(actors: Sequence[Any]) -> None:
    """End what runs in actors that answer; the head of their cluster may be lost."""
    import ray

    stops = [actor.stop.remote() for actor in actors]
    if stops:
        ray.wait(stops, num_returns=len(stops), timeout=STOP_SECONDS)


def own_node(place: Place | None = None) -> str:
    """Return the node of this process, or of the actor at ``place`` that runs this."""
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node
