"""The case `predict`: logits of a batch in evaluation mode."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.case import Case, NetworkSteps, bounds_of
from benchmarks.cases.closing import BEFORE, HARNESS, draw_unseen, whole_batch
from benchmarks.cases.inputs import (
    BATCHES,
    Arrays,
    draw_batches,
    parameters_in,
    part,
    prefixed,
    probe_arrays,
)
from common.config import Config
from common.parameters.costs import Costs, forward_costs
from common.reference import network as reference
from common.reference.distances import relative_error


class PredictionSteps(NetworkSteps):
    """A forward pass, from bytes on the device to logits there."""

    takes = ("images",)

    def step(self, *batch: Any) -> Any:
        return self.backend.predict_step(self.state, *batch)

    def answer(self) -> Arrays:
        self.first_step()
        return {"logits": np.asarray(self.backend.to_host(self.outcome))}

    def close(self, inputs: Arrays) -> Arrays:
        logits = self.step(*map(self.to_device, whole_batch(inputs)))
        parameters = prefixed(BEFORE, self.backend.parameters_of(self.state))
        return {"logits": np.asarray(self.backend.to_host(logits)), **parameters}


class Predict(Case):
    """Logits of images, in evaluation mode."""

    name = "predict"
    sentence = "the logits of a batch in evaluation mode"
    work = PredictionSteps
    bounds = bounds_of(logits="step: logits")
    closing = HARNESS | bounds_of(logits="step: logits", unseen="closing: unseen batches")
    parts = frozenset({"network", "upsampling"})
    place = 0
    column = "rate"
    marker = "s"

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        images, _ = draw_batches(config.recipe, config.seed, BATCHES)
        return {**probe_arrays(config.recipe, config.seed), "images": images}

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        passed = reference.forward(
            parameters_in(inputs), inputs["images"][0], config.recipe.network, training=False
        )
        return {"logits": passed.logits.astype(np.float32)}

    def unseen(self, config: Config, generator: np.random.Generator) -> Arrays:
        drawn = draw_unseen(config, generator)
        return {name: drawn[name] for name in ("images", "order")}

    def closing_errors(self, config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
        parameters, network = part(answers, BEFORE), config.recipe.network
        passed = reference.forward(parameters, inputs["images"], network, training=False)
        return {"logits": relative_error(answers["logits"], passed.logits[inputs["order"]])}

    def costs(self, config: Config) -> Costs:
        return forward_costs(config)
