"""The case `predict`: logits of a batch in evaluation mode."""

from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from benchmarks.cases.case import Arrays, Case, Steps, Work
from benchmarks.cases.inputs import (
    BATCHES,
    draw_batches,
    named_parameters,
    parameters_in,
    probe_parameters,
)
from common.config import Config
from common.parameters.costs import Costs, forward_costs
from common.reference import network as reference
from common.reference.tolerances import BOUNDS


class PredictionSteps(Steps):
    """A forward pass, from bytes on the device to logits there."""

    def __init__(self, backend: ModuleType, config: Config, inputs: Arrays) -> None:
        super().__init__(backend, [(backend.to_device(i, config),) for i in inputs["images"]])
        self.state = backend.create_state(config, parameters_in(inputs))

    def step(self, *batch: Any) -> Any:
        (images,) = batch
        return self.backend.predict_step(self.state, images)

    def answer(self) -> Arrays:
        self.first_step()
        return {"logits": np.asarray(self.backend.to_host(self.outcome))}


class Predict(Case):
    """Logits of images, in evaluation mode."""

    name = "predict"
    sentence = "the logits of a batch in evaluation mode"
    bounds = MappingProxyType({"logits": BOUNDS["step: logits"]})
    parts = frozenset({"network", "upsampling"})
    place = 0
    column = "rate"
    marker = "s"

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        images, _ = draw_batches(config.recipe, config.seed, BATCHES)
        parameters = probe_parameters(config.recipe, config.seed)
        return {**named_parameters(parameters), "images": images}

    def reference_inputs(self, inputs: Arrays) -> Arrays:
        return inputs | {"images": inputs["images"][:1]}

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        passed = reference.forward(
            parameters_in(inputs), inputs["images"][0], config.recipe.backbone, training=False
        )
        return {"logits": passed.logits.astype(np.float32)}

    def set_up(self, backend: ModuleType, config: Config, inputs: Arrays) -> Work:
        return PredictionSteps(backend, config, inputs)

    def costs(self, config: Config) -> Costs:
        return forward_costs(config)
