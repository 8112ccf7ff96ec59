"""The fewest and the most classes; tests/packages/test_parity.py has numbers between them."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from common.backends import load_backend
from common.classes import Classes
from common.config import Config
from common.parameters.initial import initial_parameters
from common.reference.inputs import probe_batch, probe_recipe
from tests.support.commands import script


def train_and_predict(backend: ModuleType, count: int) -> None:
    """Assert that a step and a prediction with so many classes have a loss and labels."""
    colors = tuple((0, 0, label) for label in range(count))
    classes = Classes(tuple(map(str, range(count))), colors)
    recipe = replace(probe_recipe("resnet18_v1"), classes=classes, batch_size=2, crop=(64, 64))
    config = Config(recipe)
    backend.configure(config)
    state = backend.create_state(config, initial_parameters(recipe, seed=0))
    images, labels = probe_batch(64, 64, num_classes=count)
    labels[0, 0, :2] = count - 1, 255
    pair = backend.to_device(images, config), backend.to_device(labels, config)
    state, loss = backend.train_step(state, *pair, 1e-3)
    assert float(loss) == pytest.approx(0, abs=1e-6) if count == 1 else float(loss) > 1
    maps = np.asarray(backend.to_host(backend.classify_step(state, pair[0])))
    assert maps.shape == (2, 64, 64) and maps.max() < count


def test_one_class_is_trained_and_predicted(backend: ModuleType) -> None:
    train_and_predict(backend, 1)


@pytest.mark.release
def test_the_most_classes_are_trained_and_predicted(backend_name: str) -> None:
    """In a process of its own: the kernel has a gibibyte, of which frameworks keep copies."""
    result = script("tests.packages.test_classes", backend_name)
    assert result.returncode == 0, result.stderr


if __name__ == "__main__":
    train_and_predict(load_backend(sys.argv[1]), 255)
