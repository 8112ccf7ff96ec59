"""The network and its training in MXNet Gluon 1.9.1."""

from mxnet_impl.compat import restore_numpy_names

restore_numpy_names()

from mxnet_impl.device import (  # noqa: E402
    configure,
    describe,
    device_memory_peak,
    precisions,
    synchronize,
    to_device,
    to_host,
)
from mxnet_impl.loss import cross_entropy, image_losses  # noqa: E402
from mxnet_impl.measure import (  # noqa: E402
    loss_operation,
    matrix_product,
    stream,
    switches,
    trace,
    upsample_operation,
)
from mxnet_impl.model import (  # noqa: E402
    FCN,
    LAYOUT,
    ResNet18,
    create_model,
    transposed_convolution,
)
from mxnet_impl.probe import gradients, layer_outputs  # noqa: E402
from mxnet_impl.step import (  # noqa: E402
    State,
    classify_step,
    create_state,
    eval_step,
    predict_step,
    train_step,
)
from mxnet_impl.weights import (  # noqa: E402
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
