"""ResNet-18 (v1 and v2), the FCN heads and the upsampling, in Keras on TensorFlow."""

import keras
import tensorflow as tf
from keras import layers

from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, STAGES
from common.recipes import HEADS, Network

LAYOUT = "NHWC"


def convolution(
    x: tf.Tensor,
    name: str,
    channels: int,
    size: int,
    stride: int = 1,
    bias: bool = False,
    *,
    dtype: str,
) -> tf.Tensor:
    padding = "same"
    if stride > 1 and size > 1:  # SAME would pad asymmetrically.
        x, padding = layers.ZeroPadding2D(size // 2, dtype=dtype)(x), "valid"
    return layers.Conv2D(channels, size, stride, padding, use_bias=bias, name=name, dtype=dtype)(x)


class BatchNorm(layers.Layer):
    """TensorFlow's fused kernel; the variance it returns is the unbiased one.

    Keras' layer has other defaults, a biased running variance and a slower kernel.
    """

    fused = True

    def __init__(self, affine: bool = True, **options: object) -> None:
        super().__init__(**options)
        self.affine = affine

    def build(self, shape: tuple[int | None, ...]) -> None:
        channels = (shape[-1],)
        if self.affine:
            self.gamma = self.add_weight(channels, initializer="ones", name="gamma")
            self.beta = self.add_weight(channels, initializer="zeros", name="beta")
        for name, value in (("moving_mean", "zeros"), ("moving_variance", "ones")):
            # Statistics stay in the parameters' precision when the layer computes in another, and
            # are the first replica's on all.
            weight = self.add_weight(
                channels,
                initializer=value,
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=name,
            )
            setattr(self, name, weight)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        dtype = self.variable_dtype
        gamma = tf.cast(self.gamma, dtype) if self.affine else tf.ones(x.shape[-1], dtype)
        beta = tf.cast(self.beta, dtype) if self.affine else tf.zeros(x.shape[-1], dtype)
        # The fused kernel has no float64.
        if self.fused and x.dtype != tf.float64:
            statistics = () if training else (self.moving_mean.value, self.moving_variance.value)
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x, gamma, beta, *statistics, epsilon=BATCH_NORM_EPSILON, is_training=training
            )
            if training:
                self.record(mean, variance)
            return y
        if training:
            mean, variance = tf.nn.moments(tf.cast(x, dtype), (0, 1, 2))
            count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), dtype)
            self.record(mean, variance * count / (count - 1))
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = gamma * tf.math.rsqrt(variance + BATCH_NORM_EPSILON)
        return tf.cast(tf.cast(x, dtype) * scale + (beta - mean * scale), x.dtype)

    def record(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Move the running statistics towards a batch's."""
        for running, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running.value + BATCH_NORM_MOMENTUM * (new - running.value))


def batch_norm(x: tf.Tensor, name: str, affine: bool = True, *, dtype: str) -> tf.Tensor:
    return BatchNorm(affine, name=name, dtype=dtype)(x)


def block_v1(x: tf.Tensor, name: str, channels: int, stride: int, *, dtype: str) -> tf.Tensor:
    """Convolution, norm, ReLU; the ReLU comes last (He et al. 2015, figure 5 left)."""
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = convolution(x, f"{name}.downsample.0", channels, 1, stride, dtype=dtype)
        shortcut = batch_norm(shortcut, f"{name}.downsample.1", dtype=dtype)
    x = convolution(x, f"{name}.conv1", channels, 3, stride, dtype=dtype)
    x = layers.ReLU(dtype=dtype)(batch_norm(x, f"{name}.bn1", dtype=dtype))
    x = convolution(x, f"{name}.conv2", channels, 3, dtype=dtype)
    x = batch_norm(x, f"{name}.bn2", dtype=dtype)
    return layers.ReLU(name=name, dtype=dtype)(layers.Add(dtype=dtype)([x, shortcut]))


def block_v2(
    x: tf.Tensor, activated: tf.Tensor, name: str, channels: int, stride: int, *, dtype: str
) -> tf.Tensor:
    """Norm, ReLU, convolution; nothing after the sum (He et al. 2016, figure 4 e).

    The first norm and ReLU are the caller's to apply, for a head may score their output too.
    """
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = convolution(activated, f"{name}.downsample", channels, 1, stride, dtype=dtype)
    x = convolution(activated, f"{name}.conv1", channels, 3, stride, dtype=dtype)
    x = layers.ReLU(dtype=dtype)(batch_norm(x, f"{name}.bn2", dtype=dtype))
    x = convolution(x, f"{name}.conv2", channels, 3, dtype=dtype)
    return layers.Add(name=name, dtype=dtype)([x, shortcut])


def resnet18(x: tf.Tensor, backbone: str, *, dtype: str) -> list[tf.Tensor]:
    """[B, H, W, 3] to maps after a ReLU: 128 channels at H/8, 256 at H/16, 512 at H/32."""
    v2 = backbone == "resnet18_v2"
    if v2:
        x = batch_norm(x, "backbone.data_bn", affine=False, dtype=dtype)
    x = convolution(x, "backbone.conv1", 64, 7, 2, dtype=dtype)
    x = layers.ReLU(dtype=dtype)(batch_norm(x, "backbone.bn1", dtype=dtype))
    # Zeros do as well as minus infinity after a ReLU.
    x = layers.ZeroPadding2D(1, dtype=dtype)(x)
    x = layers.MaxPooling2D(3, 2, name="backbone.maxpool", dtype=dtype)(x)
    maps = []
    for stage, (channels, stride) in enumerate(STAGES, start=1):
        first, second = (f"backbone.layer{stage}.{number}" for number in range(2))
        if v2:
            # The norm and the ReLU that end the stage before are the first of this one.
            maps.append(layers.ReLU(dtype=dtype)(batch_norm(x, f"{first}.bn1", dtype=dtype)))
            x = block_v2(x, maps[-1], first, channels, stride, dtype=dtype)
            activated = layers.ReLU(dtype=dtype)(batch_norm(x, f"{second}.bn1", dtype=dtype))
            x = block_v2(x, activated, second, channels, 1, dtype=dtype)
        else:
            x = block_v1(x, first, channels, stride, dtype=dtype)
            x = block_v1(x, second, channels, 1, dtype=dtype)
            maps.append(x)
    if v2:
        maps.append(layers.ReLU(dtype=dtype)(batch_norm(x, "backbone.final_bn", dtype=dtype)))
    return maps[-3:]


def transposed_convolution(
    x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, stride: int, upsampling: str
) -> tf.Tensor:
    """Upsample by ``stride`` with a kernel of twice the stride and a padding of half of it.

    ``x`` [B, h, w, inputs], ``weight`` [2 stride, 2 stride, outputs, inputs] and ``bias`` [outputs]
    make [B, stride h, stride w, outputs].

    ``native`` is the framework's operation. ``subpixel`` is the same sum as a 2x2 convolution over
    the map padded by one, with stride x stride x channels outputs, moved from depth to space and
    cropped by half a stride on every side; its taps come reversed.
    """
    half = stride // 2
    outputs, inputs = weight.shape[2:]
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    if upsampling == "native":
        target = (batch, height * stride, width * stride, outputs)
        # SAME is this padding here: (kernel - stride) / 2 is half a stride.
        y = tf.nn.conv2d_transpose(x, weight, target, stride, "SAME")
        return tf.cast(y, bias.dtype) + bias
    # As matrix products, which leave the channels last, and by quarters of a cell: the outputs of a
    # quarter see the same four values, so nothing is computed to be cropped. A convolution with
    # depth_to_space is no faster than TensorFlow's operation.
    taps = tf.reverse(tf.reshape(weight, (2, 2, half, 2, 2, half, outputs, inputs)), (0, 3))
    kernels = tf.transpose(taps, (1, 4, 0, 3, 7, 2, 5, 6))
    kernels = tf.reshape(kernels, (2, 2, 4 * inputs, half * half * outputs))
    x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # By twos, so that no gradient is a sum of more than two terms: see the update in state.py.
    x = tf.concat([x[:, :, :-1], x[:, :, 1:]], -1)
    x = tf.concat([x[:, :-1], x[:, 1:]], -1)

    def half_row(i: int) -> tf.Tensor:
        row, shift = x[:, i : i + height], tf.tile(bias, [half * half])
        quarters = []
        for j in range(2):
            cells = tf.reshape(row[:, :, j : j + width], (-1, 4 * inputs))
            y = tf.cast(tf.matmul(cells, kernels[1 - i, 1 - j]), bias.dtype) + shift
            y = tf.reshape(y, (batch * height, width, half, half * outputs))
            quarters.append(tf.transpose(y, (0, 2, 1, 3)))
        return tf.concat(quarters, -1)

    y = tf.stack([half_row(0), half_row(1)], 1)
    return tf.reshape(y, (batch, stride * height, stride * width, outputs))


class Upsample(layers.Layer):
    """A transposed convolution of the head, [B, h, w, classes] to [B, H, W, classes]."""

    def __init__(self, num_classes: int, stride: int, upsampling: str, **options: object) -> None:
        super().__init__(**options)
        self.num_classes, self.stride, self.upsampling = num_classes, stride, upsampling

    def build(self, shape: tuple[int | None, ...]) -> None:
        size = (2 * self.stride, 2 * self.stride, self.num_classes, self.num_classes)
        self.kernel = self.add_weight(size, initializer="zeros", name="kernel")
        # The bias keeps its precision: its gradient, a sum over all pixels, has the same one.
        self.bias = self.add_weight(
            (self.num_classes,), initializer="zeros", autocast=False, name="bias"
        )

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        upsampling = self.upsampling
        if upsampling == "auto":
            # Without gradients the operation is the faster one for few images: to order the kernel
            # for the products takes as long for one image as for many.
            upsampling = "subpixel" if training else "native"
        weight = tf.cast(self.kernel, x.dtype)
        return transposed_convolution(x, weight, self.bias.value, self.stride, upsampling)


class FCN(keras.Model):
    """uint8 images [B, H, W, 3] to logits [B, H, W, classes], H and W multiples of 32.

    A transposed kernel of size 2s, stride s and padding s / 2 centres a cell half a cell off the
    backbone's odd kernels: docs/PORTING.md, "Heads of several maps", says why that is kept.
    """

    def __init__(self, network: Network, upsampling: str, *, dtype: str) -> None:
        images = keras.Input((None, None, 3), dtype="uint8")
        x = Normalize(name="normalize", dtype=dtype)(images)
        map8, map16, map32 = resnet18(x, network.backbone, dtype=dtype)
        stride, num_classes = HEADS[network.head], network.num_classes
        x = convolution(map32, "final_conv", num_classes, 1, bias=True, dtype=dtype)
        if stride <= 16:
            x = Upsample(num_classes, 2, upsampling, name="up32to16", dtype=dtype)(x)
            scores = convolution(map16, "score16", num_classes, 1, bias=True, dtype=dtype)
            x = layers.Add(name="sum16", dtype=dtype)([x, scores])
        if stride <= 8:
            x = Upsample(num_classes, 2, upsampling, name="up16to8", dtype=dtype)(x)
            scores = convolution(map8, "score8", num_classes, 1, bias=True, dtype=dtype)
            x = layers.Add(name="sum8", dtype=dtype)([x, scores])
        x = Upsample(num_classes, stride, upsampling, name="transpose_conv", dtype=dtype)(x)
        super().__init__(images, x)


class Normalize(layers.Layer):
    """Bytes to ImageNet's mean and deviation, on the device."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        dtype = self.variable_dtype
        return (tf.cast(images, dtype) / 255 - tf.cast(MEAN, dtype)) / tf.cast(STD, dtype)

    def compute_output_spec(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, self.variable_dtype)


def create_model(config: Config) -> FCN:
    """Return the network of ``config``, its parameters not yet those of a training."""
    dtype = {"bfloat16": "mixed_bfloat16", "float64": "float64"}.get(config.precision, "float32")
    model = FCN(config.recipe.network, config.upsampling, dtype=dtype)
    for norm in (layer for layer in model.layers if isinstance(layer, BatchNorm)):
        norm.fused = "fused-norm" not in config.without
    return model
