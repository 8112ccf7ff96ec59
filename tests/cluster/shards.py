"""One process of a group, which asserts that it does the work of the shards one after another.

    python -m tests.cluster.shards BACKEND [EXPECTED]

EXPECTED is a file that ``write_expected`` wrote: each step's loss and what it leaves, the shards
computed one after another in float64, the mean of their gradients taken, the first shard's running
statistics kept. Without it the process does not join its group.
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
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_parameters, probe_recipe, single
from common.reference.tolerances import bound
from common.run.checkpoints import trained_arrays

WORKERS, SHARD, STEPS = 2, 4, 10
HEIGHT, WIDTH = 32, 64
NETWORK = Network("resnet18_v2")
RATES = [3e-3 / (1 + step) for step in range(STEPS)]


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
    """Train in float64, shard by shard, and write the losses and what each step leaves.

    PyTorch computes each shard, for the reference takes its time; tests/equal_work holds it to the
    reference.
    """
    backend = importlib.import_module("torch_impl")
    config = Config(recipe(), precision="float64")
    state = backend.create_state(config, first_parameters())
    expected, momentum, results = first_parameters(), {}, {}
    for step, (batch, rate) in enumerate(zip(batches(), RATES, strict=True)):
        losses, gradients, statistics = [], dict[str, NDArray](), {}
        for rank in range(WORKERS):
            backend.load_parameters(state.model, expected)
            arrays = (backend.to_device(array, config) for array in shard_of(batch, rank))
            state, loss, shard = backend.backward_step(state, *arrays)
            losses.append(float(loss))
            for name, gradient in shard.items():
                gradients[name] = gradients.get(name, 0) + gradient.numpy() / WORKERS
            statistics = statistics or {
                name: value
                for name, value in backend.parameters_of(state).items()
                if is_statistic(name)
            }
        expected, momentum = reference.sgd_step(expected, momentum, gradients, recipe(), rate)
        expected = {**expected, **statistics}
        results[f"{step} loss"] = np.mean(losses)
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

    def train(self, step: int) -> float:
        """Train a step on this process's part of a batch; return the loss."""
        arrays = (
            self.backend.to_device(np.array(array), self.config)
            for array in shard_of(batches()[step], self.rank)
        )
        self.state, loss = self.backend.train_step(self.state, *arrays, RATES[step])
        return float(loss)

    def check_loss(self, step: int, loss: float) -> None:
        error = abs(loss / self.expected[f"{step} loss"] - 1)
        assert error < bound("loss"), f"the loss of step {step} is off by {error:.2g}"

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
    """Assert that the steps are those of the shards."""
    for step in range(STEPS):
        process.check_loss(step, process.train(step))
        process.check_state(step)
    process.compare_with_others()


def find_missing_mean(process: Process) -> None:
    """Assert that a training is refused whose processes do not add their gradients."""
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


def train_alone(name: str) -> None:
    """Do what a framework does that has not joined its group: it adds nothing."""
    device = importlib.import_module(f"{name}_impl.device")
    device.join_group = lambda config: None
    device.sum_over_group = lambda values: values
    device.configure(Config(recipe(), workers=WORKERS))


if __name__ == "__main__":
    backend_name, *expected = sys.argv[1:]
    try:
        if expected:
            member = Process(backend_name, Path(expected[0]))
            compare(member)
            find_missing_mean(member)
        else:
            train_alone(backend_name)
    except (AssertionError, InputError) as error:
        sys.exit(f"error: {error}")
