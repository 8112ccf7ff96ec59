"""The case `train`: whole training steps, and what other cases of training share with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, NetworkSteps, Work, bounds_of
from benchmarks.cases.closing import (
    BEFORE,
    BUFFER,
    HARNESS,
    LEFT,
    SCORE_WEIGHTS,
    Account,
    convolutions,
    draw_unseen,
    gradient_errors,
    least_move,
    root_mean_square,
    shorter,
    whole_batch,
)
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
    timed_rate,
)
from common.config import Config
from common.parameters.costs import Costs, training_costs
from common.parameters.names import Parameters, is_statistic
from common.reference import network as reference
from common.reference.distances import length_error, relative_error


class TrainingSteps(NetworkSteps):
    """Forward, loss, backward and update, from bytes on the device."""

    takes: ClassVar[tuple[str, ...]] = ("images", "labels")
    account: Account | None = None
    done = 0

    def set_up(self, inputs: Arrays) -> None:
        super().set_up(inputs)
        self.rate = timed_rate(self.config.recipe)

    def take(self, batches: list[Any]) -> None:
        """Let the steps that follow take other batches, at another rate."""
        super().take(batches)
        self.rate = 0.5 * timed_rate(self.config.recipe)

    def step(self, *batch: Any, rate: float | None = None) -> Any:
        rate = self.rate if rate is None else rate
        self.state, loss = self.backend.train_step(self.state, *batch, rate)
        self.done += 1
        return loss

    def read(self) -> list[NDArray]:
        self.backend.parameters_of(self.state)
        return []  # They also get their canonical form.

    def answer(self) -> Arrays:
        answers: Arrays = {}
        started = time.perf_counter()
        losses = ("loss", "second_loss")
        for rate, after, name in zip(gate_rates(self.config.recipe), AFTER, losses, strict=True):
            self.outcome = self.step(*next(self.batches), rate=rate)
            self.finish()
            answers[name] = np.array([float(self.outcome)])
            if after == AFTER[0]:  # With the loss: whether a backend waits is known of later steps.
                self.first_seconds = time.perf_counter() - started
            answers |= prefixed(after, self.backend.parameters_of(self.state))
        return answers

    def begin(self) -> None:
        if self.own:  # Batches from files are not the same ones in turn.
            before = convolutions(self.backend, self.config, self.state)
            self.run(1)
            after = convolutions(self.backend, self.config, self.state)
            self.rate *= shorter(before, after)
            self.account = Account(self.backend, self.config, self.state, self.done)

    def close(self, inputs: Arrays) -> Arrays:
        answers: Arrays = {}
        if self.account:
            error = self.account.error(
                self.state, self.done, self.rate, self.own, self.step_from_here
            )
            answers["updates"] = np.array([error])
            self.account = None
        batch = tuple(map(self.to_device, whole_batch(inputs)))
        answers |= prefixed(BEFORE, self.backend.parameters_of(self.state))
        if self.config.recipe.momentum:
            answers |= prefixed(BUFFER, self.backend.momentum_of(self.state))
        loss = self.step(*batch, rate=float(inputs["rate"]))
        answers["loss"] = np.array([float(loss)])
        return answers | prefixed(LEFT, self.backend.parameters_of(self.state))

    def step_from_here(self, batch: Any, rate: float) -> Any:
        """Do a step on a batch and return the state that it leaves."""
        self.step(*batch, rate=rate)
        return self.state


SUMMARY: dict[str, Callable[[list[float]], float]] = {
    "update": root_mean_square,
    "score_weights": max,
    "statistics": root_mean_square,
    "second_update": lambda values: float(np.median(values)),
    "second_step": max,
}
"""Quantity -> how the errors of the tensors become one."""


def tensor_errors(answers: Arrays, expected: Arrays, start: Parameters) -> dict[str, list[float]]:
    """Return the error of every tensor's move in the compared steps, by quantity.

    ``update`` and ``statistics`` are moves of the first step, ``second_update`` of the second;
    ``score_weights`` has those of ``update`` that no kink of a ReLU blurs;
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
            error = relative_error(move, expected_move, least_move(name, expected_after))
            errors.setdefault(quantity, []).append(error)
            if update == "update" and name in SCORE_WEIGHTS:
                errors.setdefault("score_weights", []).append(error)
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
        score_weights="step: gradient of the scores' weights",
        statistics="step: statistics",
        second_update="step: second update",
        second_step="step: length of the second update",
    )
    closing = HARNESS | bounds_of(
        loss="step: loss",
        gradients="step: update",
        score_weights="step: gradient of the scores' weights",
        layer="closing: a layer",
        statistics="step: statistics",
        unseen="closing: unseen batches",
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

    def unseen(self, config: Config, generator: np.random.Generator) -> Arrays:
        return draw_unseen(config, generator)

    def closing_errors(self, config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
        errors = gradient_errors(config, inputs, answers)
        return errors | ({"updates": float(answers["updates"][0])} if "updates" in answers else {})

    def costs(self, config: Config) -> Costs:
        return training_costs(config)


UPDATES = bounds_of(updates="closing: updates")
"""What the timed steps did, of cases that take the same batches in turn."""


class Train(Training):
    """Whole steps from batches that are on the device already."""

    name = "train"
    sentence = "a training step: forward, loss, backward and update"
    closing = Training.closing | UPDATES
    place = 0
    column = "rows"
