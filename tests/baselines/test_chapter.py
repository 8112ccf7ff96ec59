"""The chapter's own way of writing each step does the work that the packages do."""

import importlib
from dataclasses import replace
from importlib import metadata
from types import ModuleType

import pytest

from benchmarks.baselines.chapter import completed
from common.config import Config
from common.errors import InputError
from common.parameters.names import is_statistic
from common.recipes import BACKBONES, Network, make_recipe
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_batch, probe_parameters, single
from common.reference.tolerances import CHAPTER, bound

NAMES = (
    "LAYOUT",
    "configure",
    "create_state",
    "describe",
    "device_memory_peak",
    "loss_operation",
    "parameters_of",
    "precisions",
    "predict_step",
    "switches",
    "synchronize",
    "to_canonical",
    "to_device",
    "to_host",
    "train_step",
    "upsample_operation",
)
OWN = {"create_loader", "predict_area"}
"""What a package does otherwise."""


@pytest.fixture(scope="module")
def chapter(backend: ModuleType, backend_name: str) -> ModuleType:
    code = importlib.import_module(f"benchmarks.baselines.chapter.{backend_name}_code")
    return completed(code, backend)


def small(**changes: object) -> Config:
    recipe = make_recipe("chapter-torch", batch_size=2, crop=(64, 96), weight_decay=0.1)
    return Config(replace(recipe, **changes))


def test_it_stands_in_for_a_package(chapter: ModuleType, backend: ModuleType) -> None:
    assert all(hasattr(chapter, name) for name in (*NAMES, *OWN))
    assert all(hasattr(backend, name) for name in NAMES)
    chapter.configure(small())
    assert chapter.switches(small()).keys() == backend.switches(small()).keys()
    described = backend.describe(small())
    if backend.__name__ == "jax_impl":
        described["versions"]["grain"] = metadata.version("grain")
    assert chapter.describe(small()) == described


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_losses_and_updates_equal_the_reference(
    chapter: ModuleType, backend_name: str, backbone: str
) -> None:
    """Running variances of all but PyTorch are left out: the frameworks' own are biased.

    Those of the norm on the input stay where they are in Gluon, where no gradient reaches it.
    """
    config = small(backbone=backbone, loss_reduction="mean" if backbone[-1] == "2" else "sum")
    if backbone == "resnet18_v2" and backend_name != "mxnet":
        with pytest.raises(InputError, match="backbone"):
            chapter.create_state(config, {})
        return
    chapter.configure(config)
    parameters = single(keep_off_the_kinks(probe_parameters(Network(backbone))))
    images, labels = probe_batch(*config.recipe.crop)
    state = chapter.create_state(config, parameters)
    pair = chapter.to_device(images, config), chapter.to_device(labels, config)
    logits = chapter.to_host(chapter.predict_step(state, pair[0]))
    expected = reference.forward(parameters, images, Network(backbone), False).logits
    assert relative_error(logits, expected) < bound("logits")
    expected, momentum = dict(parameters), {}
    for rate in (1e-3, 3e-3, 2e-3):
        state, loss = chapter.train_step(state, *pair, rate)
        expected, momentum, expected_loss = reference.train_step(
            expected, momentum, images, labels, config.recipe, rate
        )
        assert float(loss) == pytest.approx(expected_loss, rel=bound("loss"))
    actual = chapter.parameters_of(state)
    assert actual.keys() == expected.keys()
    for name in expected:
        if name.startswith("backbone.data_bn"):
            assert (actual[name] == parameters[name]).all()
            continue
        if name.endswith("running_var") and backend_name in CHAPTER:
            continue
        limit = bound("statistics" if is_statistic(name) else "parameters")
        assert relative_error(actual[name], expected[name]) < limit, name


def test_it_refuses_what_the_chapter_does_not_do(chapter: ModuleType) -> None:
    for change in ({"void": "ignore"}, {"momentum": 0.9}, {"decay_scope": "weights"}):
        config = small(**change)
        with pytest.raises(InputError, match=next(iter(change))):
            chapter.create_state(config, {})
