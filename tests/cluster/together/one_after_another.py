"""A training step whose shards are computed one after another, in float64."""

import importlib

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.parameters.names import Parameters, is_statistic
from common.recipes import Recipe
from common.reference import network as reference


def one_after_another(
    recipe: Recipe,
    workers: int,
    parameters: Parameters,
    momentum: Parameters,
    batch: tuple[NDArray, NDArray],
    rate: float,
) -> tuple[float, Parameters, Parameters]:
    """Return the loss of a batch that is split over workers, the next parameters and momentum.

    The mean of the shards' losses and gradients is taken, and the first shard's running statistics
    are kept. PyTorch computes each shard, for the reference takes its time; tests/equal_work holds
    it to the reference.
    """
    torch, backend = importlib.import_module("torch"), importlib.import_module("torch_impl")
    config, threads = Config(recipe, precision="float64"), torch.get_num_threads()
    torch.set_num_threads(1)  # Two threads would need the time of both CPUs to be as fast.
    state = backend.create_state(config, parameters)
    losses, gradients, statistics = [], dict[str, NDArray](), {}
    for images, labels in zip(*(np.split(array, workers) for array in batch), strict=True):
        backend.load_parameters(state.model, parameters)
        arrays = (backend.to_device(array, config) for array in (images, labels))
        state, loss, shard = backend.backward_step(state, *arrays)
        losses.append(float(loss))
        for name, gradient in shard.items():
            gradients[name] = gradients.get(name, 0) + gradient.numpy() / workers
        statistics = statistics or {
            name: value
            for name, value in backend.parameters_of(state).items()
            if is_statistic(name)
        }
    torch.set_num_threads(threads)
    parameters, momentum = reference.sgd_step(parameters, momentum, gradients, recipe, rate)
    return float(np.mean(losses)), {**parameters, **statistics}, momentum
