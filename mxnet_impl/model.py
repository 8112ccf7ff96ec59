"""ResNet-18 (v1 and v2), the FCN heads and the upsampling, in MXNet Gluon."""

from types import ModuleType
from typing import TypeAlias

import mxnet as mx
from mxnet import nd
from mxnet.gluon import HybridBlock, Parameter, nn
from mxnet.gluon.data.vision import transforms
from mxnet.symbol import Symbol

from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import (
    BATCH_NORM_EPSILON,
    BATCH_NORM_MOMENTUM,
    STAGES,
    parameter_shapes,
)
from common.recipes import HEADS, Network
from mxnet_impl.device import devices_of

LAYOUT = "NHWC"
"""Of the logits and of what the upsampling takes and gives; the backbone's layout is NCHW."""

Tensor: TypeAlias = nd.NDArray | Symbol
"""What a block sees: arrays, or symbols while it is being compiled; ``F`` is their module."""


class Convolution(nn.Conv2D):
    """Computes in bfloat16 where ``create_model`` says so; its parameters stay float32."""

    bfloat16 = False

    def hybrid_forward(
        self, F: ModuleType, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        if self.bfloat16:
            x, weight = F.amp_cast(x, "bfloat16"), F.amp_cast(weight, "bfloat16")
            bias = None if bias is None else F.amp_cast(bias, "bfloat16")
        return super().hybrid_forward(F, x, weight, bias)


def convolution(
    in_channels: int, out_channels: int, size: int, stride: int = 1, bias: bool = False
) -> Convolution:
    padding = size // 2
    return Convolution(out_channels, size, stride, padding, use_bias=bias, in_channels=in_channels)


def batch_norm(channels: int, affine: bool = True) -> nn.BatchNorm:
    # MXNet moves the statistics in the backward pass, which it skips where nothing is to be learnt:
    # a norm without scale and shift keeps a shift of zero that no optimizer is given.
    return nn.BatchNorm(
        momentum=1 - BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        center=True,
        scale=affine,
        in_channels=channels,
    )


class ReLU(HybridBlock):
    """oneDNN's: MXNet's own undoes oneDNN's layout of the maps."""

    onednn = True

    def hybrid_forward(self, F: ModuleType, x: Tensor) -> Tensor:
        return F.Activation(x, "relu") if self.onednn else F.relu(x)


class BlockV1(HybridBlock):
    """Convolution, norm, ReLU; the ReLU comes last (He et al. 2015, figure 5 left)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.bn1 = batch_norm(channels)
        self.relu = ReLU()
        self.conv2 = convolution(channels, channels, 3)
        self.bn2 = batch_norm(channels)
        self.downsample = None
        if stride > 1 or in_channels != channels:
            self.downsample = nn.HybridSequential()
            self.downsample.add(convolution(in_channels, channels, 1, stride), batch_norm(channels))

    def hybrid_forward(self, F: ModuleType, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class BlockV2(HybridBlock):
    """Norm, ReLU, convolution; nothing after the sum (He et al. 2016, figure 4 e).

    The first norm and ReLU are the caller's to apply, for a head may score their output too.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = batch_norm(in_channels)
        self.relu = ReLU()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.bn2 = batch_norm(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.downsample = None
        if stride > 1 or in_channels != channels:
            self.downsample = convolution(in_channels, channels, 1, stride)

    def hybrid_forward(self, F: ModuleType, x: Tensor, activated: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(activated)
        x = self.conv1(activated)
        x = self.conv2(self.relu(self.bn2(x)))
        return x + shortcut


class ResNet18(HybridBlock):
    """[B, 3, H, W] to maps after a ReLU: 128 channels at H/8, 256 at H/16, 512 at H/32."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.v2 = backbone == "resnet18_v2"
        if self.v2:
            self.data_bn = batch_norm(3, affine=False)
        self.conv1 = convolution(3, 64, 7, 2)
        self.bn1 = batch_norm(64)
        self.relu = ReLU()
        self.maxpool = nn.MaxPool2D(3, 2, padding=1)
        block = BlockV2 if self.v2 else BlockV1
        in_channels = 64
        for stage, (channels, stride) in enumerate(STAGES, start=1):
            blocks = nn.HybridSequential()
            blocks.add(block(in_channels, channels, stride), block(channels, channels, 1))
            setattr(self, f"layer{stage}", blocks)
            in_channels = channels
        if self.v2:
            self.final_bn = batch_norm(in_channels)

    def hybrid_forward(self, F: ModuleType, x: Tensor) -> list[Tensor]:
        if self.v2:
            # A gradient of zero will do: it saves the one of the first convolution's input.
            x = F.BlockGrad(self.data_bn(x))
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in range(1, len(STAGES) + 1):
            first, second = getattr(self, f"layer{stage}")
            if self.v2:
                # The norm and the ReLU that end the stage before are the first of this one.
                maps.append(self.relu(first.bn1(x)))
                x = first(x, maps[-1])
                x = second(x, self.relu(second.bn1(x)))
            else:
                x = second(first(x))
                maps.append(x)
        if self.v2:
            maps.append(self.relu(self.final_bn(x)))
        return maps[-3:]


def transposed_convolution(
    F: ModuleType,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    outputs: int,
    stride: int,
    upsampling: str,
    bfloat16: bool,
) -> Tensor:
    """Upsample by ``stride`` with a kernel of twice the stride and a padding of half of it.

    ``x`` [B, h, w, inputs], ``weight`` [inputs, outputs, 2 stride, 2 stride] and ``bias`` [outputs]
    make [B, stride h, stride w, outputs]. Symbols do not tell how many ``outputs`` there are.

    ``native`` is the framework's operation. ``subpixel`` is the same sum as a 2x2 convolution over
    the map padded by one, with stride x stride x channels outputs, moved from depth to space and
    cropped by half a stride on every side; its taps come reversed.

    In ``bfloat16`` only the products are: MXNet pads no bfloat16, and the gradient of its own
    transposed convolution ends the process.
    """
    half = stride // 2
    x = F.transpose(x, (0, 3, 1, 2))
    if upsampling == "native":
        y = F.Deconvolution(
            x,
            weight,
            bias,
            kernel=(2 * stride, 2 * stride),
            stride=(stride, stride),
            pad=(half, half),
            num_filter=outputs,
            no_bias=False,
        )
        return F.transpose(y, (0, 2, 3, 1))
    # The convolution as a matrix product, which leaves the channels last. Of the four taps the
    # lower right comes first, which saves reversing the kernel.
    x = F.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
    below, above = F.slice_axis(x, 2, 1, None), F.slice_axis(x, 2, 0, -1)
    taps = [F.slice_axis(part, 3, *at) for part in (below, above) for at in ((1, None), (0, -1))]
    x = F.transpose(F.concat(*taps, dim=1), (0, 2, 3, 1))
    kernel = F.reshape(weight, (0, 0, 2, stride, 2, stride))
    kernel = F.reshape(F.transpose(kernel, (3, 5, 1, 2, 4, 0)), (stride * stride * outputs, -1))
    operands = [x, kernel, F.tile(bias, stride * stride)]
    if bfloat16:
        operands = [F.amp_cast(operand, "bfloat16") for operand in operands]
    y = F.FullyConnected(*operands, num_hidden=stride * stride * outputs, flatten=False)
    if bfloat16:
        y = F.amp_cast(y, "float32")
    # Depth to space. MXNet's transposition is fast up to four dimensions: batch and rows go as one,
    # and channels with the columns within a block.
    y = F.transpose(F.reshape(y, (-3, 0, stride, -1)), (0, 2, 1, 3))
    y = F.reshape_like(y, x, lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=2)
    y = F.reshape(y, (0, -3, -1, outputs))
    return F.slice(y, (None, half, half, None), (None, -half, -half, None))


class Upsample(HybridBlock):
    """A transposed convolution of the head, [B, h, w, classes] to [B, H, W, classes]."""

    bfloat16 = False

    def __init__(self, num_classes: int, stride: int, upsampling: str) -> None:
        super().__init__()
        shape = num_classes, num_classes, 2 * stride, 2 * stride
        self.weight = self.params.get("weight", shape=shape)
        self.bias = self.params.get("bias", shape=(num_classes,))
        self.num_classes, self.stride, self.upsampling = num_classes, stride, upsampling

    def hybrid_forward(self, F: ModuleType, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        how = self.num_classes, self.stride, self.upsampling, self.bfloat16
        return transposed_convolution(F, x, weight, bias, *how)


class Sum(HybridBlock):
    """Scores of two maps, as a layer whose output can be watched."""

    def hybrid_forward(self, F: ModuleType, x: Tensor, scores: Tensor) -> Tensor:
        return x + scores


class FCN(HybridBlock):
    """uint8 images [B, H, W, 3] to logits [B, H, W, classes], H and W multiples of 32.

    A transposed kernel of size 2s, stride s and padding s / 2 centres a cell half a cell off the
    backbone's odd kernels: docs/PORTING.md, "Heads of several maps", says why that is kept.
    """

    def __init__(self, network: Network, upsampling: str) -> None:
        super().__init__()
        self.names = list(parameter_shapes(network))
        self.normalize = nn.HybridSequential()
        self.normalize.add(transforms.ToTensor(), transforms.Normalize(MEAN.tolist(), STD.tolist()))
        self.backbone = ResNet18(network.backbone)
        self.stride, num_classes = HEADS[network.head], network.num_classes
        self.final_conv = convolution(512, num_classes, 1, bias=True)
        if self.stride <= 16:
            self.up32to16 = Upsample(num_classes, 2, upsampling)
            self.score16 = convolution(256, num_classes, 1, bias=True)
            self.sum16 = Sum()
        if self.stride <= 8:
            self.up16to8 = Upsample(num_classes, 2, upsampling)
            self.score8 = convolution(128, num_classes, 1, bias=True)
            self.sum8 = Sum()
        self.transpose_conv = Upsample(num_classes, self.stride, upsampling)

    def hybrid_forward(self, F: ModuleType, images: Tensor) -> Tensor:
        def scores(x: Tensor) -> Tensor:
            x = F.amp_cast(x, "float32") if self.transpose_conv.bfloat16 else x
            return F.transpose(x, (0, 2, 3, 1))

        map8, map16, map32 = self.backbone(self.normalize(images))
        x = scores(self.final_conv(map32))
        if self.stride <= 16:
            x = self.sum16(self.up32to16(x), scores(self.score16(map16)))
        if self.stride <= 8:
            x = self.sum8(self.up16to8(x), scores(self.score8(map8)))
        return self.transpose_conv(x)

    def named_parameters(self) -> dict[str, Parameter]:
        """Return parameters and running statistics by canonical name, in the same order."""
        parameters = list(self.collect_params().values())
        if self.backbone.v2:
            # The first two are the scale and the shift of the norm on the input: see `batch_norm`.
            parameters = parameters[2:]
        return dict(zip(self.names, parameters, strict=True))


def create_model(config: Config) -> FCN:
    """Return the network of ``config``, its parameters not yet those of a training."""
    upsampling = "subpixel" if config.upsampling == "auto" else config.upsampling
    model = FCN(config.recipe.network, upsampling)
    if config.precision == "bfloat16":
        computing = Convolution, Upsample
        model.apply(lambda b: setattr(b, "bfloat16", True) if isinstance(b, computing) else None)
    if "onednn-relu" in config.without:
        model.apply(lambda b: setattr(b, "onednn", False) if isinstance(b, ReLU) else None)
    model.initialize(mx.init.Zero(), devices_of(config))
    return model
