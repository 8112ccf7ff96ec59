"""ResNet-18 (v1 and v2), the FCN heads and the upsampling, in Flax NNX."""

from itertools import product

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, STAGES
from common.recipes import HEADS, Network

LAYOUT = "NHWC"


def convolution(
    in_channels: int,
    out_channels: int,
    size: int,
    stride: int = 1,
    bias: bool = False,
    *,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    return nnx.Conv(
        in_channels,
        out_channels,
        (size, size),
        stride,
        padding=size // 2,
        use_bias=bias,
        rngs=rngs,
    )


class BatchNorm(nnx.BatchNorm):
    """Flax's, but with an unbiased running variance and the output in the input's precision."""

    def __call__(self, x: Array) -> Array:
        old_share = self.momentum * self.var[...]
        y = super().__call__(x)
        if not self.use_running_average:
            n = x.size // x.shape[-1]
            self.var[...] = old_share + (self.var[...] - old_share) * (n / (n - 1))
        return y.astype(x.dtype)


def batch_norm(channels: int, affine: bool = True, *, rngs: nnx.Rngs) -> BatchNorm:
    # The fast variance, E[x^2] - E[x]^2, cancels where a channel's mean is far from zero.
    return BatchNorm(
        channels,
        momentum=1 - BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        use_scale=affine,
        use_bias=affine,
        use_fast_variance=False,
        rngs=rngs,
    )


class BlockV1(nnx.Module):
    """Convolution, norm, ReLU; the ReLU comes last (He et al. 2015, figure 5 left)."""

    def __init__(self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(in_channels, channels, 3, stride, rngs=rngs)
        self.bn1 = batch_norm(channels, rngs=rngs)
        self.conv2 = convolution(channels, channels, 3, rngs=rngs)
        self.bn2 = batch_norm(channels, rngs=rngs)
        self.downsample = nnx.data(None)
        if stride > 1 or in_channels != channels:
            self.downsample = nnx.Sequential(
                convolution(in_channels, channels, 1, stride, rngs=rngs),
                batch_norm(channels, rngs=rngs),
            )

    def __call__(self, x: Array) -> Array:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = nnx.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return nnx.relu(x + shortcut)


class BlockV2(nnx.Module):
    """Norm, ReLU, convolution; nothing after the sum (He et al. 2016, figure 4 e).

    The first norm and ReLU are the caller's to apply, for a head may score their output too.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.bn1 = batch_norm(in_channels, rngs=rngs)
        self.conv1 = convolution(in_channels, channels, 3, stride, rngs=rngs)
        self.bn2 = batch_norm(channels, rngs=rngs)
        self.conv2 = convolution(channels, channels, 3, rngs=rngs)
        self.downsample = nnx.data(None)
        if stride > 1 or in_channels != channels:
            self.downsample = convolution(in_channels, channels, 1, stride, rngs=rngs)

    def __call__(self, x: Array, activated: Array) -> Array:
        shortcut = x if self.downsample is None else self.downsample(activated)
        x = self.conv1(activated)
        x = self.conv2(nnx.relu(self.bn2(x)))
        return x + shortcut


class MaxPool(nnx.Module):
    """Windows of 3, 2 apart, padded by 1; of equal values the first is the largest."""

    selections = True

    def __call__(self, x: Array) -> Array:
        if not self.selections:
            return nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        # Nine selections fuse into one operation, and so do their gradients. The gradient of a
        # window reduction is slow, on a GPU above all.
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        x = jnp.pad(x, padding, constant_values=-jnp.inf)
        height, width = x.shape[1] - 2, x.shape[2] - 2
        y = x[:, :height:2, :width:2]
        for i, j in list(product(range(3), range(3)))[1:]:
            tap = x[:, i : i + height : 2, j : j + width : 2]
            y = jnp.where(tap > y, tap, y)
        return y


class ResNet18(nnx.Module):
    """[B, H, W, 3] to maps after a ReLU: 128 channels at H/8, 256 at H/16, 512 at H/32."""

    def __init__(self, backbone: str, *, rngs: nnx.Rngs) -> None:
        self.v2 = backbone == "resnet18_v2"
        if self.v2:
            self.data_bn = batch_norm(3, affine=False, rngs=rngs)
        self.conv1 = convolution(3, 64, 7, 2, rngs=rngs)
        self.bn1 = batch_norm(64, rngs=rngs)
        self.maxpool = MaxPool()
        block = BlockV2 if self.v2 else BlockV1
        in_channels = 64
        for stage, (channels, stride) in enumerate(STAGES, start=1):
            blocks = nnx.Sequential(
                block(in_channels, channels, stride, rngs=rngs),
                block(channels, channels, 1, rngs=rngs),
            )
            setattr(self, f"layer{stage}", blocks)
            in_channels = channels
        if self.v2:
            self.final_bn = batch_norm(in_channels, rngs=rngs)

    def __call__(self, x: Array) -> list[Array]:
        if self.v2:
            x = self.data_bn(x)
        x = self.maxpool(nnx.relu(self.bn1(self.conv1(x))))
        maps = []
        for stage in range(1, len(STAGES) + 1):
            first, second = getattr(self, f"layer{stage}").layers
            if self.v2:
                # The norm and the ReLU that end the stage before are the first of this one.
                maps.append(nnx.relu(first.bn1(x)))
                x = first(x, maps[-1])
                x = second(x, nnx.relu(second.bn1(x)))
            else:
                x = second(first(x))
                maps.append(x)
        if self.v2:
            maps.append(nnx.relu(self.final_bn(x)))
        return maps[-3:]


def transposed_convolution(
    x: Array, weight: Array, bias: Array, stride: int, upsampling: str
) -> Array:
    """Upsample by ``stride`` with a kernel of twice the stride and a padding of half of it.

    ``x`` [B, h, w, inputs], ``weight`` [2 stride, 2 stride, outputs, inputs] and ``bias`` [outputs]
    make [B, stride h, stride w, outputs].

    ``native`` is the framework's operation. ``subpixel`` is the same sum as a 2x2 convolution over
    the map padded by one, with stride x stride x channels outputs, moved from depth to space and
    cropped by half a stride on every side; its taps come reversed.
    """
    half = stride // 2
    if upsampling == "native":
        padding = ((2 * stride - 1 - half,) * 2,) * 2
        y = lax.conv_transpose(x, weight, (stride, stride), padding, transpose_kernel=True)
        return y + bias
    # As matrix products, which leave the channels last, and by quarters of a cell: the outputs of a
    # quarter see the same four values, so nothing is computed to be cropped. The gradients that XLA
    # has of its own operation, and of the 2x2 convolution, are far slower.
    batch, height, width, inputs = x.shape
    outputs = weight.shape[2]
    taps = jnp.flip(weight.reshape(2, 2, half, 2, 2, half, outputs, inputs), (0, 3))
    kernels = taps.transpose(1, 4, 0, 3, 7, 2, 5, 6).reshape(2, 2, 4 * inputs, -1)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = jnp.concatenate([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], axis=-1)

    def quarter(i: int, j: int) -> Array:
        cells = x[:, i : i + height, j : j + width]
        y = cells @ kernels[1 - i, 1 - j]
        return y.reshape(batch, height, width, half, half * outputs).swapaxes(2, 3)

    y = [jnp.concatenate([quarter(i, 0), quarter(i, 1)], axis=-1) for i in range(2)]
    return jnp.stack(y, 2).reshape(batch, stride * height, stride * width, outputs) + bias


class Upsample(nnx.Module):
    """A transposed convolution of the head, [B, h, w, classes] to [B, H, W, classes]."""

    def __init__(self, num_classes: int, stride: int, upsampling: str) -> None:
        self.kernel = nnx.Param(jnp.zeros((2 * stride, 2 * stride, num_classes, num_classes)))
        self.bias = nnx.Param(jnp.zeros(num_classes))
        self.stride, self.upsampling = stride, upsampling

    def __call__(self, x: Array) -> Array:
        # The bias keeps its precision: its gradient, a sum over all pixels, has the same one.
        kernel, bias = self.kernel[...].astype(x.dtype), self.bias[...]
        return transposed_convolution(x, kernel, bias, self.stride, self.upsampling)


class Sum(nnx.Module):
    """Scores of two maps, as a layer whose output can be watched."""

    def __call__(self, x: Array, scores: Array) -> Array:
        # The bias of an upsampling makes it float32: the next one multiplies in the scores' type.
        return x.astype(scores.dtype) + scores


class FCN(nnx.Module):
    """uint8 images [B, H, W, 3] to logits [B, H, W, classes], H and W multiples of 32.

    A transposed kernel of size 2s, stride s and padding s / 2 centres a cell half a cell off the
    backbone's odd kernels: docs/PORTING.md, "Heads of several maps", says why that is kept.
    """

    def __init__(self, network: Network, upsampling: str, *, rngs: nnx.Rngs) -> None:
        self.normalize = Normalize()
        self.backbone = ResNet18(network.backbone, rngs=rngs)
        self.stride, num_classes = HEADS[network.head], network.num_classes
        self.final_conv = convolution(512, num_classes, 1, bias=True, rngs=rngs)
        if self.stride <= 16:
            self.up32to16 = Upsample(num_classes, 2, upsampling)
            self.score16 = convolution(256, num_classes, 1, bias=True, rngs=rngs)
            self.sum16 = Sum()
        if self.stride <= 8:
            self.up16to8 = Upsample(num_classes, 2, upsampling)
            self.score8 = convolution(128, num_classes, 1, bias=True, rngs=rngs)
            self.sum8 = Sum()
        self.transpose_conv = Upsample(num_classes, self.stride, upsampling)

    def __call__(self, images: Array) -> Array:
        map8, map16, map32 = self.backbone(self.normalize(images))
        x = self.final_conv(map32)
        if self.stride <= 16:
            x = self.sum16(self.up32to16(x), self.score16(map16))
        if self.stride <= 8:
            x = self.sum8(self.up16to8(x), self.score8(map8))
        return self.transpose_conv(x)


class Normalize(nnx.Module):
    """Bytes to ImageNet's mean and deviation, on the device."""

    def __call__(self, images: Array) -> Array:
        # `float` is float64 where `configure` lets JAX offer it, float32 elsewhere.
        return (images.astype(float) / 255 - MEAN) / STD


def create_model(config: Config) -> FCN:
    """Return the network of ``config``, its parameters not yet those of a training."""
    upsampling = "subpixel" if config.upsampling == "auto" else config.upsampling
    # Only the shapes are made, for `load_parameters` fills them: nothing is drawn.
    network = config.recipe.network
    model = nnx.eval_shape(lambda: FCN(network, upsampling, rngs=nnx.Rngs(0)))
    if config.precision == "bfloat16":
        model.set_attributes(nnx.Conv, dtype=jnp.bfloat16)
    if "pool-selections" in config.without:
        model.set_attributes(MaxPool, selections=False)
    return model
