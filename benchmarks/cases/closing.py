"""The closing question: what the steps that were timed answer about examples that nobody knew.

It is put after the last turn, to the state that the timed steps left and by the function that did
them. The parent draws two examples from the system's entropy, and an order that fills a batch with
them. A norm's moments, the mean loss and its gradients are those of the two examples alone, so the
float64 reference computes two examples, however large the batch is.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.inputs import SHORT_STEP, Arrays, gate_rates, part, prefixed
from common.config import Config
from common.data.synthetic import draw_pair
from common.parameters.names import (
    BATCH_NORM_MOMENTUM,
    Parameters,
    is_statistic,
    weight_decays,
)
from common.reference import network as reference
from common.reference.distances import length_error, relative_error
from common.reference.tolerances import BOUNDS

HARNESS = {
    "clock": BOUNDS["closing: clock"],
    "cpus": BOUNDS["closing: CPUs"],
    "outside": BOUNDS["closing: outside the clock"],
    "late": BOUNDS["closing: late work"],
}
"""Quantity -> bounds of what is asked of the turns of every case, whatever its steps compute."""
MOST_UNSEEN = 9
"""Batches that are timed after the last turn, with the one that wakes the worker up."""
BEFORE, LEFT, BUFFER = "before the closing step", "after the closing step", "momentum"
GRADIENT = "gradient"
"""Prefixes of a parameter's name in the files of answers."""
SCORE_WEIGHTS = ("final_conv.weight", "score16.weight", "score8.weight")
"""Between these and the loss lies no ReLU, so no kink blurs their gradient."""

LEAST_MOVE = 0.1
"""Of what a running mean moves by a batch whose mean is a standard deviation away."""


def draw_unseen(config: Config, generator: np.random.Generator) -> Arrays:
    """Draw two scenes, an order of them that fills a batch, and a learning rate.

    An odd batch has one scene. The first images of a batch, or its last ones, have other moments
    than all of it: no leading part of the order has both scenes equally often.
    """
    recipe = config.recipe
    scenes = 1 + (recipe.batch_size % 2 == 0)
    pairs = [draw_pair(recipe.crop, generator) for _ in range(scenes)]
    order = np.repeat(np.arange(scenes), recipe.batch_size // scenes)
    images, labels = (np.stack(part) for part in zip(*pairs, strict=True))
    rate = gate_rates(recipe)[1] * generator.uniform(0.5, 1)
    order = generator.permutation(order)
    while scenes == 2 and not np.cumsum(2 * order - 1)[:-1].all():
        order = generator.permutation(order)
    return {
        "images": images,
        "labels": labels,
        "order": order,
        "rate": np.array(rate),
    }


def whole_batch(inputs: Arrays) -> tuple[NDArray, ...]:
    """Return the arguments of a step: what was drawn, in the order that fills a batch, if any."""
    order = inputs.get("order", slice(None))
    return tuple(inputs[name][order] for name in inputs if name not in ("order", "rate"))


def varied(array: NDArray, number: int) -> NDArray:
    """Return another batch of the same kind for each ``number``."""
    if array.dtype.kind == "f":
        return array * np.float32(1 + number / 64)
    return np.roll(array, number, axis=2)


def copied_batches(
    backend: ModuleType, to_device: Callable[[NDArray], Any], inputs: Arrays, number: int = 0
) -> tuple[list[tuple[Any, ...]], float]:
    """Return batches on the device that no step has had, and the seconds that are no copy.

    A copy takes at most twice as long as one of equally many bytes without a batch's shape, and
    moves a GB in a second at least. What takes longer is work that a step would have to do, and
    counts as if it were done in the step.
    """
    arrays = whole_batch(inputs)
    size = sum(array.nbytes for array in arrays)
    # A batch of logits is large: so many batches as fit into a quarter of a GiB.
    count = int(np.clip(2**28 // size, 3, MOST_UNSEEN))
    first = number * count + 1
    variants = [[varied(array, n) for array in arrays] for n in range(first, first + count)]
    shapeless = [[array.reshape(-1) for array in variant] for variant in variants]
    # The first time a device's library also makes room for the copies.
    plain = min(copied(backend, to_device, shapeless)[1] for _ in range(2))
    batches, copying = copied(backend, to_device, variants)
    return batches, max(0.0, copying - min(2 * plain, size / 1e9) - 0.002)


def copied(
    backend: ModuleType, to_device: Callable[[NDArray], Any], batches: list[list[NDArray]]
) -> tuple[list[tuple[Any, ...]], float]:
    """Return batches on the device, and the seconds that one of them took."""
    started = time.perf_counter()
    copies = [tuple(map(to_device, batch)) for batch in batches]
    for value in copies[-1]:
        backend.synchronize(value)
    return copies, (time.perf_counter() - started) / len(copies)


def root_mean_square(values: Iterable[float]) -> float:
    """Return the root of the mean of the squares."""
    return float(np.sqrt(np.mean(np.square([*values]))))


def least_move(name: str, statistics: Mapping[str, NDArray]) -> float:
    """Return the least that the error of a running mean's move is divided by; 0 for other values.

    Where a norm's input is normalised already, as that of v2's stem is, the means of its channels
    are nearly zero, and so are their moves: rounding would be all that is compared.

    Args:
        statistics: The reference's after the move.
    """
    if not name.endswith("running_mean"):
        return 0.0
    variances = statistics[name.removesuffix("mean") + "var"]
    return LEAST_MOVE * BATCH_NORM_MOMENTUM * float(np.sqrt(variances.sum()))


def scale_of(inputs: Arrays, config: Config) -> float:
    """Return by what a batch's loss is larger than that of the examples that fill it."""
    is_sum = config.recipe.loss_reduction == "sum"
    return len(inputs["order"]) / len(inputs["images"]) if is_sum else 1.0


def gradient_errors(config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
    """Return the errors of a loss, of the moved means, and of gradients or the update by them.

    Args:
        config: Of the row.
        inputs: What ``draw_unseen`` drew.
        answers: ``loss``, the parameters before and after, and the gradients where no update is.
    """
    recipe, scale, rate = config.recipe, scale_of(inputs, config), float(inputs["rate"])
    buffers = part(answers, BUFFER)
    before, after, own = (part(answers, prefix) for prefix in (BEFORE, LEFT, GRADIENT))
    loss, gradients, statistics = reference.gradients(
        before, inputs["images"], inputs["labels"], recipe
    )
    gradients = {name: scale * gradient for name, gradient in gradients.items()}
    if own:
        expected = {name: gradients[name] for name in weight_decays(recipe)}
    else:
        stepped, _ = reference.sgd_step(before, buffers, gradients, recipe, rate)
        expected = {name: stepped[name] - before[name] for name in weight_decays(recipe)}
        own = {name: after[name] - before[name].astype(np.float64) for name in expected}
    expected = {name: array for name, array in expected.items() if array.any()}
    # Without what a buffer adds of earlier gradients, which can be most of a move.
    earlier = {name: rate * recipe.momentum * buffers.get(name, 0.0) for name in SCORE_WEIGHTS}
    score_weights = [
        relative_error(own[name] + earlier[name], expected[name] + earlier[name])
        for name in SCORE_WEIGHTS
        if name in expected
    ]
    # Of variances the unbiased factor counts the pixels of the whole batch.
    means = {name: statistics[name] for name in statistics if name.endswith("running_mean")}
    return {
        "loss": relative_error(answers["loss"], np.array([scale * loss])),
        "gradients": root_mean_square(
            relative_error(own[name], expected[name]) for name in expected
        ),
        "score_weights": max(score_weights, default=0.0),
        "layer": max(length_error(own[n], expected[n]) for n in expected if expected[n].ndim == 4),
        "statistics": root_mean_square(
            relative_error(
                after[name] - before[name], mean - before[name], least_move(name, statistics)
            )
            for name, mean in means.items()
        ),
    }


def convolutions(backend: ModuleType, config: Config, state: Any) -> Parameters:
    """Return the convolutions' weights, which a short step moves far above rounding."""
    parameters = backend.parameters_of(state)
    return {
        name: parameters[name].astype(np.float64)
        for name in weight_decays(config.recipe)
        if parameters[name].ndim == 4 and not is_statistic(name)
    }


def shorter(before: Parameters, after: Parameters) -> float:
    """Return by how much a step's rate has to be lower, at most 1, for it to be a short step."""
    moved = [
        float(np.linalg.norm(after[name] - before[name]) / np.linalg.norm(before[name]))
        for name in before
    ]
    return SHORT_STEP / max(SHORT_STEP, float(np.median(moved)))


class Account:
    """What the timed steps did to the parameters, beside what single steps do to them.

    After some turns a parameter has moved by the sum of its gradients, each as often as its batch
    had a turn: a step whose update was left out is missing in the sum. A gradient changes while the
    parameters move. So the single steps that tell the gradients go back the way that the timed
    steps came, and change them on the average by nothing.

    Args:
        backend: A package.
        state: Before the first timed step.
        done: So many steps were done before.
    """

    def __init__(self, backend: ModuleType, config: Config, state: Any, done: int) -> None:
        self.backend, self.config, self.done = backend, config, done
        # In a file: the memory that the timed steps are said to need is without it.
        self.file = TemporaryFile()  # noqa: SIM115
        arrays = prefixed(BEFORE, convolutions(self.backend, self.config, state), np.float32)
        arrays |= prefixed(BUFFER, self.buffers(state), np.float32)
        np.savez(self.file, **arrays)  # type: ignore[arg-type]

    def buffers(self, state: Any) -> Parameters:
        """Return the buffers of momentum; none where the recipe has no momentum."""
        return self.backend.momentum_of(state) if self.config.recipe.momentum else {}

    def error(
        self,
        state: Any,
        done: int,
        rate: float,
        batches: list[Any],
        step: Callable[[Any, float], Any],
    ) -> float:
        """Return by which share the parameters moved less, or more, than by all steps.

        It is the median over those half of the convolutions that move most.

        Args:
            state: After the last timed step.
            done: So many steps have been done.
            rate: Of the timed steps.
            batches: Theirs, in turn.
            step: Does a step on a batch at a rate, and returns the next state.
        """
        self.file.seek(0)
        arrays: Arrays = dict(np.load(self.file))
        self.file.close()
        start, first = part(arrays, BEFORE), part(arrays, BUFFER)
        end = convolutions(self.backend, self.config, state)
        last, momentum = self.buffers(state), self.config.recipe.momentum
        # A buffer holds gradients of earlier steps, and hands on those of the last ones too late.
        expected = {
            name: momentum * (first.get(name, 0.0) - last.get(name, 0.0)) + np.zeros(value.shape)
            for name, value in end.items()
        }
        # The first single step begins where the timed ones ended, the last where they began.
        back = -rate * (done - self.done + 1) / max(1, len(batches) - 1)
        before, lengths = end, list[float]()
        for number, batch in enumerate(batches):
            count = sum(k % len(batches) == number for k in range(self.done, done))
            buffers = self.buffers(state)
            state = step(batch, back)
            after = convolutions(self.backend, self.config, state)
            lengths.append(sum(float(np.linalg.norm(before[n] - after[n])) for n in after))
            for name in expected:
                moved = (before[name] - after[name]) / back
                expected[name] += count * (moved - momentum * buffers.get(name, 0.0))
            before = after
        size = {name: np.linalg.norm(expected[name]) / np.linalg.norm(end[name]) for name in end}
        most = sorted(size, key=lambda name: -size[name])[: (len(size) + 1) // 2]
        if min(lengths) <= 0.1 * max(lengths):
            return math.inf  # A single step moves nothing: its update is left out.
        # A buffer of momentum hands a gradient on: in all 1 / (1 - momentum) of it.
        own = (1 - momentum) / rate
        return float(
            np.median([length_error(own * (start[n] - end[n]), expected[n]) for n in most])
        )
