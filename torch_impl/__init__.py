"""The network and its training in PyTorch."""

from torch_impl.device import (
    configure,
    describe,
    device_memory_peak,
    effective_config,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from torch_impl.loss import cross_entropy, image_losses
from torch_impl.measure import (
    backward_step,
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from torch_impl.model import FCN, LAYOUT, create_model, transposed_convolution
from torch_impl.probe import gradients, layer_outputs
from torch_impl.state import State
from torch_impl.step import classify_step, create_state, eval_step, predict_step, train_step
from torch_impl.weights import (
    from_canonical,
    load_momentum,
    load_parameters,
    momentum_of,
    parameters_of,
    to_canonical,
)
