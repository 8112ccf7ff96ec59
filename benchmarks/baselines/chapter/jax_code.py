"""The chapter's network and step as a reader writes them in Flax NNX: jitted, NHWC."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from benchmarks.baselines.chapter import State, check_chapter
from benchmarks.baselines.chapter.jax_loader import create_loader
from common.classes import VOID
from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import NUM_CLASSES, STAGES, Parameters
from common.recipes import STRIDE
from jax_impl import device
from jax_impl.device import to_device, to_host
from jax_impl.weights import canonical_parameters, from_canonical, load_parameters

LAYOUT, COMPILED, PRECISIONS = "NHWC", "nnx.jit", ("float32", "tf32")


def describe(config: Config) -> dict[str, Any]:
    """Return what the package does, with the version of Grain."""
    record = device.describe(config)
    with suppress(metadata.PackageNotFoundError):  # Only loading needs it.
        record["versions"]["grain"] = metadata.version("grain")
    return record


def configure(config: Config) -> None:
    """Set JAX's process-wide switches, but none of XLA's that a reader does not set."""
    device.configure(replace(config, without=("eigen-convolutions",)))


def convolution(inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    padding = size // 2
    return nnx.Conv(
        inputs, outputs, (size, size), stride, padding=padding, use_bias=False, rngs=rngs
    )


class Block(nnx.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(inputs, outputs, 3, stride, rngs)
        self.bn1 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.conv2 = convolution(outputs, outputs, 3, 1, rngs)
        self.bn2 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.downsample = nnx.data(None)
        if inputs != outputs:
            self.downsample = nnx.Sequential(
                convolution(inputs, outputs, 1, stride, rngs),
                nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs),
            )

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(3, 64, 7, 2, rngs)
        self.bn1 = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
        inputs = 64
        for stage, (outputs, stride) in enumerate(STAGES, start=1):
            blocks = Block(inputs, outputs, stride, rngs), Block(outputs, outputs, 1, rngs)
            setattr(self, f"layer{stage}", nnx.Sequential(*blocks))
            inputs = outputs

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.bn1(self.conv1(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def upsampling(rngs: nnx.Rngs) -> nnx.ConvTranspose:
    return nnx.ConvTranspose(
        NUM_CLASSES,
        NUM_CLASSES,
        (2 * STRIDE, 2 * STRIDE),
        (STRIDE, STRIDE),
        transpose_kernel=True,
        rngs=rngs,
    )


class FCN(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.backbone = ResNet18(rngs)
        self.final_conv = nnx.Conv(512, NUM_CLASSES, (1, 1), rngs=rngs)
        self.transpose_conv = upsampling(rngs)

    def __call__(self, images: Array) -> Array:
        x = (images.astype(jnp.float32) / 255 - MEAN) / STD
        return self.transpose_conv(self.final_conv(self.backbone(x)))


def create_state(config: Config, parameters: Parameters) -> State:
    check_chapter(config)
    # The shapes alone: all parameters are loaded, so none is drawn.
    net = nnx.eval_shape(lambda: FCN(nnx.Rngs(0)))
    load_parameters(net, parameters)
    # optax's own SGD has no decay of this kind.
    sgd = optax.chain(
        optax.add_decayed_weights(config.recipe.weight_decay),
        optax.inject_hyperparams(optax.sgd)(config.recipe.learning_rate),
    )
    return State(config, net, nnx.Optimizer(net, sgd, wrt=nnx.Param))


def batch_loss(logits: Array, labels: Array, summed: bool) -> Array:
    loss = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.where(labels == VOID, 0, labels)
    ).mean((1, 2))
    return loss.sum() if summed else loss.mean()


@nnx.jit(static_argnames="summed")
def _train_step(
    net: FCN, optimizer: nnx.Optimizer, images: Array, labels: Array, summed: bool
) -> Array:
    loss, gradients = nnx.value_and_grad(lambda net: batch_loss(net(images), labels, summed))(net)
    optimizer.update(net, gradients)
    return loss


def train_step(
    state: State, images: Array, labels: Array, learning_rate: float
) -> tuple[State, Array]:
    state.model.train()
    state.optimizer.opt_state[1].hyperparams["learning_rate"][...] = learning_rate
    summed = state.config.recipe.loss_reduction == "sum"
    return state, _train_step(state.model, state.optimizer, images, labels, summed=summed)


@nnx.jit
def _predict_step(net: FCN, images: Array) -> Array:
    return net(images)


def predict_step(state: State, images: Array) -> Array:
    """Return logits [B, H, W, classes]."""
    state.model.eval()
    return _predict_step(state.model, images)


def predict_area(state: State, area: NDArray) -> NDArray:
    """Return the classes, uint8 [H, W], of an area [H, W, 3] of the crop's size: one at a time."""
    logits = predict_step(state, to_device(area[None], state.config))
    return to_host(logits.argmax(axis=-1).astype(jnp.uint8))[0]


def parameters_of(state: State) -> Parameters:
    return canonical_parameters(nnx.state(state.model))


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias)."""
    layer = upsampling(nnx.Rngs(0))
    layer.kernel[...] = jnp.asarray(from_canonical(weight))
    layer.bias[...] = jnp.asarray(bias)
    structure, parameters = nnx.split(layer)

    @jax.jit
    def step(parameters: nnx.State, x: Array, gradient: Array) -> tuple[Array, ...]:
        y, pull = jax.vjp(lambda own, x: nnx.merge(structure, own)(x), parameters, x)
        own, x_gradient = pull(gradient)
        return y, x_gradient, own["kernel"][...], own["bias"][...]

    return lambda x, gradient: step(parameters, x, gradient)


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits)."""
    summed = config.recipe.loss_reduction == "sum"
    return jax.jit(jax.value_and_grad(lambda logits, labels: batch_loss(logits, labels, summed)))
