"""What a worker does for `fcn doctor`; other rooms have tasks of their own."""

from types import ModuleType
from typing import Any

import numpy as np

from common.config import Config
from common.errors import InputError
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe


def try_step(backend: ModuleType) -> dict[str, Any]:
    """Do one training step and return the backend's description, with its precisions.

    Raises:
        InputError: If the loss is not a finite number.
    """
    recipe = make_recipe("chapter-torch", batch_size=2, crop=(32, 32))
    config = Config(recipe)
    backend.configure(config)
    state = backend.create_state(config, initial_parameters(recipe, seed=0))
    images = backend.to_device(np.zeros((2, 32, 32, 3), np.uint8), config)
    labels = backend.to_device(np.zeros((2, 32, 32), np.uint8), config)
    _, loss = backend.train_step(state, images, labels, recipe.learning_rate)
    if not np.isfinite(float(loss)):
        raise InputError(f"after one training step the loss is not a finite number: {float(loss)}")
    return {**backend.describe(config), "precisions": backend.precisions(config)}
