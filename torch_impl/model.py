"""ResNet-18 (v1 and v2), the FCN heads and the upsampling, in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, STAGES
from common.recipes import HEADS, Network

LAYOUT = "NCHW"


def convolution(
    in_channels: int, out_channels: int, size: int, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=bias)


def batch_norm(channels: int, affine: bool = True) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, affine)


class BlockV1(nn.Module):
    """Convolution, norm, ReLU; the ReLU comes last (He et al. 2015, figure 5 left)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.bn1 = batch_norm(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.bn2 = batch_norm(channels)
        self.downsample = None
        if stride > 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                convolution(in_channels, channels, 1, stride), batch_norm(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + shortcut)


class BlockV2(nn.Module):
    """Norm, ReLU, convolution; nothing after the sum (He et al. 2016, figure 4 e).

    The first norm and ReLU are the caller's to apply, for a head may score their output too.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = batch_norm(in_channels)
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.bn2 = batch_norm(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.downsample = None
        if stride > 1 or in_channels != channels:
            self.downsample = convolution(in_channels, channels, 1, stride)

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(activated)
        x = self.conv1(activated)
        x = self.conv2(F.relu(self.bn2(x)))
        return x + shortcut


class ResNet18(nn.Module):
    """[B, 3, H, W] to maps after a ReLU: 128 channels at H/8, 256 at H/16, 512 at H/32."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.v2 = backbone == "resnet18_v2"
        if self.v2:
            self.data_bn = batch_norm(3, affine=False)
        self.conv1 = convolution(3, 64, 7, 2)
        self.bn1 = batch_norm(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        block = BlockV2 if self.v2 else BlockV1
        in_channels = 64
        for stage, (channels, stride) in enumerate(STAGES, start=1):
            blocks = nn.Sequential(
                block(in_channels, channels, stride), block(channels, channels, 1)
            )
            self.add_module(f"layer{stage}", blocks)
            in_channels = channels
        if self.v2:
            self.final_bn = batch_norm(in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.v2:
            x = self.data_bn(x)
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in range(1, len(STAGES) + 1):
            first, second = getattr(self, f"layer{stage}")
            if self.v2:
                # The norm and the ReLU that end the stage before are the first of this one.
                maps.append(F.relu(first.bn1(x)))
                x = first(x, maps[-1])
                x = second(x, F.relu(second.bn1(x)))
            else:
                x = second(first(x))
                maps.append(x)
        if self.v2:
            maps.append(F.relu(self.final_bn(x)))
        return maps[-3:]


def transposed_convolution(
    x: Tensor, weight: Tensor, bias: Tensor, stride: int, upsampling: str
) -> Tensor:
    """Upsample by ``stride`` with a kernel of twice the stride and a padding of half of it.

    ``x`` [B, inputs, h, w], ``weight`` [inputs, outputs, 2 stride, 2 stride] and ``bias`` [outputs]
    make [B, outputs, stride h, stride w].

    ``native`` is the framework's operation. ``subpixel`` is the same sum as a 2x2 convolution over
    the map padded by one, with stride x stride x channels outputs, moved from depth to space and
    cropped by half a stride on every side; its taps come reversed.
    """
    half = stride // 2
    if upsampling == "native":
        return F.conv_transpose2d(x, weight, bias, stride, padding=half)
    # As matrix products, which leave the channels last, and by quarters of a cell: the outputs of a
    # quarter see the same four values, so nothing is computed to be cropped.
    batch, inputs, height, width = x.shape
    outputs = weight.shape[1]
    taps = weight.reshape(inputs, outputs, 2, 2, half, 2, 2, half).flip(2, 5)
    kernels = taps.permute(3, 6, 2, 5, 0, 4, 7, 1).reshape(2, 2, 4 * inputs, -1)
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    x = torch.cat([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], -1)

    def quarter(i: int, j: int) -> Tensor:
        cells = x[:, i : i + height, j : j + width].reshape(-1, 4 * inputs)
        y = torch.addmm(bias.repeat(half * half), cells, kernels[1 - i, 1 - j])
        return y.view(batch, height, width, half, half * outputs).transpose(2, 3)

    y = torch.stack([torch.cat([quarter(i, 0), quarter(i, 1)], -1) for i in range(2)], 2)
    return y.view(batch, stride * height, stride * width, outputs).permute(0, 3, 1, 2)


class Upsample(nn.Module):
    """A transposed convolution of the head, [B, classes, h, w] to [B, classes, H, W]."""

    def __init__(self, num_classes: int, stride: int, upsampling: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_classes, num_classes, 2 * stride, 2 * stride))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.stride, self.upsampling = stride, upsampling

    def forward(self, x: Tensor) -> Tensor:
        return transposed_convolution(x, self.weight, self.bias, self.stride, self.upsampling)


class Sum(nn.Module):
    """Scores of two maps, as a layer whose output can be watched."""

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        return x + scores


class FCN(nn.Module):
    """uint8 images [B, H, W, 3] to logits [B, classes, H, W], H and W multiples of 32.

    A transposed kernel of size 2s, stride s and padding s / 2 centres a cell half a cell off the
    backbone's odd kernels: docs/PORTING.md, "Heads of several maps", says why that is kept.
    """

    def __init__(self, network: Network, upsampling: str, layout: torch.memory_format) -> None:
        super().__init__()
        self.layout = layout
        self.normalize = Normalize()
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

    def forward(self, images: Tensor) -> Tensor:
        x = self.normalize(images).contiguous(memory_format=self.layout)
        map8, map16, map32 = self.backbone(x)
        x = self.final_conv(map32)
        if self.stride <= 16:
            x = self.sum16(self.up32to16(x), self.score16(map16))
        if self.stride <= 8:
            x = self.sum8(self.up16to8(x), self.score8(map8))
        return self.transpose_conv(x)


class Normalize(nn.Module):
    """Bytes to ImageNet's mean and deviation, on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(MEAN), persistent=False)
        self.register_buffer("std", torch.from_numpy(STD), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        return x.permute(0, 3, 1, 2)


def create_model(config: Config) -> FCN:
    """Return the network of ``config``, its parameters not yet those of a training."""
    upsampling = "subpixel" if config.upsampling == "auto" else config.upsampling
    # The shapes are [B, C, H, W], but the channels lie last in memory: the kernels are faster.
    layout = torch.channels_last
    if "channels-last" in config.without:
        layout = torch.contiguous_format
    model = FCN(config.recipe.network, upsampling, layout)
    return model.to(memory_format=layout)
