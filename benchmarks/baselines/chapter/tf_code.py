"""The chapter's network and step as a reader writes them in Keras: tf.function, no XLA, NHWC."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from benchmarks.baselines.chapter import State, check_chapter
from benchmarks.baselines.chapter.tf_loader import create_loader
from common.classes import VOID
from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import NUM_CLASSES, STAGES, Parameters
from common.recipes import STRIDE
from tf_impl.device import device_of, to_device, to_host
from tf_impl.measure import layer_operation
from tf_impl.weights import load_parameters

LAYOUT, COMPILED, PRECISIONS = "NHWC", "tf.function", ("float32", "tf32")

entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


def upsampling() -> layers.Layer:
    return layers.Conv2DTranspose(
        NUM_CLASSES, 2 * STRIDE, strides=STRIDE, padding="same", name="transpose_conv"
    )


def convolution(x: tf.Tensor, name: str, channels: int, size: int, stride: int) -> tf.Tensor:
    if size > 1:
        x = layers.ZeroPadding2D(size // 2)(x)
    return layers.Conv2D(channels, size, strides=stride, use_bias=False, name=name)(x)


def batch_norm(x: tf.Tensor, name: str) -> tf.Tensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def block(x: tf.Tensor, name: str, channels: int, stride: int) -> tf.Tensor:
    y = convolution(x, f"{name}.conv1", channels, 3, stride)
    y = layers.ReLU()(batch_norm(y, f"{name}.bn1"))
    y = batch_norm(convolution(y, f"{name}.conv2", channels, 3, 1), f"{name}.bn2")
    if x.shape[-1] != channels:
        x = convolution(x, f"{name}.downsample.0", channels, 1, stride)
        x = batch_norm(x, f"{name}.downsample.1")
    return layers.ReLU()(layers.Add()([y, x]))


def create_net() -> keras.Model:
    images = keras.Input((None, None, 3))
    x = layers.Rescaling((1 / 255 / STD).tolist(), (-MEAN / STD).tolist())(images)
    x = convolution(x, "backbone.conv1", 64, 7, 2)
    x = layers.ReLU()(batch_norm(x, "backbone.bn1"))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for stage, (channels, stride) in enumerate(STAGES, start=1):
        x = block(x, f"backbone.layer{stage}.0", channels, stride)
        x = block(x, f"backbone.layer{stage}.1", channels, 1)
    x = layers.Conv2D(NUM_CLASSES, 1, name="final_conv")(x)
    return keras.Model(images, upsampling()(x))


def create_state(config: Config, parameters: Parameters) -> State:
    check_chapter(config)
    net = create_net()
    load_parameters(net, parameters)
    # Keras' decay is decoupled, which is the same as long as there is no momentum.
    optimizer = keras.optimizers.SGD(
        config.recipe.learning_rate, weight_decay=config.recipe.weight_decay
    )
    optimizer.build(net.trainable_variables)
    return State(config, net, optimizer)


def batch_loss(logits: tf.Tensor, labels: tf.Tensor, config: Config) -> tf.Tensor:
    labels = tf.where(labels == VOID, tf.zeros_like(labels), labels)
    images = tf.reduce_mean(entropy(labels, logits), (1, 2))
    summed = config.recipe.loss_reduction == "sum"
    return tf.reduce_sum(images) if summed else tf.reduce_mean(images)


@tf.function
def _train_step(state: State, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        logits = state.model(tf.cast(images, tf.float32), training=True)
        loss = batch_loss(logits, labels, state.config)
    variables = state.model.trainable_variables
    state.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss


def train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: float
) -> tuple[State, tf.Tensor]:
    state.optimizer.learning_rate = learning_rate
    return state, _train_step(state, images, labels)


@tf.function
def predict_step(state: State, images: tf.Tensor) -> tf.Tensor:
    """Return logits [B, H, W, classes]."""
    return state.model(tf.cast(images, tf.float32), training=False)


def predict_area(state: State, area: NDArray) -> NDArray:
    """Return the classes, uint8 [H, W], of an area [H, W, 3] of the crop's size: one at a time."""
    logits = predict_step(state, to_device(area[None], state.config))
    return to_host(tf.cast(tf.argmax(logits, axis=-1), tf.uint8))[0]


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias)."""
    with tf.device(device_of(config)):
        layer = upsampling()
        layer.build((None, None, None, NUM_CLASSES))
    return layer_operation(layer, config, weight, bias)


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits)."""

    @tf.function
    def step(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = batch_loss(logits, labels, config)
        return loss, tape.gradient(loss, logits)

    return step
