"""Data parallelism on two CPU devices equals the shards computed one after another.

The reference computes each shard by itself, adds the gradients as the recipe's reduction says, and
keeps the first shard's running statistics. Each backend runs in a process of its own, because its
devices are made before its first work.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import reference
from common.config import Config
from common.parameters import is_statistic
from common.probes import (
    keep_off_the_kinks,
    probe_parameters,
    probe_recipe,
    relative_error,
    single,
)
from common.tolerances import bound


@pytest.mark.parametrize("backbone, reduction", [("resnet18_v1", "sum"), ("resnet18_v2", "mean")])
@pytest.mark.parametrize("name", ["mxnet", "jax"])
def test_two_devices_equal_the_shards_one_after_another(
    name: str, backbone: str, reduction: str
) -> None:
    command = [sys.executable, __file__, name, backbone, reduction]
    folder = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def compare(name: str, backbone: str, reduction: str) -> None:
    """Assert the equality in this process."""
    backend = importlib.import_module(f"{name}_impl")
    recipe = replace(probe_recipe(backbone), batch_size=4, crop=(64, 96), loss_reduction=reduction)
    config = Config(recipe, devices=2)
    backend.configure(config)
    parameters = single(keep_off_the_kinks(probe_parameters(backbone)))
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    labels = generator.integers(0, 21, (4, 64, 96), dtype=np.uint8)
    labels[:, :9] = 255
    share = 1.0 if reduction == "sum" else 0.5
    state = backend.create_state(config, parameters)
    expected, momentum = dict(parameters), {}
    for rate in (1e-3, 3e-3):
        batch = backend.to_device(images, config), backend.to_device(labels, config)
        state, loss = backend.train_step(state, *batch, rate)
        first, second = (
            reference.gradients(expected, images[i : i + 2], labels[i : i + 2], recipe)
            for i in (0, 2)
        )
        expected_loss = share * (first[0] + second[0])
        assert abs(float(loss) - expected_loss) < bound("loss") * expected_loss
        gradients = {key: share * (first[1][key] + second[1][key]) for key in first[1]}
        expected, momentum = reference.sgd_step(expected, momentum, gradients, recipe, rate)
        expected = {**expected, **first[2]}
    actual = backend.parameters_of(state)
    for key, value in expected.items():
        error = relative_error(actual[key], value)
        quantity = "statistics" if is_statistic(key) else "parameters"
        assert error < bound(quantity), (key, error)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    compare(*sys.argv[1:])
