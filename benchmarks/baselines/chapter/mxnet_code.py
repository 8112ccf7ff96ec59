"""The chapter's network and step as a reader writes them in MXNet Gluon: imperative, NCHW."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from benchmarks.baselines.chapter import State, check_chapter
from benchmarks.baselines.chapter.mxnet_loader import create_loader
from common.classes import VOID
from common.config import Config
from common.data.images import MEAN, STD
from common.parameters.names import NUM_CLASSES, Parameters, parameter_shapes
from common.recipes import STRIDE, Network
from mxnet_impl.device import device_of, to_device, to_host
from mxnet_impl.measure import layer_operation

# Importable since mxnet_impl gave back the NumPy names that it takes.
from mxnet import autograd, gluon, nd  # isort: skip
from mxnet.gluon import nn  # isort: skip

LAYOUT, COMPILED, PRECISIONS = "NCHW", "imperative", ("float32", "tf32")
LAYERS = {"resnet18_v1": -1, "resnet18_v2": -2}
"""What comes before the pooling and, in the second version, a flattening."""


entropy = gluon.loss.SoftmaxCrossEntropyLoss(axis=1)


def create_state(config: Config, parameters: Parameters) -> State:
    backbone = config.recipe.backbone
    check_chapter(config, tuple(LAYERS))
    net = nn.HybridSequential()
    net.add(
        *gluon.model_zoo.vision.get_model(backbone).features[: LAYERS[backbone]],
        nn.Conv2D(NUM_CLASSES, kernel_size=1, in_channels=512),
        upsampling(),
    )
    net.initialize(ctx=device_of(config))
    for name, parameter in named_parameters(net, backbone).items():
        parameter.set_data(nd.array(parameters[name]))
    recipe = config.recipe
    options = {"learning_rate": recipe.learning_rate, "wd": recipe.weight_decay}
    trainer = gluon.Trainer(net.collect_params(), "sgd", options)
    return State(config, net, trainer)


def upsampling() -> nn.Conv2DTranspose:
    return nn.Conv2DTranspose(
        NUM_CLASSES,
        kernel_size=2 * STRIDE,
        padding=STRIDE // 2,
        strides=STRIDE,
        in_channels=NUM_CLASSES,
    )


def named_parameters(net: nn.HybridSequential, backbone: str) -> dict[str, gluon.Parameter]:
    """Return canonical name -> parameter: Gluon's order is that of the canonical names."""
    own = list(net.collect_params().values())
    if backbone == "resnet18_v2":
        # The norm on the input has a scale and a shift all the same, of 1 and 0.
        own = own[2:]
    return dict(zip(parameter_shapes(Network(backbone)), own, strict=True))


def normalize(images: nd.NDArray) -> nd.NDArray:
    mean, std = (nd.array(value, images.context) for value in (MEAN, STD))
    return ((images.astype("float32") / 255 - mean) / std).transpose((0, 3, 1, 2))


def classes(labels: nd.NDArray) -> nd.NDArray:
    labels = labels.astype("float32")
    return labels * (labels != VOID)


def train_step(
    state: State, images: nd.NDArray, labels: nd.NDArray, learning_rate: float
) -> tuple[State, nd.NDArray]:
    state.optimizer.set_learning_rate(learning_rate)
    x, y = normalize(images), classes(labels)
    with autograd.record():
        loss = entropy(state.model(x), y)
    loss.backward()
    mean = state.config.recipe.loss_reduction == "mean"
    state.optimizer.step(len(images) if mean else 1)
    return state, (loss.mean() if mean else loss.sum()).as_np_ndarray()


def predict_step(state: State, images: nd.NDArray) -> nd.NDArray:
    """Return logits [B, H, W, classes]."""
    return state.model(normalize(images)).transpose((0, 2, 3, 1))


def predict_area(state: State, area: NDArray) -> NDArray:
    """Return the classes, uint8 [H, W], of an area [H, W, 3] of the crop's size: one at a time."""
    logits = predict_step(state, to_device(area[None], state.config))
    return to_host(logits.argmax(axis=-1).astype("uint8"))[0]


def parameters_of(state: State) -> Parameters:
    named = named_parameters(state.model, state.config.recipe.backbone)
    return {name: parameter.data().asnumpy() for name, parameter in named.items()}


def upsample_operation(config: Config, weight: NDArray, bias: NDArray) -> Callable[..., Any]:
    """Return f(x, gradient) -> (y, gradients of x, weight and bias)."""
    layer = upsampling()
    layer.initialize(ctx=device_of(config))
    return layer_operation(layer, config, weight, bias)


def loss_operation(config: Config) -> Callable[..., Any]:
    """Return f(logits, labels) -> (loss, gradient of the logits)."""
    mean = config.recipe.loss_reduction == "mean"

    def step(logits: nd.NDArray, labels: nd.NDArray) -> tuple[Any, nd.NDArray]:
        if logits.grad is None:
            logits.attach_grad()
        with autograd.record():
            loss = entropy(logits, classes(labels))
            loss = loss.mean() if mean else loss.sum()
        loss.backward()
        return loss.as_np_ndarray(), logits.grad

    return step
