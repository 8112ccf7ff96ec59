"""The trained network as an ONNX graph: bytes in, logits out, any batch and size.

Written from the canonical parameters operation by operation, so that it needs none of the four
frameworks. Specification: https://onnx.ai/onnx/operators/, operator set 17.
"""

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
    except ImportError as error:
        raise InputError(
            "--format onnx: the package onnx is not installed; `uv sync` installs it"
        ) from error

    graph = Graph(onnx, parameters)
    graph.network(backbone)
    sides = ["batch", "height", "width"]
    value = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            f"FCN-32s on {backbone}",
            [value("images", onnx.TensorProto.UINT8, [*sides, 3])],
            [value("logits", onnx.TensorProto.FLOAT, [*sides, NUM_CLASSES])],
            [onnx.numpy_helper.from_array(a, name) for name, a in graph.constants.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPERATOR_SET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


class Graph:
    """The nodes and constants of a graph; a method adds an operation and returns its output's name.

    Attributes:
        nodes: ONNX nodes in forward order.
        constants: The parameters that the nodes use, and the few other arrays, by name.
    """

    def __init__(self, onnx: Any, parameters: Parameters) -> None:
        self._onnx, self._parameters = onnx, parameters
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray] = {}

    def network(self, backbone: str) -> None:
        """Add the whole network, from ``images`` to ``logits``."""
        v1 = backbone == "resnet18_v1"
        x = self.normalized("images")
        if not v1:
            x = self.norm(x, "backbone.data_bn")
        x = self.convolution(x, "backbone.conv1", 2)
        x = self.relu(self.norm(x, "backbone.bn1"))
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        x = self.node("MaxPool", [x], "backbone.maxpool", **window)
        block = self.block_v1 if v1 else self.block_v2
        for stage, (_, stride) in enumerate(STAGES, start=1):
            x = block(x, f"backbone.layer{stage}.0", stride)
            x = block(x, f"backbone.layer{stage}.1", 1)
        if not v1:
            x = self.relu(self.norm(x, "backbone.final_bn"))
        x = self.convolution(x, "final_conv")
        kernel = [self.parameter(f"transpose_conv.{part}") for part in ("weight", "bias")]
        places = {"strides": [STRIDE] * 2, "pads": [STRIDE // 2] * 4}
        x = self.node("ConvTranspose", [x, *kernel], "transpose_conv", **places)
        self.node("Transpose", [x], "logits", perm=[0, 2, 3, 1])

    def normalized(self, x: str) -> str:
        """Add the normalisation of bytes, and bring the channels forward."""
        x = self.node("Cast", [x], "float", to=self._onnx.TensorProto.FLOAT)
        x = self.node("Div", [x, self.constant("white", np.array(255, np.float32))], "scaled")
        x = self.node("Sub", [x, self.constant("mean", MEAN)], "centred")
        x = self.node("Div", [x, self.constant("deviation", STD)], "normalize")
        return self.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])

    def block_v1(self, x: str, name: str, stride: int) -> str:
        """Add a basic block: convolution, norm, ReLU."""
        shortcut = x
        if f"{name}.downsample.0.weight" in self._parameters:
            shortcut = self.convolution(x, f"{name}.downsample.0", stride)
            shortcut = self.norm(shortcut, f"{name}.downsample.1")
        y = self.norm(self.convolution(x, f"{name}.conv1", stride), f"{name}.bn1")
        y = self.norm(self.convolution(self.relu(y), f"{name}.conv2"), f"{name}.bn2")
        return self.relu(self.node("Add", [y, shortcut], name))

    def block_v2(self, x: str, name: str, stride: int) -> str:
        """Add a pre-activation block: norm, ReLU, convolution."""
        shortcut, y = x, self.relu(self.norm(x, f"{name}.bn1"))
        if f"{name}.downsample.weight" in self._parameters:
            shortcut = self.convolution(y, f"{name}.downsample", stride)
        y = self.convolution(y, f"{name}.conv1", stride)
        y = self.convolution(self.relu(self.norm(y, f"{name}.bn2")), f"{name}.conv2")
        return self.node("Add", [y, shortcut], name)

    def convolution(self, x: str, name: str, stride: int = 1) -> str:
        """Add a convolution that keeps the size but for its stride, with its bias if it has one."""
        half = self._parameters[f"{name}.weight"].shape[2] // 2
        names = [f"{name}.weight", f"{name}.bias"]
        inputs = [self.parameter(name) for name in names if name in self._parameters]
        return self.node("Conv", [x, *inputs], name, strides=[stride] * 2, pads=[half] * 4)

    def norm(self, x: str, name: str) -> str:
        """Add a batch norm with its running statistics."""
        channels = len(self._parameters[f"{name}.running_mean"])
        fixed = {
            f"{name}.weight": np.ones(channels, np.float32),
            f"{name}.bias": np.zeros(channels, np.float32),
        }
        arrays = fixed | self._parameters  # v2's norm of the input has neither weight nor bias.
        inputs = [
            self.constant(f"{name}.{part}", arrays[f"{name}.{part}"])
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        return self.node("BatchNormalization", [x, *inputs], name, epsilon=BATCH_NORM_EPSILON)

    def relu(self, x: str) -> str:
        """Add a ReLU."""
        return self.node("Relu", [x], f"{x}.relu")

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node of any kind, named as its output."""
        self.nodes.append(
            self._onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
        )
        return output

    def parameter(self, name: str) -> str:
        """Add a canonical parameter."""
        return self.constant(name, self._parameters[name])

    def constant(self, name: str, array: NDArray) -> str:
        """Add an array."""
        self.constants[name] = np.ascontiguousarray(array)
        return name
