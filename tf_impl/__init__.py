"""The network and its training in TensorFlow, with Keras layers."""

from tf_impl.device import (
    configure,
    describe,
    device_memory_peak,
    effective_config,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from tf_impl.loss import cross_entropy, image_losses
from tf_impl.measure import (
    backward_step,
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from tf_impl.model import FCN, LAYOUT, create_model, transposed_convolution
from tf_impl.probe import gradients, layer_outputs
from tf_impl.state import State
from tf_impl.step import classify_step, create_state, eval_step, predict_step, train_step
from tf_impl.weights import (
    from_canonical,
    load_momentum,
    load_parameters,
    momentum_of,
    parameters_of,
    to_canonical,
)
