"""Every backend against the float64 reference: layers, gradients, steps, and what moves between."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from test_reference import probe_batch, probe_parameters, probe_recipe
from test_reference_oracles import keep_off_the_kinks

from common import reference
from common.config import Config
from common.parameters import Parameters, trainable_names
from common.recipes import BACKBONES, Recipe, make_recipe

# Measured worst, float32 against float64 at 64x96: layers 1.4e-5 (a norm whose input MXNet averages
# in another order), logits 4e-6, gradients 1e-5, losses 5e-7, parameters and statistics 1e-6.
LAYER, LOGITS, GRADIENT, LOSS, STATE = 5e-5, 1e-5, 5e-5, 5e-6, 1e-5


def distance(actual: NDArray, expected: NDArray) -> float:
    """Return ||a - b|| / ||b||, with a floor for what is exactly zero."""
    difference = np.linalg.norm(np.asarray(actual, np.float64) - expected)
    return float(difference / max(np.linalg.norm(expected), 1e-3))


def probe(recipe: Recipe) -> tuple[Parameters, NDArray, NDArray]:
    parameters = probe_parameters(recipe.backbone)
    keep_off_the_kinks(parameters)
    images, labels = probe_batch(64, 96)
    single = {name: value.astype(np.float32) for name, value in parameters.items()}
    return single, images, labels


def prepared(backend: ModuleType, recipe: Recipe, **options: object) -> tuple[Config, Parameters]:
    config = Config(replace(recipe, batch_size=2, crop=(64, 96)), **options)
    backend.configure(config)
    return config, probe(recipe)[0]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_layer_equals_the_reference(
    backend: ModuleType, backbone: str, training: bool
) -> None:
    recipe = probe_recipe(backbone)
    config, parameters = prepared(backend, recipe)
    _, images, _ = probe(recipe)
    state = backend.create_state(config, parameters)
    actual = backend.layer_outputs(state, backend.to_device(images, config), training)
    expected = reference.forward(parameters, images, backbone, training).layers
    assert list(actual) == list(expected)
    errors = {name: distance(actual[name], expected[name]) for name in expected}
    assert errors["transpose_conv"] < LOGITS
    assert not [(name, error) for name, error in errors.items() if error > LAYER]


@pytest.mark.parametrize("void", ["background", "ignore"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_loss_and_gradients_equal_the_reference(
    backend: ModuleType, backbone: str, void: str
) -> None:
    reduction = "sum" if void == "background" else "mean"
    recipe = replace(probe_recipe(backbone), void=void, loss_reduction=reduction)
    config, parameters = prepared(backend, recipe)
    _, images, labels = probe(recipe)
    labels[1] = 255
    state = backend.create_state(config, parameters)
    pair = backend.to_device(images, config), backend.to_device(labels, config)
    loss, actual = backend.gradients(state, *pair)
    expected_loss, expected, _ = reference.gradients(parameters, images, labels, recipe)
    assert loss == pytest.approx(expected_loss, rel=LOSS)
    assert set(actual) == set(trainable_names(recipe))
    errors = {name: distance(actual[name], expected[name]) for name in actual}
    assert not [(name, error) for name, error in errors.items() if error > GRADIENT]


CASES = {
    "v1": probe_recipe("resnet18_v1"),
    "v2": probe_recipe("resnet18_v2"),
    "decay of weights": replace(probe_recipe("resnet18_v1"), decay_scope="weights"),
    "frozen upsampling": replace(probe_recipe("resnet18_v1"), upsample_init="bilinear-frozen"),
    "no momentum": replace(make_recipe("chapter-torch"), weight_decay=0.1),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_reference(backend: ModuleType, case: str) -> None:
    """Momentum, coupled decay, a changing learning rate, unbiased statistics."""
    recipe = CASES[case]
    config, parameters = prepared(backend, recipe)
    _, images, labels = probe(recipe)
    state = backend.create_state(config, parameters)
    pair = backend.to_device(images, config), backend.to_device(labels, config)
    expected, momentum = dict(parameters), {}
    for rate in (1e-3, 3e-3, 2e-3):
        state, loss = backend.train_step(state, *pair, rate)
        expected, momentum, expected_loss = reference.train_step(
            expected, momentum, images, labels, recipe, rate
        )
        assert float(loss) == pytest.approx(expected_loss, rel=LOSS)
    actual = backend.parameters_of(state)
    errors = {name: distance(actual[name], expected[name]) for name in expected}
    assert not [(name, error) for name, error in errors.items() if error > STATE]
    buffers = backend.momentum_of(state)
    assert set(buffers) == (set(trainable_names(recipe)) if recipe.momentum else set())
    errors = {name: distance(buffers[name], momentum[name]) for name in buffers}
    assert not [(name, error) for name, error in errors.items() if error > GRADIENT]


def test_upsamplings_are_equal_with_random_kernels(
    backend: ModuleType, generator: np.random.Generator
) -> None:
    """Both lowerings against the sum that defines them, channels in and out different."""
    config, _ = prepared(backend, probe_recipe("resnet18_v1"))
    for stride in (2, 8):
        x = generator.normal(size=(2, 3, 4, 5)).astype(np.float32)
        weight = generator.normal(size=(5, 4, 2 * stride, 2 * stride)).astype(np.float32)
        bias = generator.normal(size=4).astype(np.float32)
        full = np.zeros((2, 4 * stride, 5 * stride, 4))
        for i in range(3):
            for j in range(4):
                patch = np.einsum("bc,cohw->bhwo", x[:, i, j], weight)
                rows, columns = (
                    slice(i * stride, (i + 2) * stride),
                    slice(j * stride, (j + 2) * stride),
                )
                full[:, rows, columns] += patch
        half = stride // 2
        expected = full[:, half:-half, half:-half] + bias
        layout = backend.LAYOUT
        given = x.transpose(0, 3, 1, 2) if layout == "NCHW" else x
        kernel = np.ascontiguousarray(backend.from_canonical("transpose_conv.weight", weight))
        arrays = [
            backend.to_device(np.ascontiguousarray(array), config)
            for array in (given, kernel, bias)
        ]
        for upsampling in ("native", "subpixel"):
            y = backend.transposed_convolution(*arrays, stride, upsampling)
            actual = np.asarray(backend.to_host(y))
            actual = actual.transpose(0, 2, 3, 1) if layout == "NCHW" else actual
            assert actual.shape == expected.shape
            assert distance(actual, expected) < 1e-5, (stride, upsampling)


def test_parameters_come_back_as_they_went(backend: ModuleType) -> None:
    for backbone in BACKBONES:
        config, parameters = prepared(backend, probe_recipe(backbone))
        kept = {name: value.copy() for name, value in parameters.items()}
        state = backend.create_state(config, parameters)
        returned = backend.parameters_of(state)
        assert returned.keys() == parameters.keys()
        for name, value in parameters.items():
            np.testing.assert_array_equal(returned[name], value)
            np.testing.assert_array_equal(kept[name], value)


def test_momentum_from_elsewhere_gives_the_same_next_step(backend: ModuleType) -> None:
    recipe = probe_recipe("resnet18_v1")
    config, parameters = prepared(backend, recipe)
    _, images, labels = probe(recipe)
    expected, momentum, _ = reference.train_step(parameters, {}, images, labels, recipe, 1e-3)
    single = {name: value.astype(np.float32) for name, value in expected.items()}
    buffers = {name: momentum[name].astype(np.float32) for name in trainable_names(recipe)}
    state = backend.create_state(config, single, buffers)
    pair = backend.to_device(images, config), backend.to_device(labels, config)
    state, _ = backend.train_step(state, *pair, 3e-3)
    expected, _, _ = reference.train_step(expected, momentum, images, labels, recipe, 3e-3)
    actual = backend.parameters_of(state)
    errors = {name: distance(actual[name], expected[name]) for name in expected}
    assert not [(name, error) for name, error in errors.items() if error > STATE]


def test_evaluation_and_prediction_agree_with_the_reference(backend: ModuleType) -> None:
    recipe = probe_recipe("resnet18_v1")
    config, parameters = prepared(backend, recipe)
    _, images, labels = probe(recipe)
    state = backend.create_state(config, parameters)
    expected = reference.forward(parameters, images, recipe.backbone, False).logits
    x, y = backend.to_device(images, config), backend.to_device(labels, config)
    logits = backend.to_host(backend.predict_step(state, x))
    assert distance(logits, expected) < LOGITS
    loss, classes = backend.eval_step(state, x, y)
    assert float(loss) == pytest.approx(reference.loss(expected, labels, recipe), rel=LOSS)
    classes = np.asarray(backend.to_host(classes))
    assert classes.dtype == np.uint8
    assert (classes != expected.argmax(-1)).mean() < 1e-4
