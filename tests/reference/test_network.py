"""The reference's gradient by finite differences, its loss and SGD by literal values."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from common.classes import VOID
from common.parameters.names import is_statistic, layer_names, parameter_shapes, trainable_names
from common.recipes import BACKBONES, HEADS, Network, Recipe, make_recipe
from common.reference import network as reference
from common.reference.inputs import probe_batch, probe_parameters, probe_recipe
from tests.reference.thin import use_thin_network

LOG_2, LOG_40 = math.log(2), math.log(40)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_forward_records_every_layer_in_order(backbone: str) -> None:
    images, _ = probe_batch(32, 64)
    parameters = probe_parameters(Network(backbone))
    for training in (True, False):
        passed = reference.forward(parameters, images, Network(backbone), training)
        assert list(passed.layers) == layer_names(Network(backbone))
        assert all(len(layer) == 2 for layer in passed.layers.values())
        assert all(layer.dtype == np.float64 for layer in passed.layers.values())
        assert passed.layers["final_conv"].shape == (2, 1, 2, 21)
        assert passed.logits.shape == (2, 32, 64, 21)
        statistics = set(filter(is_statistic, parameters)) if training else set()
        assert set(passed.statistics) == statistics


def test_normalize_subtracts_the_mean_of_red_green_and_blue_in_this_order() -> None:
    images = np.full((1, 32, 32, 3), [0, 51, 255], np.uint8)
    network = Network("resnet18_v1")
    passed = reference.forward(probe_parameters(network), images, network, False)
    expected = [-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert passed.layers["normalize"][0, 3, 4] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradient_of_the_network_by_finite_differences(
    backbone: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block by block, in a thin network."""
    use_thin_network(monkeypatch)
    recipe = probe_recipe(backbone, head)
    parameters, (images, labels) = probe_parameters(recipe.network), probe_batch(32, 64)
    value, gradients, _ = reference.gradients(parameters, images, labels, recipe)

    def loss_at(directions: dict[str, NDArray], step: float) -> float:
        moved = {name: parameters[name] + step * d for name, d in directions.items()}
        passed = reference.forward({**parameters, **moved}, images, recipe.network, True)
        return reference.loss(passed.logits, labels, recipe)

    assert value == loss_at({}, 0.0)
    assert list(gradients) == trainable_names(recipe)
    parts: dict[str, dict[str, NDArray]] = {}
    generator = np.random.default_rng(1)
    for name, gradient in gradients.items():
        # Half along the gradient: of a random direction alone, a large tensor sees almost nothing.
        random = generator.normal(size=gradient.shape)
        direction = random / np.linalg.norm(random) + gradient / np.linalg.norm(gradient)
        parts.setdefault(".".join(name.split(".")[:3]), {})[name] = direction
    step = 1e-7  # Larger steps cross the kinks of ReLUs, smaller ones drown in rounding.
    for part, directions in parts.items():
        difference = (loss_at(directions, step) - loss_at(directions, -step)) / (2 * step)
        expected = sum(np.vdot(gradients[name], d) for name, d in directions.items())
        assert difference == pytest.approx(expected, rel=2e-5), part


def halves(classes: list[int]) -> NDArray[np.float64]:
    """Return logits [1, 1, n, 21] that give each pixel's class 1/2, the 20 others 1/40 each."""
    logits = np.zeros((1, 1, len(classes), 21))
    logits[0, 0, range(len(classes)), classes] = math.log(20)
    return logits


@pytest.mark.parametrize(
    "void, reduction, expected",
    [
        # Image 1: right, right, wrong, void. Image 2: all void. The network never says background.
        ("ignore", "sum", (2 * LOG_2 + LOG_40) / 3 + 0),
        ("ignore", "mean", ((2 * LOG_2 + LOG_40) / 3 + 0) / 2),
        ("background", "sum", (2 * LOG_2 + 2 * LOG_40) / 4 + LOG_40),
        ("background", "mean", ((2 * LOG_2 + 2 * LOG_40) / 4 + LOG_40) / 2),
    ],
)
def test_loss_literally(void: str, reduction: str, expected: float) -> None:
    logits = np.concatenate([halves([7, 8, 9, 10]), halves([1, 2, 3, 4])])
    labels = np.array([[[7, 8, 20, VOID]], [[VOID] * 4]], np.uint8)
    recipe = replace(make_recipe("modern"), void=void, loss_reduction=reduction)
    assert reference.loss(logits, labels, recipe) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("void", ["ignore", "background"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_loss_gradient_by_finite_differences(void: str, reduction: str) -> None:
    generator = np.random.default_rng(0)
    logits, direction = generator.normal(size=(2, 3, 5, 5, 21))
    labels = generator.integers(0, 21, (3, 5, 5), dtype=np.uint8)
    labels[0, :2] = labels[1] = VOID
    recipe = replace(make_recipe("modern"), void=void, loss_reduction=reduction)
    gradient = reference.loss_gradient(logits, labels, recipe)
    step = 1e-5
    above = reference.loss(logits + step * direction, labels, recipe)
    below = reference.loss(logits - step * direction, labels, recipe)
    assert (above - below) / (2 * step) == pytest.approx(np.vdot(gradient, direction), rel=1e-7)
    assert (not gradient[labels == VOID].any()) == (void == "ignore")


def constant(recipe: Recipe, value: float) -> dict[str, NDArray[np.float64]]:
    return {name: np.full(shape, value) for name, shape in parameter_shapes(recipe.network).items()}


def test_sgd_adds_decay_before_momentum_and_the_rate_after_it() -> None:
    recipe = make_recipe("modern", momentum=0.9, weight_decay=0.1, decay_scope="all")
    start = constant(recipe, 2.0)
    first, buffers = reference.sgd_step(start, {}, constant(recipe, 1.0), recipe, 0.5)
    second, buffers = reference.sgd_step(first, buffers, constant(recipe, -1.0), recipe, 0.1)
    assert list(buffers) == trainable_names(recipe)
    for name in start:
        if is_statistic(name):
            assert (second[name] == 2).all()
        else:
            # g = 1 + 0.1 * 2 = 1.2; p = 2 - 0.5 * 1.2 = 1.4
            # g = -1 + 0.1 * 1.4 = -0.86; buffer = 0.9 * 1.2 - 0.86 = 0.22; p = 1.4 - 0.1 * 0.22
            assert first[name].ravel()[[0, -1]] == pytest.approx(1.4, rel=1e-15)
            assert buffers[name].ravel()[[0, -1]] == pytest.approx(0.22, rel=1e-14)
            assert second[name].ravel()[[0, -1]] == pytest.approx(1.378, rel=1e-15)
        assert (start[name] == 2).all()


def test_sgd_decays_only_what_the_recipe_says() -> None:
    recipe = make_recipe("modern", momentum=0.0, weight_decay=0.1, decay_scope="weights")
    after, _ = reference.sgd_step(constant(recipe, 2), {}, constant(recipe, 1), recipe, 0.5)
    for name in ("backbone.conv1.weight", "final_conv.weight", "transpose_conv.weight"):
        assert after[name].flat[0] == pytest.approx(2 - 0.5 * 1.2)
    for name in ("backbone.bn1.weight", "backbone.bn1.bias", "final_conv.bias"):
        assert after[name].flat[0] == 2 - 0.5


def test_sgd_leaves_a_frozen_upsampling_alone() -> None:
    recipe = make_recipe("modern", upsample_init="bilinear-frozen")
    start = constant(recipe, 2)
    after, buffers = reference.sgd_step(start, {}, constant(recipe, 1), recipe, 0.5)
    for name in ("transpose_conv.weight", "transpose_conv.bias"):
        assert_array_equal(after[name], start[name])
        assert name not in buffers
    assert after["final_conv.weight"].flat[0] < 2


@pytest.mark.parametrize("backbone", BACKBONES)
def test_train_step_moves_weights_and_statistics_and_leaves_its_arguments(backbone: str) -> None:
    recipe, (images, labels) = probe_recipe(backbone), probe_batch(32, 64)
    start = {name: p.astype(np.float32) for name, p in probe_parameters(Network(backbone)).items()}
    before = {name: p.copy() for name, p in start.items()}
    after, momentum, value = reference.train_step(start, {}, images, labels, recipe, 0.01)
    _, gradients, statistics = reference.gradients(start, images, labels, recipe)
    moved, _ = reference.sgd_step(start, {}, gradients, recipe, 0.01)
    assert list(after) == list(start)
    assert value > 0
    for name, old in before.items():
        assert_array_equal(start[name], old)
        assert after[name].dtype == np.float64
        assert_array_equal(after[name], statistics[name] if is_statistic(name) else moved[name])
        assert not np.array_equal(after[name], old)
    assert list(momentum) == trainable_names(recipe)
