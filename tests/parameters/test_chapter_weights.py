"""The chapter's own network, as its reader saves it, is imported whole and keeps its logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cli import main as fcn
from common.data.images import write_image
from common.parameters.files import read_parameters, read_weights, starting_parameters
from common.parameters.names import Parameters
from common.parameters.schemes import canonical
from common.parameters.tensors import TensorFile
from common.recipes import Network, make_recipe
from common.reference.distances import relative_error
from common.reference.network import forward
from common.reference.tolerances import bound
from tests.conftest import required
from tests.support.foreign_networks import (
    chapter_logits,
    chapter_network,
    gluon_chapter_network,
    random_images,
)

# In one worker, so that the framework is imported once.
pytestmark = pytest.mark.xdist_group("every framework")


def reference_logits(parameters: Any, backbone: str, images: NDArray[np.uint8]) -> NDArray:
    exact = {name: array.astype(np.float64) for name, array in parameters.items()}
    return forward(exact, images, Network(backbone), False).layers["transpose_conv"]


def check_same_logits(path: Path, backbone: str, logits: NDArray, images: NDArray) -> list[str]:
    """Assert that the network in ``path`` has these logits; return what was changed in reading."""
    parameters, changes, _ = read_weights(str(path))
    assert relative_error(reference_logits(parameters, backbone, images), logits) < bound("logits")
    return changes


@pytest.fixture(scope="module")
def torch_chapter() -> Any:
    required("torch", "torch")
    return chapter_network()


@pytest.mark.parametrize("biased", [True, False], ids=["biased", "without a bias"])
def test_the_pytorch_tabs_network_keeps_its_logits(biased: bool, tmp_path: Path) -> None:
    torch = required("torch", "torch")
    network, path = chapter_network(biased), tmp_path / "fcn.pth"
    assert {"0.weight", "4.0.conv1.weight", "final_conv.bias"} <= network.state_dict().keys()
    torch.save(network.state_dict(), path)
    images = random_images()
    changes = check_same_logits(path, "resnet18_v1", chapter_logits(network, images), images)
    zero = "transpose_conv.bias, which is not in it, taken as 0"
    assert changes == ([] if biased else [zero])


@pytest.mark.slow
def test_import_and_training_take_it_whole(
    torch_chapter: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = required("torch", "torch")
    path, out = tmp_path / "fcn.pth", tmp_path / "fcn.safetensors"
    torch.save(torch_chapter.state_dict(), path)
    assert fcn(["weights", "import", str(path), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{out}: fcn32s on resnet18_v1, 21 classes, 104 tensors")
    assert f"--weights {out}" in lines[-1] and lines[-1].startswith("next: fcn predict")
    parameters, metadata = read_parameters(out)
    assert metadata == {"backbone": "resnet18_v1", "head": "fcn32s", "source": "fcn.pth"}
    started = starting_parameters(make_recipe("chapter-torch"), 0, path)
    check_equal(started, parameters)
    weight = torch_chapter.state_dict()["final_conv.weight"].numpy()
    np.testing.assert_array_equal(started["final_conv.weight"], weight)


@pytest.mark.slow
def test_prediction_takes_it_as_it_is(torch_chapter: Any, tmp_path: Path) -> None:
    torch = required("torch", "torch")
    path, image = tmp_path / "fcn.pth", tmp_path / "image.png"
    torch.save(torch_chapter.state_dict(), path)
    write_image(image, random_images()[0])
    options = ["--backend", "torch", "--weights", str(path), "--no-progress"]
    assert fcn(["predict", *options, "--out", str(tmp_path / "out"), str(image)]) == 0
    assert (tmp_path / "out" / "image.png").is_file()


def wrapped(torch: Any, network: Any) -> dict[str, Any]:
    """Return the network as programs wrap it, by a word for each way."""
    nn = torch.nn
    inside = nn.Sequential(nn.Sequential(*list(network.children())[:-2]), network[-2], network[-1])
    return {
        "in one Sequential": nn.Sequential(*network.children()),
        "in a Sequential of three": inside,
        "data parallel": nn.DataParallel(network),
        "compiled": torch.compile(network),
        "compiled and data parallel": nn.DataParallel(torch.compile(network)),
        "averaged": torch.optim.swa_utils.AveragedModel(network),
    }


def test_what_pytorch_wraps_around_it_is_taken_off(torch_chapter: Any) -> None:
    def read(network: Any) -> Parameters:
        arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        types = {name: str(array.dtype) for name, array in arrays.items()}
        return canonical(Path("fcn.pth"), TensorFile(arrays, types, {})).parameters

    expected = read(torch_chapter)
    for word, network in wrapped(required("torch", "torch"), torch_chapter).items():
        check_equal(read(network), expected, word)


def check_equal(actual: Parameters, expected: Parameters, word: object = None) -> None:
    assert actual.keys() == expected.keys(), word
    assert all(np.array_equal(actual[name], expected[name]) for name in expected), word


@pytest.mark.parametrize("backbone", ["resnet18_v2", "resnet18_v1"])
def test_the_mxnet_tabs_network_keeps_its_logits(backbone: str, tmp_path: Path) -> None:
    required("mxnet", "mxnet_impl")
    network, logits, images = gluon_chapter_network(backbone, nested=False)
    paths = [tmp_path / name for name in ("structural.params", "counted.params")]
    network.save_parameters(str(paths[0]))
    network.collect_params().save(str(paths[1]))
    network.export(str(tmp_path / "exported"))
    check_same_logits(paths[0], backbone, logits, images)
    expected, changes, _ = read_weights(str(paths[0]))
    assert changes == []
    for path in (paths[1], tmp_path / "exported-0000.params"):
        check_equal(read_weights(str(path)).parameters, expected, path)


def test_the_mxnet_tabs_network_in_one_with_its_backbone(tmp_path: Path) -> None:
    required("mxnet", "mxnet_impl")
    network, logits, images = gluon_chapter_network("resnet18_v2", nested=True)
    path = tmp_path / "nested.params"
    network.save_parameters(str(path))
    changes = check_same_logits(path, "resnet18_v2", logits, images)
    assert changes == ["the prefix '0.' taken off"]


def test_the_order_of_names_decides_nothing(tmp_path: Path) -> None:
    required("mxnet", "mxnet_impl")
    from safetensors.numpy import save_file

    network, _, _ = gluon_chapter_network("resnet18_v2", False)
    path, sorted_path = tmp_path / "counted.params", tmp_path / "sorted.safetensors"
    network.collect_params().save(str(path))
    expected, _, _ = read_weights(str(path))
    arrays = {n: p.data().asnumpy() for n, p in network.collect_params().items()}
    # Another file orders names by the alphabet: the head's conv0 before resnetv20_conv0.
    save_file(arrays, sorted_path)
    check_equal(read_weights(str(sorted_path)).parameters, expected)
