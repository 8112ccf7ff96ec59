"""A package whose framework is the float64 reference: what the benchmark calls of a backend.

Its steps take a second each by a clock that nothing else moves.
"""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from common.config import Config
from common.parameters.names import Parameters
from common.recipes import HEADS
from common.reference import network as reference
from common.reference import operations


@dataclass(frozen=True)
class State:
    """What a training keeps from step to step; a step makes a new one."""

    config: Config
    parameters: Parameters
    momentum: Parameters = field(default_factory=dict)


class Clock:
    """Stands in for the module ``time``."""

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    monotonic = process_time = perf_counter


def numpy_package(clock: Clock) -> ModuleType:
    """Return the package."""

    def train_step(state: State, images: Any, labels: Any, learning_rate: float) -> Any:
        clock.now += 1
        parameters, momentum, loss = reference.train_step(
            state.parameters, state.momentum, images, labels, state.config.recipe, learning_rate
        )
        return State(state.config, parameters, momentum), np.array(loss)

    def predict_step(state: State, images: Any) -> Any:
        clock.now += 1
        network = state.config.recipe.network
        return reference.forward(state.parameters, images, network, training=False).logits

    def upsample_operation(config: Config, weight: Any, bias: Any) -> Any:
        stride = HEADS[config.recipe.head]
        half = stride // 2

        def step(x: Any, gradient: Any) -> tuple[Any, ...]:
            clock.now += 1
            y = operations.transpose_convolution(x, weight, stride, half) + bias
            gradients = operations.transpose_convolution_gradients(
                x, weight, gradient, stride, half
            )
            return y, *gradients, gradient.sum(axis=(0, 1, 2), dtype=np.float64)

        return step

    def loss_operation(config: Config) -> Any:
        def step(logits: Any, labels: Any) -> tuple[Any, ...]:
            clock.now += 1
            gradient = reference.loss_gradient(logits, labels, config.recipe)
            return np.array(reference.loss(logits, labels, config.recipe)), gradient

        return step

    package = ModuleType("numpy_impl")
    description = {"name": "numpy", "versions": {"numpy": np.__version__}, "device": "cpu"}
    vars(package).update(
        LAYOUT="NHWC",
        configure=lambda config: None,
        precisions=lambda config: ("float32",),
        describe=lambda config: {
            **description,
            **{"threads": 1, "precision": config.precision, "deterministic": True},
        },
        switches=lambda config: {"upsampling": config.upsampling},
        create_state=State,
        train_step=train_step,
        predict_step=predict_step,
        upsample_operation=upsample_operation,
        loss_operation=loss_operation,
        to_canonical=lambda array: array,
        parameters_of=lambda state: {
            name: value.astype(np.float32) for name, value in state.parameters.items()
        },
        momentum_of=lambda state: state.momentum,
        synchronize=lambda value: None,
        to_device=lambda array, config: array.copy(),
        to_host=np.asarray,
        device_memory_peak=lambda config: None,
    )
    return package
