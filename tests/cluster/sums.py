"""One process of MXNet's group, which asserts that sums queued without waiting are right.

python -m tests.cluster.sums
"""

import sys

from common.config import Config
from common.machine.group import group_of
from common.recipes import RECIPES
from mxnet_impl.group import add_over_group, join_group, nd

ROUNDS, NAMES = 30, [f"array {number}" for number in range(8)]


def add_many(rank: int) -> None:
    """Add new arrays under the same names again and again; no sum waits for the one before."""
    rounds = [
        {name: nd.full(1000, 2 * number + rank) for name in NAMES} for number in range(ROUNDS)
    ]
    for arrays in rounds:
        add_over_group(arrays)
    for number, arrays in enumerate(rounds):
        for name, array in arrays.items():
            assert (array == 4 * number + 1).min().asscalar(), f"{name} of round {number} is wrong"


if __name__ == "__main__":
    config = Config(RECIPES["modern"], workers=2)
    join_group(config)
    try:
        add_many(group_of(config).rank)
    except AssertionError as error:
        sys.exit(f"error: {error}")
