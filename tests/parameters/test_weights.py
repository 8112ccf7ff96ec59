"""Weights that move: in from other libraries' files, and out under torchvision's names."""

import functools
import hashlib
import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cli import main as fcn
from common.backends import BACKENDS
from common.classes import Classes
from common.config import Config
from common.data.dataset import PROJECT
from common.errors import InputError
from common.machine import download
from common.machine.files import cache_folder
from common.parameters import published
from common.parameters.files import read_parameters, save_parameters, starting_parameters
from common.parameters.initial import initial_parameters
from common.recipes import make_recipe
from tests.conftest import SKIPPED, required
from tests.support.commands import refused
from tests.support.foreign_networks import gluon_network, torchvision_features, torchvision_network
from tests.support.loopback import BODY, SHA256, Server

# All frameworks in one process: each test's oracle is one, what it is compared with another.
pytestmark = pytest.mark.xdist_group("every framework")

FEATURES = 1e-5
"""Relative, float32 against float32 of another library."""


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make each library's network, its weight file and what that is imported as, once."""
    folder = tmp_path_factory.mktemp("origins")

    @functools.cache
    def make(library: str, backbone: str) -> SimpleNamespace:
        name = "torch" if library == "torchvision" else "mxnet"
        required(name, f"{name}_impl")
        if library == "torchvision":
            made, path = torchvision_network(), folder / "resnet18.pth"
            # As parameters, which need not be detached: some programs save them so.
            whole = {**made.network.state_dict(), **dict(made.network.named_parameters())}
            importlib.import_module("torch").save(whole, path)
        else:
            made, path = gluon_network(backbone), folder / f"{backbone}.params"
            made.network.save_parameters(str(path))
        imported = folder / f"{library}-{backbone}.safetensors"
        assert fcn(["weights", "import", str(path), "--out", str(imported)]) == 0
        return SimpleNamespace(path=path, imported=imported, **vars(made))

    return make


def features_here(name: str, path: Path, backbone: str, images: NDArray[np.uint8]) -> NDArray:
    """Return the features that a backend with the weights of ``path`` has of ``images``."""
    backend = required(name, f"{name}_impl")
    recipe = make_recipe("chapter-torch", backbone=backbone)
    config = Config(recipe, device="cpu")
    state = backend.create_state(config, starting_parameters(recipe, 0, path))
    layers = backend.layer_outputs(state, backend.to_device(images, config), False)
    last = "backbone.final_bn" if backbone == "resnet18_v2" else "backbone.layer4.1"
    return np.maximum(layers[last], 0)


def distance(actual: NDArray, expected: NDArray) -> float:
    assert actual.shape == expected.shape
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    "library, backbone",
    [("torchvision", "resnet18_v1"), ("gluon", "resnet18_v1"), ("gluon", "resnet18_v2")],
)
def test_imported_weights_give_the_librarys_own_features(
    origins: Any, library: str, backbone: str, name: str
) -> None:
    origin = origins(library, backbone)
    described = {"backbone": backbone, "source": origin.path.name}
    assert read_parameters(origin.imported)[1] == described
    features = features_here(name, origin.imported, backbone, origin.images)
    assert distance(features, origin.features) < FEATURES


@pytest.mark.slow
def test_the_shared_trained_weights_give_torchvisions_features(
    origins: Any, tmp_path: Path
) -> None:
    path = PROJECT.parent / "shared/data/weights/resnet18-sbd.pth"
    if not path.is_file():
        pytest.skip("no shared weights beside the project")
    torch, network = importlib.import_module("torch"), torchvision_network().network
    network.load_state_dict(torch.load(path, weights_only=True))
    images = origins("torchvision", "resnet18_v1").images
    expected = torchvision_features(network, images)
    out = tmp_path / "imported.safetensors"
    assert fcn(["weights", "import", str(path), "--out", str(out)]) == 0
    for name in BACKENDS.keys() - SKIPPED:
        assert distance(features_here(name, out, "resnet18_v1", images), expected) < FEATURES


def test_torchvision_loads_what_is_exported(origins: Any, tmp_path: Path) -> None:
    origin = origins("torchvision", "resnet18_v1")
    whole, out = tmp_path / "whole.safetensors", tmp_path / "out.safetensors"
    recipe = make_recipe("chapter-torch")
    parameters = starting_parameters(recipe, 0, origin.imported)
    save_parameters(whole, parameters, {})
    assert fcn(["weights", "export", str(whole), "--format=torchvision", "--out", str(out)]) == 0

    torch = importlib.import_module("torch")
    safetensors = importlib.import_module("safetensors.torch")
    network = importlib.import_module("torchvision").models.resnet18(weights=None)
    network.fc = torch.nn.Identity()
    network.load_state_dict(safetensors.load_file(out), strict=True)
    # The same numbers, so the same features to the last bit.
    np.testing.assert_array_equal(torchvision_features(network, origin.images), origin.features)

    backbone = {k: v for k, v in parameters.items() if k.startswith("backbone.")}
    again = starting_parameters(recipe, 0, out)
    assert all(np.array_equal(again[name], backbone[name]) for name in backbone)


def test_export_says_what_becomes_of_the_head(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paths = {}
    for backbone in ("resnet18_v1", "resnet18_v2"):
        recipe = make_recipe("chapter-torch", backbone=backbone)
        paths[backbone] = tmp_path / f"{backbone}.safetensors"
        save_parameters(paths[backbone], initial_parameters(recipe, 0), {})
    options = ["--format", "torchvision", "--out", str(tmp_path / "out")]
    assert fcn(["weights", "export", str(paths["resnet18_v1"]), *options]) == 0
    said = capsys.readouterr().out
    assert "it has no fc" in said and "left out" in said and "transpose_conv.weight" in said
    line = refused(capsys, "weights", "export", paths["resnet18_v2"], *options, "--force")
    assert "is a resnet18_v2, which torchvision does not have" in line


def test_show_lists_names_types_shapes_norms_and_metadata(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "some.safetensors"
    tensors = {
        "a": np.array([[3.0, 4.0]], np.float32),
        "b": np.array(7, np.int64),
        "c": np.array([np.nan], np.float64),
    }
    save_parameters(path, tensors, {"backbone": "neither"})
    assert fcn(["weights", "show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["a", "float32", "1x2", "5"],
        ["b", "int64", "scalar", "7"],
        ["c", "float64", "1", "nan"],
    ]
    assert "backbone: neither" in lines
    assert fcn(["weights", "show", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metadata"] == {"backbone": "neither"}
    assert found["tensors"][0] == {"name": "a", "dtype": "float32", "shape": [1, 2], "norm": 5.0}
    assert found["tensors"][2]["norm"] is None


def test_show_lists_the_classes_in_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, tensors = tmp_path / "some.safetensors", {"a": np.zeros(1, np.float32)}
    classes = Classes(("ground", "red roof"), ((0, 0, 0), (250, 0, 16)))
    save_parameters(path, tensors, {"classes": json.dumps(classes.to_json())})
    assert fcn(["weights", "show", str(path)]) == 0
    assert "classes: 2 (0 ground #000000, 1 red roof #fa0010)" in capsys.readouterr().out
    save_parameters(path, tensors, {"classes": "[1]"})  # Another program's.
    assert fcn(["weights", "show", str(path)]) == 0
    assert "classes: [1]" in capsys.readouterr().out


def test_what_is_there_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, origins: Any
) -> None:
    source = tmp_path / "source.safetensors"
    save_parameters(source, initial_parameters(make_recipe("chapter-torch"), 0), {})
    out = tmp_path / "out.safetensors"
    out.write_text("precious", encoding="utf-8")
    for action in (["import"], ["export", "--format", "torchvision"]):
        assert "--force" in refused(capsys, "weights", *action, source, "--out", out)
        assert out.read_text(encoding="utf-8") == "precious"
    assert fcn(["weights", "import", str(source), "--out", str(out), "--force"]) == 0
    assert len(read_parameters(out)[0]) == 104


@pytest.fixture
def kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that keeps what torchvision publishes, which the server has here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(published, "address", lambda name: server.url)
    publish(monkeypatch, SHA256)
    return cache_folder()


NAME, FILE = "torchvision:resnet18", "weights.pth"


def publish(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    """Let the file be published with a SHA-256."""
    file = published.Published(FILE, "sha256", digest)
    monkeypatch.setitem(published.PUBLISHED, NAME, file)


def test_a_published_file_is_downloaded_once_and_its_digest_checked_ever_after(
    server: Server, kept: Path
) -> None:
    path = published.published_file(NAME)
    assert path == kept / FILE and path.read_bytes() == BODY
    assert published.published_file(NAME) == path
    assert len(server.ranges) == 1
    path.write_bytes(b"x" + BODY[1:])
    with pytest.raises(InputError, match=r"weights\.pth: exists, but its sha256"):
        published.published_file(NAME)


def test_published_files_are_named_after_their_whole_digests() -> None:
    lengths = {"sha256": 64, "sha1": 40}
    for file, algorithm, digest in published.PUBLISHED.values():
        assert re.fullmatch(rf"\w+-{digest[:8]}\.\w+", file)
        assert re.fullmatch(rf"[0-9a-f]{{{lengths[algorithm]}}}", digest)


def refused_download(capsys: pytest.CaptureFixture[str], out: Path) -> str:
    """Import published weights, which must fail; return the line after those of the download."""
    assert fcn(["weights", "import", "imagenet", "--out", str(out)]) == 2
    *progress, error = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{FILE}: ") for line in progress)
    return error


@pytest.mark.parametrize(
    "mood, words",
    [
        ("absent", "the server answers 404 Not Found"),
        ("stalling", "no data for 0.3 s: run again to resume"),
        ("truncating", "51,200 of 102,400 bytes"),
        ("silent", "no data for 0.3 s"),
    ],
)
def test_a_failed_download_is_one_line_and_is_resumed(
    server: Server,
    kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mood: str,
    words: str,
) -> None:
    server.mood = mood
    out = tmp_path / "out.safetensors"
    assert words in refused_download(capsys, out)
    assert not out.exists() and not (kept / FILE).exists()
    server.mood = "good"
    assert published.published_file(NAME).read_bytes() == BODY
    resumed = mood in ("stalling", "truncating")
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-" if resumed else None]


def test_wrong_bytes_are_neither_used_nor_kept(
    server: Server,
    kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.body = b"x" + BODY[1:]
    assert f"expected {SHA256[:8]}" in refused_download(capsys, tmp_path / "out")
    assert list(kept.iterdir()) == []


def test_imagenet_starts_a_training(
    server: Server, kept: Path, origins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = origins("torchvision", "resnet18_v1")
    server.body = origin.path.read_bytes()
    publish(monkeypatch, hashlib.sha256(server.body).hexdigest())
    recipe = make_recipe("chapter-torch")
    started = starting_parameters(recipe, 0, Path("imagenet"))
    expected = starting_parameters(recipe, 0, origin.imported)
    assert all(np.array_equal(started[name], expected[name]) for name in expected)
    drawn = initial_parameters(recipe, 0)["final_conv.weight"]
    np.testing.assert_array_equal(started["final_conv.weight"], drawn)

    server.mood = "absent"
    with pytest.raises(InputError, match="404"):
        starting_parameters(make_recipe("chapter-mxnet"), 0, Path("imagenet"))


def test_torchvision_publishes_the_file_that_is_expected() -> None:
    required("torch", "torch")
    file = published.PUBLISHED[NAME]
    url = published.address(NAME)
    assert url.endswith(f"/models/{file.file}") and file.digest[:8] in file.file


def test_the_model_zoo_publishes_the_files_that_are_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    required("mxnet", "mxnet_impl")
    store = importlib.import_module("mxnet.gluon.model_zoo.model_store")
    assert store.apache_repo_url == published.GLUON
    for backbone in ("resnet18_v1", "resnet18_v2"):
        file = published.PUBLISHED[f"gluon:{backbone}"]
        assert file.file == f"{backbone}-{store.short_hash(backbone)}.params"
        assert file.digest == store._model_sha1[backbone]
    monkeypatch.setenv("MXNET_GLUON_REPO", "http://mirror.example/")
    expected = "http://mirror.example/gluon/models/resnet18_v2-a81db45f.zip"
    assert published.address("gluon:resnet18_v2") == expected
