"""The case `upsample`: the transposed convolution to the logits alone, forward and backward."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, Operation, bounds_of
from benchmarks.cases.inputs import BATCHES, Arrays, probe_parameters
from common.config import Config
from common.parameters.costs import Costs, upsampling_costs
from common.recipes import HEADS
from common.reference import operations


class Upsampling(Operation):
    """The transposed convolution of a map and its three gradients."""

    takes = ("x",)
    names = ("y", "x_gradient", "weight_gradient", "bias_gradient")

    def set_up(self, inputs: Arrays) -> None:
        super().set_up(inputs)
        self.gradient = self.to_device(inputs["gradient"])
        kernel = inputs["weight"], inputs["bias"]
        self.operation = self.backend.upsample_operation(self.config, *kernel)

    def step(self, *batch: Any) -> Any:
        return self.operation(*batch, self.gradient)

    def to_host(self, name: str, value: Any) -> NDArray:
        if name == "weight_gradient":
            array = np.asarray(self.backend.to_host(value))
            canonical: NDArray = self.backend.to_canonical(array)
            return canonical
        return super().to_host(name, value)


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
    parts = frozenset({"upsampling", "gradients"})
    needs = "upsample_operation"
    marker = "^"

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        recipe, generator = config.recipe, np.random.default_rng((config.seed, 5))
        (height, width), batch = recipe.crop, recipe.batch_size
        classes, stride = recipe.num_classes, HEADS[recipe.head]
        grid = (BATCHES, batch, height // stride, width // stride, classes)
        size = (batch, height, width, classes)
        parameters = probe_parameters(recipe, config.seed)
        return {
            "x": generator.standard_normal(grid, np.float32),
            "gradient": generator.standard_normal(size, np.float32),
            "weight": parameters["transpose_conv.weight"],
            "bias": parameters["transpose_conv.bias"],
        }

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

    def costs(self, config: Config) -> Costs:
        forward = upsampling_costs(config)
        return Costs(3.0 * forward.flops, 3.0 * forward.bytes)
