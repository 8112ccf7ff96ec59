"""The nodes of a Ray cluster, held by actors so that nothing else of Ray's computes there."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.cluster.hosts import PLACE_SECONDS
from benchmarks.cluster.place import Place
from common.errors import InputError, notice

CLAIM, NAMESPACE = "all hosts", "fcn"
"""The name of the actor of a command that holds all hosts, and where a cluster has the name."""
CLAIM_SECONDS = 10
"""How long a command that has just ended may still have its claim."""


class Share(NamedTuple):
    """What an actor takes of a node: all of it, or one of several equal parts.

    Attributes:
        node: Its number.
        host: The name of its host.
        cpus, gpus: That it takes.
        part: Which of how many parts, counted from 0.
    """

    node: str
    host: str
    cpus: float
    gpus: float
    part: tuple[int, int]


class Held(NamedTuple):
    """An actor on its share of a node, under a name that no other has.

    Attributes:
        name: Of the host, with a number if it has several shares or others have the same name.
    """

    name: str
    actor: Any
    share: Share


def live_nodes() -> list[dict[str, Any]]:
    """Return what Ray says of each node of the cluster, always in the same order."""
    import ray

    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"])


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names in their order; those that come again get numbers from 2 on."""
    answer: list[str] = []
    for name in names:
        unlike, number = name, 1
        while unlike in answer or (number > 1 and unlike in names):
            number += 1
            unlike = f"{name}-{number}"
        answer.append(unlike)
    return answer


def new_actor(kind: type[Place], share: Share) -> Any:
    """Return a new actor on its share of a node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options = {
        "num_cpus": share.cpus,
        "num_gpus": share.gpus,
        "max_restarts": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(share.node, soft=False),
    }
    return ray.remote(kind).options(**options).remote()


def held(kind: type[Place], shares: Sequence[Share]) -> tuple[list[Held], list[Held]]:
    """Return a new actor on each share, and those that still wait until other work has ended.

    A host that is lost meanwhile is in neither, which is said.
    """
    import ray

    names = numbered([share.host for share in shares])
    actors = [
        Held(name, new_actor(kind, share), share) for name, share in zip(names, shares, strict=True)
    ]
    references = {each.actor.__ray_ready__.remote(): each for each in actors}
    ready, waiting = list[Any](), list[Any]()
    if references:
        count = len(references)
        ready, waiting = ray.wait([*references], num_returns=count, timeout=PLACE_SECONDS)
    alive = {node["NodeID"] for node in live_nodes()}
    for each in (each for each in actors if each.share.node not in alive):
        notice(f"host {each.name} is lost: it does nothing here")
    ours, others = (
        [references[each] for each in some if references[each].share.node in alive]
        for some in (ready, waiting)
    )
    return ours, others


class Claim:
    """That a command holds all hosts of a cluster."""

    def __init__(self, command: str) -> None:
        self._command = command

    def command(self) -> str:
        """Return it in words."""
        return self._command


@contextmanager
def claimed(address: str, command: str) -> Iterator[None]:
    """Let no other command that does so hold all hosts of the cluster within the block.

    Of two that begin at once, both would wait for a host that the other one has.

    Raises:
        InputError: If another command does, which is named.
    """
    words = f"`{command}` (process {os.getpid()} on host {socket.gethostname()})"
    deadline = time.monotonic() + CLAIM_SECONDS
    while (claim := new_claim(address, words)) is None:
        if time.monotonic() > deadline:
            raise InputError(
                f"--address {address}: {claimant()} holds the hosts of the cluster: wait until it "
                "has ended"
            )
        time.sleep(1)
    yield
    del claim  # Ray ends an actor with the last reference to it.


def new_claim(address: str, command: str) -> Any:
    """Return this command's claim, None while another one has it.

    Raises:
        InputError: If the actor is not started in time.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    options = {
        "name": CLAIM,
        "namespace": NAMESPACE,
        "num_cpus": 0,
        "max_restarts": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=True),
    }
    try:
        claim = ray.remote(Claim).options(**options).remote(command)
        ray.get(claim.command.remote(), timeout=PLACE_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise InputError(
            f"--address {address}: the cluster started no process in {PLACE_SECONDS} s: wait until "
            "its hosts have less to do"
        ) from None
    except (ray.exceptions.ActorAlreadyExistsError, ray.exceptions.RayActorError):
        return None
    return claim


def claimant() -> str:
    """Return, in words, the command that holds all hosts."""
    import ray

    try:
        claim = ray.get_actor(CLAIM, namespace=NAMESPACE)
        command: str = ray.get(claim.command.remote(), timeout=PLACE_SECONDS)
    except (ValueError, ray.exceptions.RayError):  # It has just ended, or its host is busy.
        return "another command"
    return command
