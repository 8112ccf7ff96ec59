"""TensorFlow's compiler, XLA, over the whole step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import tf_impl
from common.config import Config
from tf_impl import (
    LAYOUT,
    State,
    configure,
    create_state,
    describe,
    device_memory_peak,
    parameters_of,
    precisions,
    synchronize,
    to_canonical,
    to_device,
    to_host,
)
from tf_impl import step as default

__all__ = [
    "LAYOUT",
    "configure",
    "create_state",
    "describe",
    "device_memory_peak",
    "parameters_of",
    "precisions",
    "predict_step",
    "switches",
    "synchronize",
    "to_canonical",
    "to_device",
    "to_host",
    "train_step",
]


def switches(config: Config) -> dict[str, Any]:
    """Return how a step is computed: what a benchmark's row has to state."""
    return {**tf_impl.switches(config), "compile": "tf.function, jit_compile"}


_train_step = tf.function(default._train_step.python_function, jit_compile=True)
predict_step = tf.function(default.predict_step.python_function, jit_compile=True)


def train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: float
) -> tuple[State, tf.Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    return state, _train_step(state, images, labels, tf.constant(learning_rate, tf.float64))
