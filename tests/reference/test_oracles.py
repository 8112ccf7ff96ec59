"""The reference against torchvision's own ResNet-18 and the one of Gluon's model zoo."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.parameters.names import is_statistic, layer_names
from common.parameters.names import layers as network_layers
from common.recipes import Network
from common.reference import network as reference
from common.reference.distances import relative_error
from common.reference.inputs import keep_off_the_kinks, probe_batch, probe_parameters, probe_recipe
from tests.conftest import required


@pytest.fixture
def torch() -> Any:
    return required("torch", "torch")


def torchvision_network(torch: Any, parameters: dict[str, NDArray]) -> Any:
    """Return torchvision's network with torch's own layers as its head, in float64."""
    torchvision = required("torch", "torchvision")
    network = torch.nn.ModuleDict(
        {
            "backbone": torchvision.models.resnet18(weights=None),
            "final_conv": torch.nn.Conv2d(512, 21, 1),
            "transpose_conv": torch.nn.ConvTranspose2d(21, 21, 64, padding=16, stride=32),
        }
    ).double()
    network["backbone"].fc = torch.nn.Identity()
    state = {name: torch.from_numpy(value) for name, value in parameters.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network


def torchvision_forward(network: Any, x: Any) -> Any:
    backbone = network["backbone"]
    x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x))))
    for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        x = layer(x)
    return network["transpose_conv"](network["final_conv"](x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("height, width", [(64, 96), (65, 93)])
def test_v1_layers_equal_torchvision(torch: Any, training: bool, height: int, width: int) -> None:
    parameters, (images, _) = probe_parameters(Network("resnet18_v1")), probe_batch(height, width)
    passed = reference.forward(parameters, images, Network("resnet18_v1"), training)
    network = torchvision_network(torch, parameters).train(training)
    outputs: dict[str, NDArray] = {}
    names = layer_names(Network("resnet18_v1"))[1:]
    for name in names:

        def record(module: object, inputs: object, output: Any, name: str = name) -> None:
            outputs[name] = output.numpy().transpose(0, 2, 3, 1).copy()

        network.get_submodule(name).register_forward_hook(record)
    with torch.no_grad():
        normalized = passed.layers["normalize"].transpose(0, 3, 1, 2)
        torchvision_forward(network, torch.from_numpy(normalized))
    for name in names:
        assert relative_error(passed.layers[name], outputs[name]) < 1e-12, name


def test_v1_training_equals_torchvision_and_torch_optim(torch: Any) -> None:
    recipe, momentum = probe_recipe("resnet18_v1"), {}
    parameters = probe_parameters(Network("resnet18_v1"))
    network = torchvision_network(torch, parameters).train()
    optimizer = torch.optim.SGD(network.parameters(), momentum=0.9, weight_decay=0.1)
    for step, rate in enumerate((0.02, 0.01, 0.015)):
        images, labels = probe_batch(32, 64, seed=step)
        labels[1] = 255 if step == 1 else labels[1]
        _, gradients, _ = reference.gradients(parameters, images, labels, recipe)
        x = reference.forward(parameters, images, Network("resnet18_v1"), True).layers["normalize"]
        parameters, momentum, value = reference.train_step(
            parameters, momentum, images, labels, recipe, rate
        )

        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        logits = torchvision_forward(network, torch.from_numpy(x.transpose(0, 3, 1, 2)))
        targets = torch.from_numpy(labels.astype(np.int64))
        losses = torch.nn.functional.cross_entropy(
            logits, targets, ignore_index=255, reduction="none"
        )
        valid = (targets != 255).sum((1, 2)).clamp(min=1)
        loss = (losses.sum((1, 2)) / valid).mean()
        loss.backward()
        optimizer.step()

        assert value == pytest.approx(loss.item(), rel=1e-11)
        weights = dict(network.named_parameters())
        assert set(gradients) == set(weights)
        for name, gradient in gradients.items():
            assert relative_error(gradient, weights[name].grad.numpy()) < 1e-9, name
        state = network.state_dict()
        for name, new in parameters.items():
            assert relative_error(new, state[name].numpy()) < 1e-11, name


def gluon_blocks(network: Any) -> Iterator[tuple[str, Any]]:
    """Yield the canonical name of everything in Gluon's network that holds parameters."""
    features = network.features
    yield from zip(("data_bn", "conv1", "bn1"), features[:3], strict=True)
    for stage in range(1, 5):
        for index, block in enumerate(features[4 + stage]):
            for part in ("bn1", "conv1", "bn2", "conv2", "downsample"):
                if getattr(block, part) is not None:
                    yield f"layer{stage}.{index}.{part}", getattr(block, part)
    yield "final_bn", features[9]


GLUON_PARTS = {
    "weight": "weight",
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


def gluon_network(mxnet: Any, parameters: dict[str, NDArray]) -> tuple[Any, dict[str, Any]]:
    """Return Gluon's network and its parameters by canonical name."""
    network = mxnet.gluon.model_zoo.vision.resnet18_v2()
    network.initialize()
    network(mxnet.nd.zeros((1, 3, 64, 64)))
    by_name = {}
    for name, block in gluon_blocks(network):
        for part, parameter in block.params.items():
            part = GLUON_PARTS[part.removeprefix(block.prefix)]
            if name != "data_bn" or is_statistic(part):
                by_name[f"backbone.{name}.{part}"] = parameter
    for name, parameter in by_name.items():
        parameter.set_data(mxnet.nd.array(parameters[name]))
    return network, by_name


def gluon_forward(mxnet: Any, network: Any, head: dict[str, Any], x: Any) -> Any:
    for block in network.features[:11]:
        x = block(x)
    x = mxnet.nd.Convolution(
        x, head["final_conv.weight"], head["final_conv.bias"], kernel=(1, 1), num_filter=21
    )
    upsampling = {"kernel": (64, 64), "stride": (32, 32), "pad": (16, 16), "num_filter": 21}
    weight, bias = head["transpose_conv.weight"], head["transpose_conv.bias"]
    return mxnet.nd.Deconvolution(x, weight, bias, no_bias=False, **upsampling)


@pytest.mark.parametrize("training", [False, True])
def test_v2_equals_gluon(training: bool) -> None:
    required("mxnet", "mxnet_impl")  # Gives NumPy the names back that MXNet's import needs.
    mxnet = required("mxnet", "mxnet")
    recipe, parameters = probe_recipe("resnet18_v2"), probe_parameters(Network("resnet18_v2"))
    if training:
        parameters = keep_off_the_kinks(parameters)
    images, labels = probe_batch(64, 96)
    passed = reference.forward(parameters, images, Network("resnet18_v2"), training)
    network, by_name = gluon_network(mxnet, parameters)
    assert set(by_name) == {name for name in parameters if name.startswith("backbone.")}

    outputs: dict[str, NDArray] = {}
    layers = {f"backbone.{name}": block for name, block in gluon_blocks(network)}
    layers["backbone.maxpool"] = network.features[4]
    for stage in range(1, 5):
        for index, block in enumerate(network.features[4 + stage]):
            layers[f"backbone.layer{stage}.{index}"] = block
    assert set(layers) == set(layer_names(Network("resnet18_v2"))[1:-2])
    for name, block in layers.items():

        def record(block: object, inputs: object, output: Any, name: str = name) -> None:
            outputs[name] = output.asnumpy().transpose(0, 2, 3, 1)

        block.register_forward_hook(record)

    x = mxnet.nd.array(passed.layers["normalize"].transpose(0, 3, 1, 2))
    head = {
        name: mxnet.nd.array(value)
        for name, value in parameters.items()
        if not name.startswith("backbone.")
    }
    # On a CPU a norm moves its statistics in its backward pass: the first one runs for x alone.
    for value in (x, *head.values()):
        value.attach_grad()
    with mxnet.autograd.record(train_mode=training):
        logits = gluon_forward(mxnet, network, head, x)
    for name, output in outputs.items():
        assert relative_error(output, passed.layers[name]) < 1e-5, name
    assert relative_error(logits.asnumpy().transpose(0, 2, 3, 1), passed.logits) < 1e-5
    if not training:
        return

    _, gradients, statistics = reference.gradients(parameters, images, labels, recipe)
    logits_gradient = reference.loss_gradient(passed.logits, labels, recipe)
    logits.backward(mxnet.nd.array(logits_gradient.transpose(0, 3, 1, 2)))
    for name, gradient in gradients.items():
        of_gluon = head[name].grad if name in head else by_name[name].grad()
        # bn1's bias goes through open ReLUs straight into norms: its exact gradient is 0. What
        # rounding leaves of its sum is small beside the sum of its weight, over the same pixels.
        summed = "backbone.bn1.weight" if name == "backbone.bn1.bias" else name
        error = np.linalg.norm(of_gluon.asnumpy() - gradient)
        assert error < 1e-4 * np.linalg.norm(gradients[summed]), name
    layer_of = {
        name: layer.name
        for layer in network_layers(Network("resnet18_v2"))
        for name in layer.shapes
    }
    for name, new in statistics.items():
        output = passed.values[layer_of[name]]
        n = output.size // output.shape[3]
        # Gluon's running variance is the biased one on a CPU.
        scale = (n - 1) / n if name.endswith("running_var") else 1.0
        expected = 0.9 * parameters[name] + scale * (new - 0.9 * parameters[name])
        assert relative_error(by_name[name].data().asnumpy(), expected) < 1e-5, name
