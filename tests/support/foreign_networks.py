"""torchvision's and Gluon's own networks with nothing at its start value, and their features."""

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.data.images import MEAN, STD

GLUON_FEATURES = {"resnet18_v1": 8, "resnet18_v2": 11}
"""How many of the zoo's ``features`` come before its pooling."""


def random_images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``images`` as these networks take them, [B, 3, H, W]."""
    return ((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


def gluon_network(backbone: str) -> SimpleNamespace:
    """Return a network of Gluon's zoo, images, and the features [B, h, w, 512] it has of them."""
    importlib.import_module("mxnet_impl")  # Gives NumPy the names back that MXNet's import needs.
    mx = importlib.import_module("mxnet")
    generator = np.random.default_rng(0)
    network = mx.gluon.model_zoo.vision.get_model(backbone, classes=10)
    network.initialize(mx.init.Xavier())
    images = random_images()
    x = mx.nd.array(normalized(images))
    network(x)
    shuffle_values(network, generator)
    for layer in range(GLUON_FEATURES[backbone]):
        x = network.features[layer](x)
    features = x.asnumpy().transpose(0, 2, 3, 1)
    return SimpleNamespace(network=network, images=images, features=features)


def shuffle_values(network: Any, generator: np.random.Generator) -> None:
    """Give the norms of a Gluon network values that are not those of a start."""
    mx = importlib.import_module("mxnet")
    for parameter in network.collect_params().values():
        if parameter.name.endswith(("gamma", "running_var")):
            parameter.set_data(mx.nd.array(generator.uniform(0.5, 1.5, parameter.shape)))
        elif parameter.name.endswith("running_mean") or (
            parameter.name.endswith("beta") and parameter.grad_req != "null"
        ):
            parameter.set_data(mx.nd.array(generator.normal(0, 0.3, parameter.shape)))


def gluon_chapter_network(
    backbone: str, nested: bool
) -> tuple[Any, NDArray[np.float32], NDArray[np.uint8]]:
    """Return the network of the chapter's MXNet tab, its logits [B, H, W, 21], and the images.

    ``nested`` adds the backbone's layers as one, as ``net.add(features[:-2])`` does.
    """
    importlib.import_module("mxnet_impl")
    mx = importlib.import_module("mxnet")
    nn = mx.gluon.nn
    features = mx.gluon.model_zoo.vision.get_model(backbone).features
    features = features[: GLUON_FEATURES[backbone]]
    network = nn.HybridSequential()
    network.add(*([features] if nested else features))
    network.add(
        nn.Conv2D(21, kernel_size=1),
        nn.Conv2DTranspose(21, kernel_size=64, padding=16, strides=32),
    )
    network.initialize(mx.init.Xavier())
    network.hybridize()
    images = random_images()
    x = mx.nd.array(normalized(images))
    network(x)
    generator = np.random.default_rng(0)
    shuffle_values(network, generator)
    for layer in (network[-2], network[-1]):
        layer.bias.set_data(mx.nd.array(generator.normal(0, 0.3, 21)))
    return network, network(x).asnumpy().transpose(0, 2, 3, 1), images


def torchvision_features(network: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features [B, h, w, 512] that torchvision's ``resnet18`` pools."""
    torch = importlib.import_module("torch")
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    network.eval()
    with torch.no_grad():
        x = torch.from_numpy(normalized(images))
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        for stage in stages:
            x = stage(x)
    return x.numpy().transpose(0, 2, 3, 1)


def torchvision_network() -> SimpleNamespace:
    """Return torchvision's ``resnet18``, images, and the features it has of them."""
    torch = importlib.import_module("torch")
    torchvision = importlib.import_module("torchvision")
    generator = np.random.default_rng(0)
    network = torchvision.models.resnet18(weights=None)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            tensor.copy_(torch.from_numpy(generator.uniform(0.5, 1.5, tensor.shape)))
        elif name.endswith(("running_mean", "bias")):
            tensor.copy_(torch.from_numpy(generator.normal(0, 0.3, tensor.shape)))
    images = random_images()
    features = torchvision_features(network, images)
    return SimpleNamespace(network=network, images=images, features=features)


def chapter_network(biased: bool = True) -> Any:
    """Return the network of the chapter's PyTorch tab; ``biased`` is its transposed convolution."""
    nn = importlib.import_module("torch").nn
    network = nn.Sequential(*list(torchvision_network().network.children())[:-2])
    network.add_module("final_conv", nn.Conv2d(512, 21, kernel_size=1))
    upsampling = nn.ConvTranspose2d(21, 21, kernel_size=64, padding=16, stride=32, bias=biased)
    network.add_module("transpose_conv", upsampling)
    return network.eval()


def chapter_logits(network: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits [B, H, W, 21] that the chapter's PyTorch network has of ``images``."""
    torch = importlib.import_module("torch")
    with torch.no_grad():
        logits = network(torch.from_numpy(normalized(images)))
    return logits.numpy().transpose(0, 2, 3, 1)
