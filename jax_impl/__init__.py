"""The network and its training in JAX, Flax NNX and optax."""

from jax_impl.device import (
    configure,
    describe,
    device_memory_peak,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from jax_impl.loss import cross_entropy, image_losses
from jax_impl.measure import (
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from jax_impl.model import FCN, LAYOUT, ResNet18, create_model, transposed_convolution
from jax_impl.probe import gradients, layer_outputs
from jax_impl.step import State, classify_step, create_state, eval_step, predict_step, train_step
from jax_impl.weights import (
    from_canonical,
    load_momentum,
    load_parameters,
    momentum_of,
    parameters_of,
    to_canonical,
)

__all__ = [
    "FCN",
    "LAYOUT",
    "ResNet18",
    "State",
    "classify_step",
    "configure",
    "create_model",
    "create_state",
    "cross_entropy",
    "describe",
    "device_memory_peak",
    "eval_step",
    "from_canonical",
    "gradients",
    "image_losses",
    "layer_outputs",
    "load_momentum",
    "load_parameters",
    "loss_operation",
    "matrix_product",
    "momentum_of",
    "parameters_of",
    "precisions",
    "predict_step",
    "stream",
    "switches",
    "synchronize",
    "to_canonical",
    "to_device",
    "to_host",
    "trace",
    "train_step",
    "transposed_convolution",
    "upsample_operation",
]
