"""The chapter's network and step as a reader writes them in Keras: tf.function, no XLA, NHWC."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

import tf_impl
from benchmarks.baselines import chapter
from benchmarks.baselines.chapter.tf_loader import create_loader
from common.config import Config
from common.data.images import MEAN, STD
from common.data.voc import VOID
from common.parameters.names import NUM_CLASSES, STAGES, Parameters
from common.recipes import STRIDE
from tf_impl import (
    configure,
    describe,
    device_memory_peak,
    synchronize,
    to_canonical,
    to_device,
    to_host,
)
from tf_impl.device import device_of
from tf_impl.weights import from_canonical, load_parameters, variables_of

LAYOUT = "NHWC"
precisions = chapter.precisions_of(tf_impl, ("float32", "tf32"))
switches = chapter.switches_of(tf_impl, "tf.function", LAYOUT)


def entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


@dataclass(eq=False)
class State:
    config: Config
    net: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss = field(default_factory=entropy)


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
    x = upsampling()(x)
    return keras.Model(images, x)


def create_state(config: Config, parameters: Parameters) -> State:
    chapter.check_chapter(config)
    net = create_net()
    load_parameters(net, parameters)
    # Keras' decay is decoupled, which is the same as long as there is no momentum.
    optimizer = keras.optimizers.SGD(
        config.recipe.learning_rate, weight_decay=config.recipe.weight_decay
    )
    optimizer.build(net.trainable_variables)
    return State(config, net, optimizer)


def batch_loss(
    loss: keras.losses.Loss, logits: tf.Tensor, labels: tf.Tensor, config: Config
) -> tf.Tensor:
    labels = tf.where(labels == VOID, tf.zeros_like(labels), labels)
    images = tf.reduce_mean(loss(labels, logits), (1, 2))
    summed = config.recipe.loss_reduction == "sum"
    return tf.reduce_sum(images) if summed else tf.reduce_mean(images)


@tf.function
def _train_step(state: State, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        logits = state.net(tf.cast(images, tf.float32), training=True)
        loss = batch_loss(state.loss, logits, labels, state.config)
    variables = state.net.trainable_variables
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
    return state.net(tf.cast(images, tf.float32), training=False)


def predict_area(state: State, area: NDArray) -> NDArray:
    """Return the classes, uint8 [H, W], of an area [H, W, 3] of the crop's size: one at a time."""
    logits = predict_step(state, to_device(area[None], state.config))
    return to_host(tf.cast(tf.argmax(logits, axis=-1), tf.uint8))[0]


def parameters_of(state: State) -> Parameters:
    named = variables_of(state.net)
    return {name: to_canonical(name, value.numpy()).copy() for name, value in named.items()}


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias)."""
    with tf.device(device_of(config)):
        layer = upsampling()
        layer.build((None, None, None, NUM_CLASSES))
        layer.set_weights([from_canonical("transpose_conv.weight", weight), bias])

    @tf.function
    def step(x: tf.Tensor, gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        own = layer.trainable_variables
        x_gradient, *gradients = tape.gradient(y, [x, *own], gradient)
        return y, x_gradient, *gradients

    return step


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits)."""
    own = entropy()

    @tf.function
    def step(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = batch_loss(own, logits, labels, config)
        return loss, tape.gradient(loss, logits)

    return step
