"""Whether the hosts of a cluster can work together: what they have, and by which versions."""

from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

from benchmarks.cluster.hosts import Member, answers, own_node, placed
from benchmarks.cluster.joining import joined
from benchmarks.cluster.place import UNKNOWN, Host, Place, Question
from common.errors import InputError
from common.machine.files import write_text


def check_everywhere(question: Question, folder: Path, address: str) -> None:
    """Raise InputError unless the cluster at ``address`` can do the trainings of ``question``.

    Its hosts have to share ``folder``.
    """
    with joined(address):
        actors = placed(question.config, address)
        check_shared(actors, folder)
        checked(actors, question)


def checked(actors: list[Any], question: Question) -> list[Member]:
    """Return the actors with their hosts, those on this host first.

    Raises:
        InputError: As ``check_hosts`` says.
    """
    import ray

    hosts = answers([actor.host.remote(question) for actor in actors])
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    ids = answers([actor.__ray_call__.remote(own_node) for actor in actors])
    own = own_node()
    members = [
        Member(actor, host, node, nodes[node])
        for actor, host, node in zip(actors, hosts, ids, strict=True)
    ]
    members.sort(key=lambda member: (member.node != own, member.node))
    check_hosts([member.host for member in members], question.data)
    check_this_host(members, question)
    return members


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


def check_first_sees(members: Sequence[Member], folder: Path) -> None:
    """Raise InputError if the first process is on another host and ``folder`` is not shared."""
    first = members[0]
    if first.node != own_node():
        above = (folder.absolute(), *folder.absolute().parents)
        check_shared([first.actor], next(path for path in above if path.is_dir()))


def check_this_host(members: Sequence[Member], question: Question) -> None:
    """Raise InputError if this host, where none of them is, differs from them."""
    node = own_node()
    if all(member.node != node for member in members):
        check_hosts([Place().host(question), members[0].host], question.data)


def check_hosts(hosts: Sequence[Host], data: Path | None = None) -> None:
    """Raise InputError if a host lacks a path, or has other versions or images than the first.

    Args:
        hosts: All that work together.
        data: The folder of their images, if they need any.
    """
    first = hosts[0]
    for host in hosts:
        for path in host.missing:
            raise InputError(
                f"{path}: host {host.name} does not see it: put it where all hosts see it"
            )
        for name, number in host.versions.items():
            if UNKNOWN not in (number, first.versions[name]) and number != first.versions[name]:
                raise InputError(
                    f"{name} is {first.versions[name]} on {first.name} and {number} on "
                    f"{host.name}: install the same on both"
                )
        if host.digest != first.digest:
            raise InputError(
                f"--data {data}: other images on {host.name} than on {first.name}: make "
                "them the same on all hosts"
            )
