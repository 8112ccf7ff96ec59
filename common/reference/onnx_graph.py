"""The trained network as an ONNX graph: bytes in, logits out, any batch and size.

Written from the network's layers and the canonical parameters, so that it needs none of the four
frameworks. Specification: https://onnx.ai/onnx/operators/, operator set 17.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.crops import PADDING
from common.data.images import MEAN, STD
from common.errors import InputError
from common.parameters.names import BATCH_NORM_EPSILON, Parameters, layers
from common.recipes import STRIDE, Network

OPERATOR_SET, IR_VERSION = 17, 8
FLOAT = 1
"""float32, as ONNX numbers types."""
CONSTANTS: dict[str, NDArray] = {
    "white": np.array(255, np.float32),
    "mean": MEAN,
    "deviation": STD,
    "filling": PADDING.astype(np.float32),
    "multiples": np.array([1, STRIDE, STRIDE, 1], np.int64),
    "no_margin": np.zeros(4, np.int64),
    "first": np.zeros(1, np.int64),
    "third": np.full(1, 3, np.int64),
    "corner": np.zeros(3, np.int64),
}
"""What the nodes take beside parameters."""
Node = tuple[str, list[str], str, dict[str, Any]]
"""An operator, its inputs, its output and its attributes."""


def onnx_model(parameters: Parameters, network: Network) -> Any:
    """Return the model, checked: ``images``, uint8 [B, H, W, 3], to ``logits`` [B, H, W, C].

    Its initializers are the parameters alone, so that who reads them by name gets those.

    Raises:
        InputError: If the onnx package is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError(
            "--format onnx: the package onnx is not installed; `uv sync` installs it"
        ) from error

    if network.backbone == "resnet18_v2":  # Its norm of the input has neither.
        parameters = dict(parameters)
        parameters["backbone.data_bn.weight"] = np.ones(3, np.float32)
        parameters["backbone.data_bn.bias"] = np.zeros(3, np.float32)
    sides, classes = ["batch", "height", "width"], len(parameters["transpose_conv.bias"])
    value, tensor = onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
    operators: list[Node] = [
        ("Constant", [], name, {"value": tensor(array)}) for name, array in CONSTANTS.items()
    ]
    operators += nodes(network)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
                for kind, inputs, output, attributes in operators
            ],
            f"{network.head} on {network.backbone}",
            [value("images", onnx.TensorProto.UINT8, [*sides, 3])],
            [value("logits", onnx.TensorProto.FLOAT, [*sides, classes])],
            [tensor(np.ascontiguousarray(array), name) for name, array in parameters.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPERATOR_SET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def nodes(network: Network) -> Iterator[Node]:
    """Yield the graph's nodes in forward order; between bytes and logits maps are NCHW.

    Images are padded below and to the right to multiples of the stride, in the colour that
    ``common.data.crops.pad_to`` uses, and the logits cropped to their size.
    """
    yield "Shape", ["images"], "shape", {}
    yield "Neg", ["shape"], "negative", {}
    yield "Mod", ["negative", "multiples"], "margin", {}  # At least 0, as in Python.
    yield "Concat", ["no_margin", "margin"], "margins", {"axis": 0}
    yield "Cast", ["images"], "float", {"to": FLOAT}
    # An operator pads with one number, not with a colour: with 0 where the colour is taken off.
    yield "Sub", ["float", "filling"], "unfilled", {}
    yield "Pad", ["unfilled", "margins"], "wider", {}
    yield "Add", ["wider", "filling"], "padded", {}
    yield "Div", ["padded", "white"], "scaled", {}
    yield "Sub", ["scaled", "mean"], "centred", {}
    yield "Div", ["centred", "deviation"], "normalized", {}
    yield "Transpose", ["normalized"], "normalize", {"perm": [0, 3, 1, 2]}
    for layer in layers(network)[1:]:
        name, inputs = layer.name, list(layer.inputs)
        window = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        match layer.kind:
            case "convolution":
                yield "Conv", [*inputs, *layer.shapes], name, window
            case "transpose_convolution":
                yield "ConvTranspose", [*inputs, *layer.shapes], name, window
            case "norm":
                prefix = next(iter(layer.shapes)).rpartition(".")[0]
                parts = ("weight", "bias", "running_mean", "running_var")
                inputs += [f"{prefix}.{part}" for part in parts]
                yield "BatchNormalization", inputs, name, {"epsilon": BATCH_NORM_EPSILON}
            case "max_pool":
                yield "MaxPool", inputs, name, {"kernel_shape": [3, 3], **window}
            case "relu":
                yield "Relu", inputs, name, {}
            case "add":
                yield "Add", inputs, name, {}
            case "add_relu":
                yield "Add", inputs, f"{name}.sum", {}
                yield "Relu", [f"{name}.sum"], name, {}
    yield "Transpose", ["transpose_conv"], "padded_logits", {"perm": [0, 2, 3, 1]}
    yield "Slice", ["shape", "first", "third"], "size", {}
    yield "Slice", ["padded_logits", "corner", "size"], "logits", {}
