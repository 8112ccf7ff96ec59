"""One process of a group, which asserts that it does the work of the shards one after another.

    python -m tests.cluster.together.shards BACKEND EXPECTED [MISTAKE]

EXPECTED is a file that ``write_expected`` wrote: the state from which both start, as from a
checkpoint, each step's loss, and what some steps leave. With MISTAKE the processes only show that
they refuse a training whose gradients they do not add. First steps, without momentum, are those of
tests/cluster/test_compare.py.
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
from common.parameters.names import (
    Parameters,
    is_statistic,
    parameter_shapes,
    trainable_names,
)
from common.recipes import Network, Recipe
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from common.run.checkpoints import trained_arrays
from tests.cluster.together.one_after_another import one_after_another

WORKERS, SHARD, STEPS = 2, 4, 3
HEIGHT, WIDTH = 32, 64
NETWORK = Network("resnet18_v2", "fcn8s")
RATES = [3e-3 / (1 + step) for step in range(1 + STEPS)]
COMPARED = (0, STEPS - 1)
"""The steps whose state is compared: an error of those between them stays in the last one's."""
START = "start"


def recipe() -> Recipe:
    probe = probe_recipe(NETWORK.backbone, NETWORK.head)
    return replace(probe, batch_size=WORKERS * SHARD, crop=(HEIGHT, WIDTH), loss_reduction="mean")


def batches() -> list[tuple[NDArray, NDArray]]:
    generator = np.random.default_rng(3)
    shape = 1 + STEPS, WORKERS * SHARD, HEIGHT, WIDTH
    images = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, shape, dtype=np.uint8)
    labels[:, :, :9] = 255
    return list(zip(images, labels, strict=True))


def shard_of(batch: tuple[NDArray, NDArray], rank: int) -> tuple[NDArray, NDArray]:
    images, labels = (array[rank * SHARD : (rank + 1) * SHARD] for array in batch)
    return images, labels


def write_expected(file: Path) -> None:
    """Train in float64, shard by shard; write each step's loss and the states to be compared.

    What a first step leaves is rounded as a checkpoint is, and is the state the others start from.
    """
    parameters, momentum = first_parameters(), dict[str, NDArray]()
    batch, *others = batches()
    _, *start = one_after_another(recipe(), WORKERS, parameters, momentum, batch, RATES[0])
    parameters, momentum = map(single, start)
    results = named(START, parameters, momentum)
    for step, (batch, rate) in enumerate(zip(others, RATES[1:], strict=True)):
        loss, parameters, momentum = one_after_another(
            recipe(), WORKERS, parameters, momentum, batch, rate
        )
        results[f"{step} loss"] = np.asarray(loss)
        if step in COMPARED:
            results |= named(step, parameters, momentum)
    np.savez(file, **results)


def named(when: object, parameters: Parameters, momentum: Parameters) -> Parameters:
    """Return a state as it is written."""
    results = {f"{when} {name}": value for name, value in parameters.items()}
    return results | {f"{when} momentum of {name}": value for name, value in momentum.items()}


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
        self.expected = np.load(expected)

    def start(self) -> None:
        """Start from what the shards one after another leave, as from a checkpoint."""
        parameters, momentum = (
            {name: self.expected[f"{START} {what}{name}"] for name in names}
            for what, names in (
                ("", parameter_shapes(NETWORK)),
                ("momentum of ", trainable_names(recipe())),
            )
        )
        self.state = self.backend.create_state(self.config, parameters, momentum)

    def start_afresh(self, parameters: Parameters) -> None:
        """Start from parameters; assert that the state has them and no momentum."""
        self.state = self.backend.create_state(self.config, parameters)
        actual = self.backend.parameters_of(self.state)
        assert all((actual[name] == parameters[name]).all() for name in parameters)
        assert not any(value.any() for value in self.backend.momentum_of(self.state).values())

    def train(self, step: int) -> float:
        """Train a step on this process's part of a batch; return the loss."""
        arrays = (
            self.backend.to_device(np.array(array), self.config)
            for array in shard_of(batches()[1 + step], self.rank)
        )
        self.state, loss = self.backend.train_step(self.state, *arrays, RATES[1 + step])
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
    """Assert that the steps are those of the shards one after another."""
    process.start()
    for step in range(STEPS):
        process.check_step(step)
    process.compare_with_others()


def find_other_start(process: Process) -> None:
    """Assert that a process is refused whose start differs from the others' by one value."""
    parameters = first_parameters()
    parameters["backbone.conv1.weight"][0, 0, 0, 0] += 0.1 * process.rank
    process.start_afresh(parameters)
    assert_refused(process)


def find_missing_mean(process: Process) -> None:
    """Assert that a training is refused whose processes do not add their gradients."""
    if process.name == "tf":  # To compile a planted step takes longer than to do one without.
        importlib.import_module("tensorflow").config.run_functions_eagerly(True)
    process.start_afresh(first_parameters())
    WITHOUT_A_MEAN[process.name](process.state)
    process.train(0)
    assert_refused(process)


def assert_refused(process: Process) -> None:
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


def main(backend: str, expected: str, *mistake: str) -> None:
    process = Process(backend, Path(expected))
    if not mistake:
        compare(process)
        if backend == "mxnet":
            add_without_waiting(process.rank)
    # JAX and TensorFlow would compile another step for the mistake: that is a test of its own.
    if mistake or backend in ("torch", "mxnet"):
        find_missing_mean(process)
    else:
        find_other_start(process)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (AssertionError, InputError) as error:
        sys.exit(f"error: {error}")
