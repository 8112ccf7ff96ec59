"""TensorFlow's deterministic step is the same from run to run, whatever its memory does."""

from dataclasses import replace

import numpy as np
import pytest

from common.config import Config
from common.reference.inputs import (
    keep_off_the_kinks,
    probe_batch,
    probe_parameters,
    probe_recipe,
    single,
)
from tests.conftest import required

RECIPE = replace(probe_recipe("resnet18_v1", "fcn8s"), batch_size=2, crop=(64, 96))
CONFIG = Config(RECIPE, deterministic=True)


@pytest.mark.slow
@pytest.mark.xdist_group("tf")  # Where it is imported anyway.
@pytest.mark.usefixtures("determinism")
def test_repeated_steps_end_at_the_same_bits() -> None:
    # Only here: a sum of three terms in the update was an AddN, whose order of summation follows
    # the memory that happens to be free; nine in ten of these rounds differed from the first.
    backend = required("tf", "tf_impl")
    backend.configure(CONFIG)
    start = single(keep_off_the_kinks(probe_parameters(RECIPE.network)))
    batches = [
        [backend.to_device(array, CONFIG) for array in probe_batch(*RECIPE.crop, seed=seed)]
        for seed in range(3)
    ]
    state = backend.create_state(CONFIG, start)
    zeros = {name: np.zeros_like(value) for name, value in backend.momentum_of(state).items()}
    ends = []
    for _ in range(12):
        backend.load_parameters(state.model, start)
        state = backend.load_momentum(state, zeros)
        for images, labels in batches:
            backend.train_step(state, images, labels, 1e-3)
        ends.append((backend.parameters_of(state), backend.momentum_of(state)))
    for end in ends[1:]:
        for part, first in zip(end, ends[0], strict=True):
            for name, value in first.items():
                np.testing.assert_array_equal(part[name], value, err_msg=name)
