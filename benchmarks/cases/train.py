"""The case `train`: whole training steps, and what other cases of training share with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.cases.case import Case, NetworkSteps, Work, bounds_of
from benchmarks.cases.inputs import (
    AFTER,
    BATCHES,
    Arrays,
    draw_batches,
    gate_rates,
    parameters_in,
    part,
    prefixed,
    probe_arrays,
)
from common.config import Config
from common.parameters.costs import Costs, training_costs
from common.parameters.names import Parameters, is_statistic
from common.reference import network as reference
from common.reference.distances import length_error, relative_error

TIMED_RATE = 1e-7
"""The learning rate of the timed steps: the same work, and the parameters stay where they are."""


class TrainingSteps(NetworkSteps):
    """Forward, loss, backward and update, from bytes on the device."""

    takes: ClassVar[tuple[str, ...]] = ("images", "labels")

    def step(self, *batch: Any, rate: float = TIMED_RATE) -> Any:
        self.state, loss = self.backend.train_step(self.state, *batch, rate)
        return loss

    def read(self) -> None:
        self.backend.parameters_of(self.state)

    def answer(self) -> Arrays:
        answers: Arrays = {}
        started = time.perf_counter()
        losses = ("loss", "second_loss")
        for rate, after, name in zip(gate_rates(self.config.recipe), AFTER, losses, strict=True):
            self.outcome = self.step(*next(self.batches), rate=rate)
            if not answers:
                self.finish()
                self.first_seconds = time.perf_counter() - started
            answers[name] = np.array([float(self.outcome)])
            answers |= prefixed(after, self.backend.parameters_of(self.state))
        return answers


def root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


SUMMARY: dict[str, Callable[[list[float]], float]] = {
    "update": root_mean_square,
    "statistics": root_mean_square,
    "second_update": lambda values: float(np.median(values)),
    "second_step": max,
}
"""Quantity -> how the errors of the tensors become one."""


def tensor_errors(answers: Arrays, expected: Arrays, start: Parameters) -> dict[str, list[float]]:
    """Return the error of every tensor's move in the compared steps, by quantity.

    ``update`` and ``statistics`` are moves of the first step, ``second_update`` of the second;
    ``second_step`` is the error of the second move's length, of the head alone: in bfloat16 the
    backbone's gradients have lost their direction by then.
    """
    errors: dict[str, list[float]] = {}
    before, expected_before = start, start
    for prefix, update in zip(AFTER, ("update", "second_update"), strict=True):
        after, expected_after = part(answers, prefix), part(expected, prefix)
        for name, value in expected_after.items():
            expected_move = value - expected_before[name].astype(np.float64)
            if not expected_move.any() or (is_statistic(name) and update != "update"):
                continue
            move = after[name] - before[name].astype(np.float64)
            quantity = "statistics" if is_statistic(name) else update
            errors.setdefault(quantity, []).append(relative_error(move, expected_move))
            if update == "second_update" and not name.startswith("backbone."):
                errors.setdefault("second_step", []).append(length_error(move, expected_move))
        before, expected_before = after, expected_after
    return errors


class Training(Case):
    """What all cases of whole training steps share."""

    work: ClassVar[type[Work]] = TrainingSteps
    bounds = bounds_of(
        loss="step: loss",
        second_loss="step: second loss",
        update="step: update",
        statistics="step: statistics",
        second_update="step: second update",
        second_step="step: length of the second update",
    )
    compared = len(AFTER)
    parts = frozenset({"network", "upsampling", "loss", "gradients"})

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        images, labels = draw_batches(config.recipe, config.seed, BATCHES)
        parameters = probe_arrays(config.recipe, config.seed)
        return {**parameters, "images": images, "labels": labels}

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        parameters: Any = parameters_in(inputs)
        momentum: Any = {}
        answers: Arrays = {}
        rates = gate_rates(config.recipe)
        for step, (rate, after) in enumerate(zip(rates, AFTER, strict=True)):
            batch = inputs["images"][step], inputs["labels"][step]
            parameters, momentum, loss = reference.train_step(
                parameters, momentum, *batch, config.recipe, rate
            )
            answers["loss" if step == 0 else "second_loss"] = np.array([loss])
            answers |= prefixed(after, parameters)
        return answers

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        errors = {
            name: relative_error(answers[name], expected[name]) for name in ("loss", "second_loss")
        }
        moves = tensor_errors(answers, expected, parameters_in(inputs))
        return errors | {name: SUMMARY[name](values) for name, values in moves.items()}

    def costs(self, config: Config) -> Costs:
        return training_costs(config)


class Train(Training):
    """Whole steps from batches that are on the device already."""

    name = "train"
    sentence = "a training step: forward, loss, backward and update"
    place = 0
    column = "rows"
