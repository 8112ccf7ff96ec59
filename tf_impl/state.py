"""What a training keeps from step to step, in TensorFlow."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from common.config import Config
from tf_impl.model import FCN


@dataclass(eq=False)
class State:
    """A network and its optimizer. ``train_step`` changes it in place: use what it returns."""

    config: Config
    strategy: tf.distribute.Strategy
    """It keeps a replica of the network on each device."""
    model: FCN
    optimizer: "SGD"


class SGD:
    """buffer = momentum * buffer + gradient + decay * weight;  weight -= rate * buffer.

    That is PyTorch's form. Keras' own SGD has the learning rate inside the buffer, which is the
    same only while the rate is constant, and its weight decay goes past the buffer.
    """

    def __init__(
        self, variables: dict[str, keras.Variable], decays: dict[str, float], momentum: float
    ) -> None:
        self.variables, self.decays, self.momentum = variables, decays, momentum
        self.buffers: dict[str, tf.Variable] = {}
        if momentum:
            self.buffers = {name: tf.Variable(tf.zeros_like(v)) for name, v in variables.items()}

    def update(self, gradients: list[tf.Tensor], rate: tf.Tensor) -> None:
        for (name, variable), gradient in zip(self.variables.items(), gradients, strict=True):
            decay = self.decays[name]
            update = gradient + decay * variable.value if decay else gradient
            if self.momentum:
                # In two steps: one sum of three terms becomes an AddN, whose order of summation
                # depends on which term's memory happens to be free, and so differs from run to run.
                self.buffers[name].assign(self.momentum * self.buffers[name])
                update = self.buffers[name].assign_add(update)
            variable.assign(variable.value - tf.cast(rate, variable.dtype) * update)
