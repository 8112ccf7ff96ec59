"""The case `upsample`: the transposed convolution to the logits alone, forward and backward."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, Operation, bounds_of
from benchmarks.cases.closing import HARNESS
from benchmarks.cases.inputs import BATCHES, Arrays, probe_parameters
from common.config import Config
from common.parameters.costs import Costs, upsampling_costs
from common.recipes import HEADS, Recipe
from common.reference import operations


class Upsampling(Operation):
    """The transposed convolution of a map and its three gradients."""

    takes = ("x",)
    names = ("y", "x_gradient", "weight_gradient", "bias_gradient")

    def set_up(self, inputs: Arrays) -> None:
        super().set_up(inputs)
        gradient = self.to_device(inputs["gradient"])
        self.take([(*batch, gradient) for batch in self.own])
        kernel = inputs["weight"], inputs["bias"]
        self.operation = self.backend.upsample_operation(self.config, *kernel)

    def to_host(self, name: str, value: Any) -> NDArray:
        if name == "weight_gradient":
            array = np.asarray(self.backend.to_host(value))
            canonical: NDArray = self.backend.to_canonical(array)
            return canonical
        return super().to_host(name, value)


def draw_maps(recipe: Recipe, generator: np.random.Generator, *count: int) -> Arrays:
    """Draw a batch of maps, or ``count`` of them, and the gradient of one batch's output."""
    (height, width), batch, classes = recipe.crop, recipe.batch_size, recipe.num_classes
    stride = HEADS[recipe.head]
    grid = (*count, batch, height // stride, width // stride, classes)
    return {
        "x": generator.standard_normal(grid, np.float32),
        "gradient": generator.standard_normal((batch, height, width, classes), np.float32),
    }


def kernel_of(config: Config) -> Arrays:
    """Return the kernel and the bias, which are the probe's."""
    parameters = probe_parameters(config.recipe, config.seed)
    return {name: parameters[f"transpose_conv.{name}"] for name in ("weight", "bias")}


class Upsample(Case):
    """The upsampling of random maps, with a random kernel and bias."""

    name = "upsample"
    sentence = "the transposed convolution to the logits alone, with its gradients"
    work = Upsampling
    bounds = bounds_of(
        y="upsampling: output",
        x_gradient="upsampling: gradient of the input",
        weight_gradient="upsampling: gradient of the weight",
        bias_gradient="upsampling: gradient of the bias",
    )
    closing = HARNESS | bounds | bounds_of(unseen="closing: unseen batches")
    parts = frozenset({"upsampling", "gradients"})
    needs = "upsample_operation"
    marker = "^"

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        generator = np.random.default_rng((config.seed, 5))
        return draw_maps(config.recipe, generator, BATCHES) | kernel_of(config)

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        x, weight, gradient = inputs["x"][0], inputs["weight"], inputs["gradient"]
        stride = HEADS[config.recipe.head]
        half = stride // 2
        y = operations.transpose_convolution(x, weight, stride, half) + inputs["bias"]
        x_gradient, weight_gradient = operations.transpose_convolution_gradients(
            x, weight, gradient, stride, half
        )
        return {
            "y": y.astype(np.float32),
            "x_gradient": x_gradient,
            "weight_gradient": weight_gradient,
            "bias_gradient": gradient.sum(axis=(0, 1, 2), dtype=np.float64),
        }

    def unseen(self, config: Config, generator: np.random.Generator) -> Arrays:
        return draw_maps(config.recipe, generator)

    def closing_errors(self, config: Config, inputs: Arrays, answers: Arrays) -> dict[str, float]:
        asked = inputs | {"x": inputs["x"][None]} | kernel_of(config)
        return self.errors(answers, self.expected(config, asked), asked)

    def costs(self, config: Config) -> Costs:
        forward = upsampling_costs(config)
        return Costs(3.0 * forward.flops, 3.0 * forward.bytes)
