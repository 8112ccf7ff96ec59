"""Sound tensors are read however they are packed: types, counters, prefixes, wrappers."""

import argparse
import json
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from common.errors import InputError
from common.parameters.files import read_file, read_weights, save_parameters, starting_parameters
from common.parameters.initial import initial_parameters
from common.parameters.names import Parameters
from common.parameters.schemes import canonical
from common.parameters.tensors import TensorFile
from common.recipes import make_recipe
from tests.conftest import required
from tests.damaged.damage import check_weights
from tests.support.commands import refused

# In one worker, so that the framework is imported once.
pytestmark = pytest.mark.xdist_group("torch")

NETWORK = initial_parameters(make_recipe("chapter-torch"), 0)
BACKBONE = {n: a for n, a in NETWORK.items() if n.startswith("backbone.")}
TORCHVISION = {name.removeprefix("backbone."): array for name, array in BACKBONE.items()}


def check_equal(actual: Parameters, expected: Parameters) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == np.float32
        np.testing.assert_array_equal(actual[name], array)


def read(tensors: dict[str, NDArray]) -> Any:
    types = {name: str(array.dtype) for name, array in tensors.items()}
    return canonical(Path("some.pth"), TensorFile(tensors, types, {}))


def test_counters_and_the_classifier_are_left_out() -> None:
    counters = {"bn1.num_batches_tracked": np.array(7), "layer1.0.bn1.total_ops": np.zeros(1)}
    classifier = {"fc.weight": np.ones((10, 512), np.float32), "fc.bias": np.ones(10, np.float32)}
    parameters, changes, _ = read({**TORCHVISION, **counters, **classifier})
    check_equal(parameters, BACKBONE)
    assert changes == ["the classifier left out"]


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_another_float_becomes_float32(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_file({name: array.astype(kind) for name, array in TORCHVISION.items()}, path)
    parameters, changes, _ = read_weights(str(path))
    check_equal(parameters, {n: a.astype(kind).astype(np.float32) for n, a in BACKBONE.items()})
    assert changes == [f"{kind} made float32"]


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    halves = {n: (a.view(np.uint32) >> 16).astype(np.uint16) for n, a in TORCHVISION.items()}
    save_file(halves, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].replace(b'"U16"', b'"BF16"')
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    parameters, changes, _ = read_weights(str(path))
    cut = {n: (a.view(np.uint32) & 0xFFFF0000).view(np.float32) for n, a in BACKBONE.items()}
    check_equal(parameters, cut)
    assert changes == ["bfloat16 made float32"]


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F4", "C64"])
def test_a_type_that_is_not_read_is_said(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bits = tmp_path / "some.safetensors", {"F4": 4, "C64": 64}.get(kind, 8)
    header = {"conv1.weight": {"dtype": kind, "shape": [8], "data_offsets": [0, bits]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(bits))
    line = refused(capsys, "weights", "show", path)
    assert f"conv1.weight is of the type {kind}, which is not read: save it as float32" in line


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "encoder.", "backbone.", "_orig_mod.", "resnet.", "net.module.encoder."],
)
@pytest.mark.parametrize("whole", [False, True], ids=["backbone", "network"])
def test_a_prefix_is_taken_off(prefix: str, whole: bool) -> None:
    own = {**TORCHVISION, "fc.weight": np.ones((10, 512), np.float32)}
    tensors, expected = (NETWORK, NETWORK) if whole else (own, BACKBONE)
    parameters, changes, _ = read({f"{prefix}{name}": array for name, array in tensors.items()})
    check_equal(parameters, expected)
    # A backbone's names below `backbone.` are the canonical ones.
    said = [] if prefix == "backbone." and not whole else [f"the prefix {prefix!r} taken off"]
    assert changes == said + ([] if whole else ["the classifier left out"])


def in_transformers(name: str) -> str:
    """Return a torchvision name as `transformers` 4 has it in ResNetForImageClassification."""
    name = name.replace("layer", "resnet.encoder.stages.layer")
    for stage in range(4):
        name = name.replace(f"stages.layer{stage + 1}.", f"stages.{stage}.layers.")
    for own, theirs in (
        ("downsample.0", "shortcut.convolution"),
        ("downsample.1", "shortcut.normalization"),
        *((f".conv{n + 1}.", f".layer.{n}.convolution.") for n in (0, 1)),
        *((f".bn{n + 1}.", f".layer.{n}.normalization.") for n in (0, 1)),
    ):
        name = name.replace(own, theirs)
    if name.startswith(("conv1.", "bn1.")):
        layer = "convolution" if name.startswith("conv1.") else "normalization"
        name = f"resnet.embedder.embedder.{layer}.{name.partition('.')[2]}"
    return name


def test_hugging_faces_resnet_is_read_with_and_without_its_classifier() -> None:
    theirs = {in_transformers(name): array for name, array in TORCHVISION.items()}
    for name in (
        "resnet.embedder.embedder.convolution.weight",
        "resnet.encoder.stages.0.layers.1.layer.1.convolution.weight",
        "resnet.encoder.stages.3.layers.0.shortcut.normalization.running_var",
    ):
        assert name in theirs
    classifier = {"classifier.1.weight": np.ones((10, 512), np.float32)}
    parameters, changes, _ = read({**theirs, **classifier})
    check_equal(parameters, BACKBONE)
    assert changes == ["the prefix 'resnet.' taken off", "the classifier left out"]
    alone = {name.removeprefix("resnet."): array for name, array in theirs.items()}
    parameters, changes, _ = read(alone)
    check_equal(parameters, BACKBONE)
    assert changes == []


def test_a_head_beside_a_prefixed_backbone_is_kept() -> None:
    head = {name: array for name, array in NETWORK.items() if name not in BACKBONE}
    tensors = {f"model.encoder.{name}": array for name, array in TORCHVISION.items()}
    tensors |= {f"model.{name}": array for name, array in head.items()}
    check_equal(read(tensors).parameters, NETWORK)


def test_a_prefix_is_no_excuse_for_other_names(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    tensors = {f"encoder.{name}": array for name, array in TORCHVISION.items()}
    save_file({**tensors, "decoder.conv.weight": np.ones(3, np.float32)}, path)
    with pytest.raises(InputError, match=r"resnet18_v1: 1 not expected \(decoder\.conv\.weight"):
        starting_parameters(make_recipe("chapter-torch"), 0, path)


@pytest.mark.parametrize(
    "tensors, words",
    [
        ({"a": np.ones(3, np.float32)}, "holds no parameters of this network: .* it holds a$"),
        ({}, "holds no parameters of this network: .* it holds nothing"),
        ({**TORCHVISION, "conv1.weight": np.ones((64, 3, 7, 7), np.int8)}, "is int8, expected one"),
        (
            {**TORCHVISION, "bn1.weight": np.full(64, 1e300)},
            "not finite numbers in float32",
        ),
    ],
)
def test_what_is_not_sound_is_refused(tensors: dict[str, NDArray], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tensors)


def test_what_was_changed_is_said_in_a_line(tmp_path: Path) -> None:
    path, lines = tmp_path / "some.safetensors", []
    save_file({f"module.{n}": a.astype(np.float16) for n, a in TORCHVISION.items()}, path)
    starting_parameters(make_recipe("chapter-torch"), 0, path, lines.append)
    assert lines == [f"{path}: the prefix 'module.' taken off; float16 made float32"]


WRAPPERS: list[Any] = [
    {"model": {}},
    {"state_dict": {}, "epoch": 3, "best": 0.5},
    {"net": {}, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    {"model_state_dict": {}, "loss": 1.5},
    {"epoch": 3, "args": argparse.Namespace(lr=0.1), "model": {}, "score": np.float64(0.5)},
    {"model": {"state_dict": {}}},
    {"config": {"out": Path("runs"), "extra": SimpleNamespace(a=1)}, "weights": {}},
    {"confusion": np.eye(3), "network": {}},
    {"ema": {}},
]


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=[".".join(w) for w in WRAPPERS])
def test_a_wrapper_is_taken_off(wrapper: dict[str, Any], tmp_path: Path) -> None:
    torch = required("torch", "torch")
    foreign = required("torch", "torch_impl.foreign")
    tensors = {name: torch.from_numpy(array) for name, array in list(TORCHVISION.items())[:4]}

    def filled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        inner = value.items()
        return {k: filled(v) if k != "optimizer" else v for k, v in inner} if value else tensors

    torch.save(filled(wrapper), tmp_path / "some.ckpt")
    loaded, _ = foreign.read_foreign(tmp_path / "some.ckpt", 2**30)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_of_two_networks_none_is_guessed(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "some.pth"
    read_foreign = required("torch", "torch_impl.foreign").read_foreign
    tensors = {"conv1.weight": torch.ones(3)}
    torch.save({"student": tensors, "teacher": tensors}, path)
    with pytest.raises(InputError, match=r"holds several networks: student, teacher: save one"):
        read_foreign(path, 2**30)
    torch.save({"teacher": tensors, "model": tensors}, path)
    assert read_foreign(path, 2**30)[1] == "model"


def test_a_wrapped_file_says_what_was_taken(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "some.bin"
    tensors = {f"module.{n}": torch.from_numpy(a).bfloat16() for n, a in TORCHVISION.items()}
    torch.save({"epoch": 3, "model": tensors}, path)
    parameters, changes, _ = read_weights(str(path))
    assert parameters.keys() == BACKBONE.keys()
    assert changes == [
        "only its part 'model' is read",
        "the prefix 'module.' taken off",
        "bfloat16 made float32",
    ]


def test_a_file_of_an_old_pytorch_is_read(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "old.pth"
    tensors = {name: torch.from_numpy(array) for name, array in TORCHVISION.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    check_equal(read_weights(str(path)).parameters, BACKBONE)


def test_another_protocol_of_pickle_is_said(tmp_path: Path) -> None:
    torch, path = required("torch", "torch"), tmp_path / "some.pth"
    read_foreign = required("torch", "torch_impl.foreign").read_foreign
    torch.save({"conv1.weight": torch.ones(3)}, path, pickle_protocol=4)
    with (
        pytest.warns(UserWarning, match="pickle protocol 4"),
        pytest.raises(InputError, match="its pickle has another protocol than PyTorch's"),
    ):
        read_foreign(path, 2**30)


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from common.parameters.files import save_parameters\n"
        "metadata = {key: key for key in 'backbone recipe source step format a b c'.split()}\n"
        "save_parameters(Path(sys.argv[1]), {'a': np.ones(3, np.float32)}, metadata)\n"
    )
    contents = set()
    for attempt in range(4):
        path = tmp_path / str(attempt)
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    content = read_file(tmp_path / "0")
    assert content.metadata["recipe"] == "recipe"
    np.testing.assert_array_equal(content.tensors["a"], np.ones(3))


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.release)])
def test_a_damaged_safetensors_file_is_refused_or_read_as_it_is(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.safetensors"
    tensors: Any = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in ("f4", "f8", "i8")}
    save_parameters(path, tensors, {"backbone": "resnet18_v1", "source": "x"})
    accepted = check_weights(path.read_bytes(), count, path, capsys)
    for data in accepted:
        path.write_bytes(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        content = read_file(path)
        assert content.tensors.keys() == header.keys()
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            assert content.tensors[name].shape == tuple(entry["shape"])
            assert content.tensors[name].tobytes() == data[8 + length + start : 8 + length + end]
    assert count / 100 < len(accepted) < count
