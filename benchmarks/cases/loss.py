"""The case `loss`: the per-pixel cross entropy alone, with its gradient."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, Operation, bounds_of
from benchmarks.cases.closing import HARNESS
from benchmarks.cases.inputs import Arrays, draw_batches
from common.config import Config
from common.data.synthetic import draw_pair
from common.parameters.costs import Costs, logits_bytes
from common.reference import network as reference

BATCHES = 2
"""Fewer than in other cases: a batch of logits is large."""


class CrossEntropy(Operation):
    """The loss of given logits and its gradient."""

    takes = ("logits", "labels")
    names = ("loss", "gradient")

    def set_up(self, inputs: Arrays) -> None:
        super().set_up(inputs)
        self.operation = self.backend.loss_operation(self.config)

    def to_host(self, name: str, value: Any) -> NDArray:
        return np.array([float(value)]) if name == "loss" else super().to_host(name, value)


class Loss(Case):
    """The loss of random logits."""

    name = "loss"
    sentence = "the cross entropy alone, with its gradient"
    work = CrossEntropy
    bounds = bounds_of(loss="step: loss", gradient="loss alone: gradient")
    # Not ``loss``: the bound of a whole step's grows with the batch.
    closing = HARNESS | bounds_of(
        loss_alone="step: loss", gradient="loss alone: gradient", unseen="closing: unseen batches"
    )
    parts = frozenset({"loss", "gradients"})
    needs = "loss_operation"
    marker = "D"

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        recipe, generator = config.recipe, np.random.default_rng((config.seed, 5))
        shape = (BATCHES, recipe.batch_size, *recipe.crop, recipe.num_classes)
        _, labels = draw_batches(recipe, config.seed, BATCHES)
        return {"logits": generator.standard_normal(shape, np.float32), "labels": labels}

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        logits, labels = inputs["logits"][0], inputs["labels"][0]
        gradient = reference.loss_gradient(logits, labels, config.recipe)
        value = reference.loss(logits, labels, config.recipe)
        return {"loss": np.array([value]), "gradient": gradient.astype(np.float32)}

    def unseen(self, config: Config, generator: np.random.Generator) -> Arrays:
        recipe = config.recipe
        shape = (recipe.batch_size, *recipe.crop, recipe.num_classes)
        # To draw a scene takes long, and the logits of each place differ.
        scenes = np.stack([draw_pair(recipe.crop, generator)[1] for _ in range(2)])
        return {
            "logits": generator.standard_normal(shape, np.float32),
            "labels": scenes[generator.integers(2, size=recipe.batch_size)],
        }

    def closing_errors(self, config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
        expected = self.expected(config, {name: array[None] for name, array in inputs.items()})
        errors = self.errors(answers, expected, inputs)
        return {"loss_alone": errors["loss"], "gradient": errors["gradient"]}

    def costs(self, config: Config) -> Costs:
        height, width = config.recipe.crop
        return Costs(0.0, 2.0 * logits_bytes(config) + config.recipe.batch_size * height * width)
