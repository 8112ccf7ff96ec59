"""A network of any number of classes against the float64 reference, in every backend."""

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from benchmarks.equal_work import proof
from benchmarks.equal_work.answers import layers_file, steps_file
from benchmarks.equal_work.questions import Source
from common.backends import load_backend
from common.classes import Classes
from common.config import Config
from common.parameters.initial import initial_parameters
from common.reference.inputs import probe_batch, probe_recipe
from common.reference.verdicts import breaches, proof_findings
from tests.conftest import PRESENT
from tests.support.commands import script

SIZE = (64, 96)


@pytest.mark.parametrize(
    "count, backbone, upsampling",
    [
        pytest.param(2, "resnet18_v1", "native", marks=pytest.mark.slow),
        (11, "resnet18_v2", "subpixel"),
    ],
)
def test_a_network_of_own_classes_equals_the_reference(
    backend: ModuleType, count: int, backbone: str, upsampling: str
) -> None:
    names = tuple(f"class {label}" for label in range(count))
    classes = Classes(names, tuple((0, 0, label) for label in range(count)))
    sizes = {"batch_size": 2, "crop": SIZE, "tile": SIZE}
    recipe = replace(probe_recipe(backbone), classes=classes, **sizes)
    images, labels = probe_batch(*SIZE, num_classes=count)
    assert set(np.unique(labels)) == {*range(count), 255}
    config = Config(recipe, upsampling=upsampling).to_json()
    layers = str(layers_file(recipe, images, labels))
    predicted = str(Source(None, 2, SIZE, 0, classes).prediction(recipe))
    steps = str(steps_file(recipe, images, labels, (2, 1), "float32"))
    for errors in (
        proof.answer(backend, "layers", config, layers),
        proof.answer(backend, "losses", config, layers),
        proof.answer(backend, "prediction", config, predicted),
        proof.answer(backend, "evaluation", config, predicted),
        proof.answer(backend, "steps", config, steps),
    ):
        assert not breaches(proof_findings(errors, "float32"))


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


@pytest.mark.parametrize(
    "backend_name",
    [
        pytest.param(name, marks=pytest.mark.release if number else pytest.mark.slow)
        for number, name in enumerate(PRESENT)
    ],
    indirect=True,
)
def test_the_most_classes_are_trained_and_predicted(backend_name: str) -> None:
    """In a process of its own: the kernel has a gibibyte, of which frameworks keep copies."""
    result = script("tests.packages.test_classes", backend_name)
    assert result.returncode == 0, result.stderr


if __name__ == "__main__":
    train_and_predict(load_backend(sys.argv[1]), 255)
