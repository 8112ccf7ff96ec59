"""The network and its training in MXNet Gluon 1.9.1."""

from mxnet_impl.compat import restore_numpy_names

restore_numpy_names()  # Before anything below imports MXNet.

from mxnet_impl.device import (
    configure,
    describe,
    device_memory_peak,
    effective_config,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from mxnet_impl.loss import cross_entropy, image_losses
from mxnet_impl.measure import (
    backward_step,
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from mxnet_impl.model import FCN, LAYOUT, create_model, transposed_convolution
from mxnet_impl.probe import gradients, layer_outputs
from mxnet_impl.state import State
from mxnet_impl.step import classify_step, create_state, eval_step, predict_step, train_step
from mxnet_impl.weights import (
    from_canonical,
    load_momentum,
    load_parameters,
    momentum_of,
    parameters_of,
    to_canonical,
)
