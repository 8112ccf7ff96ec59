"""How far data parallelism goes: the time of a step on N replicas that add their gradients."""

from math import prod
from typing import NamedTuple

from common.parameters.names import parameter_shapes, trainable_names
from common.recipes import Recipe


class Link(NamedTuple):
    """How a replica reaches the next one.

    Attributes:
        bandwidth: Bytes a second that it sends while it receives as many.
        latency: Seconds that a message takes beside its bytes.
    """

    bandwidth: float
    latency: float


def gradient_bytes(recipe: Recipe) -> int:
    """Return the size of all gradients of a step, which every backend has in float32."""
    shapes = parameter_shapes(recipe.network)
    return 4 * sum(prod(shapes[name]) for name in trainable_names(recipe))


def all_reduce_seconds(size: float, replicas: int, link: Link) -> float:
    """Return how long N replicas in a ring take to add ``size`` bytes.

    In 2 (N - 1) rounds each sends a message of size / N bytes to the next: first the parts are
    added on their way, then the sums go round.

    Source:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        Journal of Parallel and Distributed Computing 69 (2009).
    """
    return 2 * (replicas - 1) * (link.latency + size / replicas / link.bandwidth)


def step_seconds(alone: float, size: float, replicas: int, link: Link, overlap: float) -> float:
    """Return the time of a step on N replicas, each with the batch of one alone.

    It has no model of what else slows many replicas: hosts of unequal speed, and reading images.

    Args:
        alone: Seconds of a step of one replica.
        size: Bytes of the gradients.
        overlap: The share of ``alone`` in which they are added while more are computed: between 0
            and the share of the backward pass.
    """
    return alone + max(0.0, all_reduce_seconds(size, replicas, link) - overlap * alone)
