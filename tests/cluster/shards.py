"""One process of a group, which trains beside the others and asserts what a shard's turn gives.

    python -m tests.cluster.shards BACKEND EXPECTED [PLANT]

EXPECTED is a file that ``write_expected`` wrote: the losses and parameters of the shards computed
one after another in float64, their gradients added as the recipe's reduction says, the first
shard's running statistics kept.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError
from common.group import group_of
from common.parameters.names import is_statistic, trainable_names
from common.recipes import Network, Recipe
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound

WORKERS, SHARD, STEPS = 2, 4, 3
NETWORK = Network("resnet18_v2", "fcn8s")
RATES = (1e-3, 3e-3, 2e-3)


def recipe() -> Recipe:
    probe = probe_recipe(NETWORK.backbone, NETWORK.head)
    return replace(probe, batch_size=WORKERS * SHARD, crop=(64, 96), loss_reduction="mean")


def batches() -> list[tuple[NDArray, NDArray]]:
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (STEPS, WORKERS * SHARD, 64, 96, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, (STEPS, WORKERS * SHARD, 64, 96), dtype=np.uint8)
    labels[:, :, :9] = 255
    return list(zip(images, labels, strict=True))


def shard_of(batch: tuple[NDArray, NDArray], rank: int) -> tuple[NDArray, NDArray]:
    images, labels = (array[rank * SHARD : (rank + 1) * SHARD] for array in batch)
    return images, labels


def write_expected(file: Path) -> None:
    """Train in float64, shard by shard, and write what comes of it."""
    expected, momentum, losses = single(keep_off_the_kinks(probe_parameters(NETWORK))), {}, []
    for batch, rate in zip(batches(), RATES, strict=True):
        shards = [
            reference.gradients(expected, *shard_of(batch, rank), recipe())
            for rank in range(WORKERS)
        ]
        losses.append(sum(shard[0] for shard in shards) / WORKERS)
        gradients = {
            name: sum(shard[1][name] for shard in shards) / WORKERS for name in shards[0][1]
        }
        expected, momentum = reference.sgd_step(expected, momentum, gradients, recipe(), rate)
        expected = {**expected, **shards[0][2]}
    np.savez(file, losses=np.array(losses), **expected)


def compare(name: str, file: Path, plant: str) -> None:
    """Train this process's shards, and assert the equality."""
    backend = importlib.import_module(f"{name}_impl")
    config = Config(recipe(), workers=WORKERS, threads=None)
    PLANTS.get(plant, lambda *_: None)(backend, name)
    backend.configure(config)
    rank = group_of(config).rank
    state = backend.create_state(config, single(keep_off_the_kinks(probe_parameters(NETWORK))))
    with np.load(file) as arrays:
        expected = dict(arrays)
    for step, batch in enumerate(batches()):
        if plant == "skipped batch" and rank == 1:
            batch = batches()[(step + 1) % STEPS]
        images, labels = shard_of(batch, 0 if plant == "one shard" else rank)
        state, loss = backend.train_step(
            state,
            backend.to_device(np.array(images), config),
            backend.to_device(np.array(labels), config),
            RATES[step],
        )
        error = abs(float(loss) / expected["losses"][step] - 1)
        assert error < bound("loss"), f"the loss of step {step} is off by {error:.2g}"
    actual = backend.parameters_of(state)
    # The other processes may have their own shard's statistics until the next step.
    names = trainable_names(recipe()) if rank else [n for n in expected if n != "losses"]
    for key in names:
        quantity = "statistics" if is_statistic(key) else "parameters"
        error = relative_error(actual[key], expected[key])
        assert error < bound(quantity), f"{key} is off by {error:.2g}"


def alone(backend: ModuleType, name: str) -> None:
    """Let the framework not join the group, so that it adds nothing."""
    device = importlib.import_module(f"{name}_impl.device")
    device.join_group = lambda config: None
    device.sum_over_group = lambda values: values


PLANTS: dict[str, Callable[[ModuleType, str], None]] = {"alone": alone}


if __name__ == "__main__":
    try:
        compare(sys.argv[1], Path(sys.argv[2]), "".join(sys.argv[3:]))
    except (AssertionError, InputError) as error:
        sys.exit(f"error: {error}")
