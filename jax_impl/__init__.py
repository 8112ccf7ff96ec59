"""The network and its training in JAX, Flax NNX and optax."""

from jax_impl.device import (
    configure,
    describe,
    device_memory_peak,
    effective_config,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from jax_impl.loss import cross_entropy, image_losses
from jax_impl.measure import (
    backward_step,
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from jax_impl.model import FCN, LAYOUT, create_model, transposed_convolution
from jax_impl.probe import gradients, layer_outputs
from jax_impl.state import State
from jax_impl.step import classify_step, create_state, eval_step, predict_step, train_step
from jax_impl.weights import (
    from_canonical,
    load_momentum,
    load_parameters,
    momentum_of,
    parameters_of,
    to_canonical,
)
