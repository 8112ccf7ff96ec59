"""The case `backward`: loss and gradients of a training step, without its update."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import NetworkSteps, bounds_of
from benchmarks.cases.closing import (
    BEFORE,
    GRADIENT,
    LEFT,
    SCORE_WEIGHTS,
    root_mean_square,
    whole_batch,
)
from benchmarks.cases.inputs import AFTER, Arrays, parameters_in, part, prefixed
from benchmarks.cases.train import Training, tensor_errors
from common.config import Config
from common.parameters.names import is_statistic, trainable_names
from common.reference import network as reference
from common.reference.distances import relative_error


class BackwardSteps(NetworkSteps):
    """Forward, loss and backward, from bytes on the device to gradients there."""

    takes = ("images", "labels")
    gradients: dict[str, Any]

    def step(self, *batch: Any) -> Any:
        self.gradients = {}  # Their memory is free for those of this step.
        self.state, loss, self.gradients = self.backend.backward_step(self.state, *batch)
        return loss

    def finish(self) -> None:
        for value in (self.outcome, *self.gradients.values()):
            self.backend.synchronize(value)

    def read(self) -> list[NDArray]:
        return [np.asarray(self.backend.to_host(value)) for value in self.gradients.values()]

    def answer(self) -> Arrays:
        self.first_step()
        gradients = self.gradients_on_host()
        statistics = moved_statistics(self.backend.parameters_of(self.state))
        loss = np.array([float(self.outcome)])
        return {"loss": loss, **prefixed(GRADIENT, gradients), **statistics}

    def close(self, inputs: Arrays) -> Arrays:
        before = prefixed(BEFORE, self.backend.parameters_of(self.state))
        loss = self.step(*map(self.to_device, whole_batch(inputs)))
        return {
            "loss": np.array([float(loss)]),
            **before,
            **prefixed(LEFT, self.backend.parameters_of(self.state)),
            **prefixed(GRADIENT, self.gradients_on_host()),
        }

    def gradients_on_host(self) -> Arrays:
        """Return the gradients of the last step in canonical form."""
        return {
            name: self.backend.to_canonical(np.asarray(self.backend.to_host(gradient)))
            for name, gradient in self.gradients.items()
        }


def moved_statistics(parameters: dict[str, Any]) -> Arrays:
    """Return the running statistics among the parameters, as those of a first step."""
    return prefixed(AFTER[0], {name: parameters[name] for name in filter(is_statistic, parameters)})


class Backward(Training):
    """A training step without the update, which moves the running statistics alone."""

    name = "backward"
    sentence = "the loss and the gradients of a batch, without the update"
    work = BackwardSteps
    bounds = bounds_of(
        loss="step: loss",
        gradients="step: gradients",
        score_weights="step: gradient of the scores' weights",
        statistics="step: statistics",
    )
    closing = Training.closing | bounds_of(gradients="step: gradients")
    compared = 1
    place = 2
    needs = "backward_step"
    marker = "v"

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        batch = inputs["images"][0], inputs["labels"][0]
        loss, gradients, statistics = reference.gradients(
            parameters_in(inputs), *batch, config.recipe
        )
        trained = {name: gradients[name] for name in trainable_names(config.recipe)}
        answers = prefixed(GRADIENT, trained) | moved_statistics(statistics)
        return {"loss": np.array([loss]), **answers}

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        own = part(answers, GRADIENT)
        gradients = {
            name: relative_error(own[name], array)
            for name, array in part(expected, GRADIENT).items()
        }
        moves = tensor_errors(answers, expected, parameters_in(inputs))
        return {
            "loss": relative_error(answers["loss"], expected["loss"]),
            "gradients": root_mean_square(gradients.values()),
            "score_weights": max(gradients[name] for name in gradients if name in SCORE_WEIGHTS),
            "statistics": root_mean_square(moves["statistics"]),
        }
