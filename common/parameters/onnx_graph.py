"""The trained network as an ONNX graph: bytes in, logits out, any batch and size.

Written from the canonical parameters operation by operation, so that it needs none of the four
frameworks. Specification: https://onnx.ai/onnx/operators/, operator set 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.images import MEAN, STD
from common.errors import InputError
from common.parameters.names import BATCH_NORM_EPSILON, NUM_CLASSES, STAGES, Parameters
from common.recipes import STRIDE

OPERATOR_SET, IR_VERSION = 17, 8


def onnx_model(parameters: Parameters, backbone: str) -> Any:
    """Return the model, checked: ``images``, uint8 [B, H, W, 3], to ``logits`` [B, H, W, 21].

    Raises:
        InputError: If the onnx package is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise InputError("--format onnx: needs the package onnx (`uv sync`)") from error

    nodes: list[Any] = []
    constants: dict[str, NDArray] = {}

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(name: str, array: NDArray) -> str:
        constants[name] = np.ascontiguousarray(array)
        return name

    def parameter(name: str) -> str:
        return constant(name, parameters[name])

    def convolution(x: str, name: str, stride: int = 1, bias: bool = False) -> str:
        half = parameters[f"{name}.weight"].shape[2] // 2
        inputs = [x, parameter(f"{name}.weight"), *([parameter(f"{name}.bias")] if bias else [])]
        return node("Conv", inputs, name, strides=[stride] * 2, pads=[half] * 4)

    def norm(x: str, name: str) -> str:
        channels = len(parameters[f"{name}.running_mean"])
        if f"{name}.weight" in parameters:
            affine = [parameter(f"{name}.weight"), parameter(f"{name}.bias")]
        else:
            affine = [
                constant(f"{name}.weight", np.ones(channels, np.float32)),
                constant(f"{name}.bias", np.zeros(channels, np.float32)),
            ]
        moments = [parameter(f"{name}.running_mean"), parameter(f"{name}.running_var")]
        return node("BatchNormalization", [x, *affine, *moments], name, epsilon=BATCH_NORM_EPSILON)

    def relu(x: str) -> str:
        return node("Relu", [x], f"{x}.relu")

    def block_v1(x: str, name: str, stride: int) -> str:
        shortcut = x
        if f"{name}.downsample.0.weight" in parameters:
            shortcut = convolution(x, f"{name}.downsample.0", stride)
            shortcut = norm(shortcut, f"{name}.downsample.1")
        y = relu(norm(convolution(x, f"{name}.conv1", stride), f"{name}.bn1"))
        y = norm(convolution(y, f"{name}.conv2"), f"{name}.bn2")
        return relu(node("Add", [y, shortcut], name))

    def block_v2(x: str, name: str, stride: int) -> str:
        shortcut, y = x, relu(norm(x, f"{name}.bn1"))
        if f"{name}.downsample.weight" in parameters:
            shortcut = convolution(y, f"{name}.downsample", stride)
        y = convolution(y, f"{name}.conv1", stride)
        y = convolution(relu(norm(y, f"{name}.bn2")), f"{name}.conv2")
        return node("Add", [y, shortcut], name)

    v1 = backbone == "resnet18_v1"
    x = node("Cast", ["images"], "float", to=TensorProto.FLOAT)
    x = node("Div", [x, constant("white", np.array(255, np.float32))], "scaled")
    x = node("Sub", [x, constant("mean", MEAN.astype(np.float32))], "centred")
    x = node("Div", [x, constant("deviation", STD.astype(np.float32))], "normalize")
    x = node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    if not v1:
        x = norm(x, "backbone.data_bn")
    x = relu(norm(convolution(x, "backbone.conv1", 2), "backbone.bn1"))
    x = node(
        "MaxPool", [x], "backbone.maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    block = block_v1 if v1 else block_v2
    for stage, (_, stride) in enumerate(STAGES, start=1):
        x = block(x, f"backbone.layer{stage}.0", stride)
        x = block(x, f"backbone.layer{stage}.1", 1)
    if not v1:
        x = relu(norm(x, "backbone.final_bn"))
    x = convolution(x, "final_conv", bias=True)
    x = node(
        "ConvTranspose",
        [x, parameter("transpose_conv.weight"), parameter("transpose_conv.bias")],
        "transpose_conv",
        strides=[STRIDE] * 2,
        pads=[STRIDE // 2] * 4,
    )
    node("Transpose", [x], "logits", perm=[0, 2, 3, 1])

    sides = ["batch", "height", "width"]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        f"FCN-32s on {backbone}",
        [value("images", TensorProto.UINT8, [*sides, 3])],
        [value("logits", TensorProto.FLOAT, [*sides, NUM_CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    operators = [helper.make_opsetid("", OPERATOR_SET)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
