"""The exported ONNX graph, run by ONNX Runtime, predicts what the reference predicts."""

import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cli import main as fcn
from common.config import Config
from common.data.crops import pad_to
from common.parameters.files import read_parameters, save_parameters
from common.parameters.names import NUM_CLASSES
from common.recipes import STRIDE, Network
from common.reference.distances import relative_error
from common.reference.inputs import probe_batch, probe_parameters, probe_recipe, single
from common.reference.network import forward
from common.reference.tolerances import bound
from tests.conftest import PRESENT

NETWORKS = Network("resnet18_v1", "fcn8s"), Network("resnet18_v2"), Network("resnet18_v2", "fcn16s")


def exported(network: Network, folder: Path) -> Any:
    """Return ONNX Runtime's session of the probe's network."""
    import onnxruntime

    weights, graph = folder / "probe.safetensors", folder / "probe.onnx"
    save_parameters(weights, single(probe_parameters(network)), {"backbone": network.backbone})
    command = ["weights", "export", str(weights), "--format", "onnx", "--out", str(graph)]
    assert fcn(command) == 0
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("backend_name", PRESENT[:1], indirect=True)
@pytest.mark.parametrize("network", NETWORKS)
def test_onnx_runtime_agrees_with_a_backend(
    backend: ModuleType, network: Network, tmp_path: Path
) -> None:
    """With one: all of them, and the graph in the next test, are held to the same reference."""
    session = exported(network, tmp_path)
    config = Config(probe_recipe(network.backbone, network.head))
    backend.configure(config)
    state = backend.create_state(config, single(probe_parameters(network)))
    # Another batch and another size: neither is fixed in the graph.
    for height, width, count in ((64, 96, 2), (32, 64, 1)):
        images, _ = probe_batch(height, width, count=count)
        (found,) = session.run(["logits"], {"images": images})
        expected: NDArray = np.asarray(
            backend.to_host(backend.predict_step(state, backend.to_device(images, config)))
        )
        assert found.shape == (count, height, width, 21)
        assert relative_error(found, expected) < bound("logits")


@pytest.mark.parametrize("network", NETWORKS)
def test_images_of_any_size_give_logits_of_that_size(network: Network, tmp_path: Path) -> None:
    session, parameters = exported(network, tmp_path), probe_parameters(network)
    generator = np.random.default_rng(0)
    for count, height, width in ((1, 100, 100), (2, 33, 64), (1, 64, 31), (1, 1, 1)):
        images = generator.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        (logits,) = session.run(["logits"], {"images": images})
        assert logits.shape == (count, height, width, NUM_CLASSES)
        whole = [-(-side // STRIDE) * STRIDE for side in (height, width)]
        padded = np.stack([pad_to(image, (whole[0], whole[1])) for image in images])
        expected = forward(parameters, padded, network, False).logits
        assert relative_error(logits, expected[:, :height, :width]) < bound("logits")


@pytest.mark.parametrize("network", NETWORKS[:2])
def test_a_graph_is_turned_back_into_its_weights_by_the_advice_about_it(
    network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(network, tmp_path)
    capsys.readouterr()
    graph, back = tmp_path / "probe.onnx", tmp_path / "back.safetensors"
    assert fcn(["weights", "import", str(graph), "--out", str(back)]) == 2
    advice = capsys.readouterr().err.partition("convert it: ")[2]
    subprocess.run([sys.executable, *shlex.split(advice)[1:]], cwd=tmp_path, check=True)
    converted = tmp_path / "weights.safetensors"
    assert fcn(["weights", "import", str(converted), "--out", str(back)]) == 0
    parameters, _ = read_parameters(back)
    expected, _ = read_parameters(tmp_path / "probe.safetensors")
    assert parameters.keys() == expected.keys()
    assert all((parameters[name] == value).all() for name, value in expected.items())


def test_a_backbone_alone_is_no_network_to_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = single(probe_parameters(Network("resnet18_v1")))
    backbone = {name: value for name, value in parameters.items() if name.startswith("backbone.")}
    weights = tmp_path / "backbone.safetensors"
    save_parameters(weights, backbone, {})
    out = tmp_path / "out.onnx"
    assert fcn(["weights", "export", str(weights), "--format", "onnx", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "final_conv.weight" in message and message.count("\n") == 1 and not out.exists()
