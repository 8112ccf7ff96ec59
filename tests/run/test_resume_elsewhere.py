"""A checkpoint of any backend is gone on with by any other, and by itself bit for bit."""

from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.backends import load_backend
from common.config import Config
from common.parameters.names import Parameters
from common.reference.distances import relative_error
from common.reference.inputs import (
    keep_off_the_kinks,
    probe_batch,
    probe_parameters,
    probe_recipe,
    single,
)
from common.reference.tolerances import bound
from common.run.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from tests.conftest import PRESENT

# One process holds all four frameworks; each is compiled once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("resume elsewhere")]
RECIPE = replace(probe_recipe("resnet18_v1", "fcn8s"), batch_size=2, crop=(64, 96))
CONFIG = Config(RECIPE, deterministic=True)
RATES = (1e-3, 3e-3, 2e-3, 1e-3)
HALF = 2


class Done(NamedTuple):
    losses: list[float]
    parameters: Parameters
    momentum: Parameters


def go_on(backend: ModuleType, start: Checkpoint, halfway: Path | None = None) -> Done:
    """Do the rest of the steps; leave a checkpoint in the folder ``halfway`` on the way."""
    state = backend.create_state(CONFIG, start.parameters, start.momentum or None)
    losses = []
    for step in range(start.step, len(RATES)):
        if halfway is not None and step == HALF:
            values = {
                "parameters": backend.parameters_of(state),
                "momentum": backend.momentum_of(state),
            }
            save_checkpoint(halfway, replace(start, step=step, **values), {})
        images, labels = probe_batch(*RECIPE.crop, seed=step)
        pair = backend.to_device(images, CONFIG), backend.to_device(labels, CONFIG)
        state, loss = backend.train_step(state, *pair, RATES[step])
        losses.append(float(loss))
    return Done(losses, backend.parameters_of(state), backend.momentum_of(state))


@pytest.fixture(scope="module")
def trainings(determinism: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each backend, its checkpoint's folder after half of the steps, and all steps."""
    found = {}
    parameters = single(keep_off_the_kinks(probe_parameters(RECIPE.network)))
    start = Checkpoint(parameters, {}, 0, CONFIG, "0" * 64)
    for name in PRESENT:
        backend = load_backend(name)
        backend.configure(CONFIG)
        folder = tmp_path_factory.mktemp(name)
        found[name] = backend, folder, go_on(backend, start, folder / "checkpoints")
    return found


RING = set(pairwise([*PRESENT, PRESENT[0]]))
"""Pairs in which each backend writes once and reads once."""


@pytest.mark.parametrize(
    "first, second",
    [
        pytest.param(*pair, marks=() if pair in RING else pytest.mark.release)
        for pair in permutations(PRESENT, 2)
    ],
)
def test_two_steps_here_and_two_there_are_four(
    trainings: dict[str, Any], first: str, second: str
) -> None:
    _, folder, whole = trainings[first]
    resumed = go_on(trainings[second][0], load_checkpoint(folder))
    assert resumed.losses == pytest.approx(whole.losses[HALF:], rel=bound("trace"))
    limits = {"parameters": bound("parameters"), "momentum": bound("momentum")}
    for part, limit in limits.items():
        actual, expected = getattr(resumed, part), getattr(whole, part)
        assert actual.keys() == expected.keys()
        errors = {n: relative_error(actual[n], expected[n], floor=1e-3) for n in expected}
        beyond = {name: error for name, error in errors.items() if error > 2 * limit}
        statistics = {name for name in beyond if "running" in name}
        assert not beyond.keys() - statistics, beyond
        assert all(beyond[name] <= 2 * bound("statistics") for name in statistics), beyond


@pytest.mark.parametrize("name", PRESENT)
def test_the_same_backend_goes_on_bit_for_bit(
    trainings: dict[str, Any], name: str, tmp_path: Path
) -> None:
    backend, folder, whole = trainings[name]
    resumed = go_on(backend, load_checkpoint(folder))
    assert resumed.losses == whole.losses[HALF:]
    for actual, expected in (
        (resumed.parameters, whole.parameters),
        (resumed.momentum, whole.momentum),
    ):
        for key, value in expected.items():
            np.testing.assert_array_equal(actual[key], value, err_msg=key)
