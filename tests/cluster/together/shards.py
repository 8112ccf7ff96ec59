"""One process of a group, which asserts that it does the work of the shards one after another.

    python -m tests.cluster.together.shards BACKEND EXPECTED

EXPECTED is a file that ``write_expected`` wrote: each step's loss, and what some steps leave.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError
from common.machine.group import Together, group_of
from common.parameters.names import Parameters, is_statistic, trainable_names
from common.recipes import Network, Recipe
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from common.run.checkpoints import trained_arrays
from tests.cluster.together.one_after_another import one_after_another

WORKERS, SHARD, STEPS = 2, 4, 10
HEIGHT, WIDTH = 32, 64
NETWORK = Network("resnet18_v2")
RATES = [3e-3 / (1 + step) for step in range(STEPS)]
COMPARED = (0, STEPS - 2, STEPS - 1)
"""The steps whose state is compared: an error of those between them stays in the last one's."""


def recipe() -> Recipe:
    probe = probe_recipe(NETWORK.backbone, NETWORK.head)
    return replace(probe, batch_size=WORKERS * SHARD, crop=(HEIGHT, WIDTH), loss_reduction="mean")


def batches() -> list[tuple[NDArray, NDArray]]:
    generator = np.random.default_rng(3)
    shape = STEPS, WORKERS * SHARD, HEIGHT, WIDTH
    images = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, shape, dtype=np.uint8)
    labels[:, :, :9] = 255
    return list(zip(images, labels, strict=True))


def shard_of(batch: tuple[NDArray, NDArray], rank: int) -> tuple[NDArray, NDArray]:
    images, labels = (array[rank * SHARD : (rank + 1) * SHARD] for array in batch)
    return images, labels


def write_expected(file: Path) -> None:
    """Train in float64, shard by shard; write each step's loss and the states to be compared."""
    expected, momentum, results = first_parameters(), {}, {}
    for step, (batch, rate) in enumerate(zip(batches(), RATES, strict=True)):
        loss, expected, momentum = one_after_another(
            recipe(), WORKERS, expected, momentum, batch, rate
        )
        results[f"{step} loss"] = loss
        if step in COMPARED:
            results |= {f"{step} {name}": value for name, value in expected.items()}
            results |= {f"{step} momentum of {name}": value for name, value in momentum.items()}
    np.savez(file, **results)


def first_parameters() -> Parameters:
    return single(keep_off_the_kinks(probe_parameters(NETWORK)))


class Process:
    """This process of the group, and what it is expected to compute."""

    def __init__(self, name: str, expected: Path) -> None:
        self.name, self.backend = name, importlib.import_module(f"{name}_impl")
        self.config = Config(recipe(), workers=WORKERS)
        self.backend.configure(self.config)
        if name == "mxnet":
            forbid_pulls()
        self.rank = group_of(self.config).rank
        self.state = self.backend.create_state(self.config, first_parameters())
        with np.load(expected) as arrays:
            self.expected = dict(arrays)

    def resume(self, step: int) -> None:
        """Go on from what the shards one after another leave, as from a checkpoint."""
        parameters, momentum = (
            {name: self.expected[f"{step - 1} {what}{name}"].astype(np.float32) for name in names}
            for what, names in (
                ("", first_parameters()),
                ("momentum of ", trainable_names(recipe())),
            )
        )
        self.state = self.backend.create_state(self.config, parameters, momentum)

    def train(self, step: int) -> float:
        """Train a step on this process's part of a batch; return the loss."""
        arrays = (
            self.backend.to_device(np.array(array), self.config)
            for array in shard_of(batches()[step], self.rank)
        )
        self.state, loss = self.backend.train_step(self.state, *arrays, RATES[step])
        return float(loss)

    def check_step(self, step: int) -> None:
        """Assert the loss of a step, and what it leaves if that is to be compared."""
        error = abs(self.train(step) / self.expected[f"{step} loss"] - 1)
        assert error < bound("loss"), f"the loss of step {step} is off by {error:.2g}"
        if step in COMPARED:
            self.check_state(step)

    def compare_with_others(self) -> None:
        """Do what a training does at the end of an epoch."""
        parameters, momentum = (
            self.backend.parameters_of(self.state),
            self.backend.momentum_of(self.state),
        )
        together = Together(self.config, self.backend.sum_over_group, lambda epoch: np.array([]))
        together.compare(trained_arrays(recipe(), parameters, momentum), "here")

    def check_state(self, step: int) -> None:
        """Assert what a step has left: the momentum has its gradient, the parameters its update."""
        # The other processes may have their own shard's statistics until the next step.
        parameters = self.backend.parameters_of(self.state)
        names = trainable_names(recipe()) if self.rank else parameters
        quantities = {name: "statistics" if is_statistic(name) else "parameters" for name in names}
        actual = {name: parameters[name] for name in names}
        for name, value in self.backend.momentum_of(self.state).items():
            actual[f"momentum of {name}"] = value
            quantities[f"momentum of {name}"] = "momentum"
        for name, quantity in quantities.items():
            error = relative_error(actual[name], self.expected[f"{step} {name}"])
            assert error < bound(quantity), (
                f"{name} of process {self.rank} is off by {error:.2g} after step {step}"
            )


def forbid_pulls() -> None:
    """Let MXNet's store refuse to pull, as the answer may be what is pushed only later."""

    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("the store of the group pulls while others may push")

    store = importlib.import_module("mxnet").kvstore.KVStore
    store.pull = store.broadcast = refused


def compare(process: Process) -> None:
    """Assert that the steps are those of the shards, and that one from a checkpoint is."""
    for step in range(STEPS):
        process.check_step(step)
    process.resume(COMPARED[-1])
    process.check_step(COMPARED[-1])
    process.compare_with_others()


def find_missing_mean(process: Process) -> None:
    """Assert that a training is refused whose processes do not add their gradients."""
    if process.name == "tf":  # To compile a planted step takes longer than to do one without.
        importlib.import_module("tensorflow").config.run_functions_eagerly(True)
    process.state = process.backend.create_state(process.config, first_parameters())
    WITHOUT_A_MEAN[process.name](process.state)
    process.train(0)
    with pytest.raises(InputError, match="of process 1 is not that of process 0 here"):
        process.compare_with_others()


def torch_without_a_mean(state: Any) -> None:
    state.replica = state.model


def jax_without_a_mean(state: Any) -> None:
    step = importlib.import_module("jax_impl.step")
    own, mean = step.lax, step.lax.pmean
    # Of the loss there is one.
    step.lax = SimpleNamespace(
        axis_index=own.axis_index,
        psum=own.psum,
        pmean=lambda value, axis: mean(value, axis) if hasattr(value, "shape") else value,
    )
    importlib.import_module("jax").clear_caches()


def tf_without_a_mean(state: Any) -> None:
    step = importlib.import_module("tf_impl.step")
    own = step.data_parallel

    def planted(state: Any, images: Any, labels: Any) -> Any:
        return own(state, images, labels)[0], step.loss_and_gradients(state, images, labels)[1]

    step.data_parallel = planted


def mxnet_without_a_mean(state: Any) -> None:
    step = importlib.import_module("mxnet_impl.step")
    own = step.add_over_group
    step.add_over_group = lambda arrays: own({"loss": arrays["loss"]})


WITHOUT_A_MEAN: dict[str, Callable[[Any], None]] = {
    "torch": torch_without_a_mean,
    "jax": jax_without_a_mean,
    "tf": tf_without_a_mean,
    "mxnet": mxnet_without_a_mean,
}


def add_without_waiting(rank: int) -> None:
    """Assert that sums are right which MXNet's engine has only queued, also of the same names."""
    group, rounds = importlib.import_module("mxnet_impl.group"), []
    for number in range(30):
        values = {f"array {name}": group.nd.full(1000, 2 * number + rank) for name in range(8)}
        group.add_over_group(values)
        rounds.append(values)
    for number, values in enumerate(rounds):
        for name, array in values.items():
            assert (array == 4 * number + 1).min().asscalar(), f"{name} of round {number} is wrong"


if __name__ == "__main__":
    member = Process(sys.argv[1], Path(sys.argv[2]))
    try:
        compare(member)
        find_missing_mean(member)
        if member.name == "mxnet":
            add_without_waiting(member.rank)
    except (AssertionError, InputError) as error:
        sys.exit(f"error: {error}")
