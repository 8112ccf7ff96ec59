"""What a backend owes beside its arithmetic; docs/ADDING_A_BACKEND.md names the tests of it all."""

import ast
import inspect
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import common
from common.backends import BACKENDS, CONTRACT
from common.config import Config
from common.data.batches import aligned_bytes
from common.machine.threads import cpu_count
from common.parameters.names import layer_names, trainable_names
from common.recipes import BACKBONES, Network, make_recipe
from common.reference import network as reference
from common.reference.inputs import probe_batch, probe_parameters, probe_recipe, single
from tests.conftest import required

PROJECT = Path(common.__file__).parents[1]
DOCUMENT = (PROJECT / "docs" / "ADDING_A_BACKEND.md").read_text(encoding="utf-8")
PARTS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S))
CONFIG = Config(make_recipe("chapter-torch", batch_size=2, crop=(32, 64)), device="cpu")


@pytest.mark.usefixtures("determinism")
def test_a_backend_describes_what_is_in_effect(backend_name: str, backend: ModuleType) -> None:
    for config in (CONFIG, replace(CONFIG, deterministic=True)):
        backend.configure(config)
        found = json.loads(json.dumps(backend.describe(config)))
        assert found["name"] == backend_name and found["device"] == "cpu"
        assert found["versions"] and all(found["versions"].values())
        assert found["threads"] in (1, cpu_count())  # As this process was told at import.
        assert found["precision"] == "float32"
        assert found["deterministic"] == config.deterministic
        assert backend.device_memory_peak(config) is None
        assert found["precision"] in backend.precisions(config)
    backend.configure(CONFIG)


def test_arrays_come_back_as_they_went(backend: ModuleType, generator: np.random.Generator) -> None:
    backend.configure(CONFIG)
    for array in (
        generator.integers(0, 256, (2, 32, 64, 3), dtype=np.uint8),
        generator.standard_normal((3, 5), np.float32),
    ):
        value = backend.to_device(array, CONFIG)
        backend.synchronize(value)
        returned = np.asarray(backend.to_host(value))
        assert returned.dtype == array.dtype
        np.testing.assert_array_equal(returned, array)


@pytest.mark.parametrize("offset", [0, 16])
def test_on_a_cpu_a_loaders_batch_is_taken_as_it_is(backend: ModuleType, offset: int) -> None:
    backend.configure(CONFIG)
    buffer = aligned_bytes((offset + 2 * 32 * 64 * 3,))
    buffer[:] = 1
    given = buffer[offset:].reshape(2, 32, 64, 3)
    value = backend.to_device(given, CONFIG)
    backend.synchronize(value)
    assert given.flags.writeable
    buffer[:] = 2
    found = np.asarray(backend.to_host(value))
    assert (found == found[0, 0, 0, 0]).all()
    if offset == 0:
        assert found[0, 0, 0, 0] == 2


def test_what_the_proof_asks_for_has_the_shapes_and_types_stated(backend: ModuleType) -> None:
    # Those of test_parity.py, so that what is compiled for one is there for the other.
    recipe = replace(probe_recipe("resnet18_v1"), batch_size=2, crop=(64, 96), tile=(64, 96))
    config, size = Config(recipe), (2, 64, 96)
    backend.configure(config)
    parameters = single(probe_parameters(recipe.network))
    state = backend.create_state(config, parameters)
    assert isinstance(state, backend.State) and state.config == config
    images, labels = (backend.to_device(array, config) for array in probe_batch(64, 96))
    for training in (False, True):
        layers = backend.layer_outputs(state, images, training)
        assert list(layers) == layer_names(recipe.network)
        assert {array.dtype for array in layers.values()} == {np.dtype(np.float32)}
        assert layers["final_conv"].shape == (2, 2, 3, 21)
        assert layers["transpose_conv"].shape == (*size, 21)
    loss, gradients = backend.gradients(state, images, labels)
    assert isinstance(loss, float) and gradients.keys() == set(trainable_names(recipe))
    for name, gradient in gradients.items():
        assert isinstance(gradient, np.ndarray) and gradient.shape == parameters[name].shape, name
    loss, classes = backend.eval_step(state, images, labels)
    classes = np.asarray(backend.to_host(classes))
    assert float(loss) > 0 and (classes.dtype, classes.shape) == (np.uint8, size)
    again = np.asarray(backend.to_host(backend.classify_step(state, images)))
    assert (again.dtype, again.shape) == (np.uint8, size)
    for name, value in backend.parameters_of(state).items():  # Statistics among them.
        np.testing.assert_array_equal(value, parameters[name], err_msg=name)


@pytest.mark.xdist_group("jax")
def test_jax_takes_no_batch_that_is_not_on_the_device_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = required("jax", "jax_impl")

    def forward(state: Any, images: Any, training: bool) -> tuple[Any, Any]:
        """Stand in for the network, which takes long to compile."""
        images = images.astype("float32")
        return images.sum(-1, keepdims=True).repeat(21, -1), state.rest

    monkeypatch.setattr(backend.step, "forward", forward)
    config = replace(CONFIG, seed=1)  # Its own: what is compiled for it has no network.
    backend.configure(config)
    state = backend.create_state(config, single(probe_parameters(config.recipe.network)))
    images, labels = probe_batch(32, 64)
    for step in ("train_step", "backward_step", "eval_step", "predict_step", "classify_step"):
        arguments = [backend.to_device(images, config)]
        if "labels" in inspect.signature(getattr(backend, step)).parameters:
            arguments.append(backend.to_device(labels, config))
        if step == "train_step":
            arguments.append(1e-3)
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            getattr(backend, step)(state, images, *arguments[1:])
        if step != "train_step":  # Which gives its state away.
            getattr(backend, step)(state, *arguments)


@pytest.mark.parametrize("void", ["background", "ignore"])
def test_each_image_has_the_loss_of_the_reference(
    backend: ModuleType, generator: np.random.Generator, void: str
) -> None:
    backend.configure(CONFIG)
    logits = generator.normal(size=(3, 4, 5, 21)).astype(np.float32)
    labels = generator.integers(0, 21, (3, 4, 5), dtype=np.uint8)
    labels[1, :2], labels[2] = 255, 255
    given = logits.transpose(0, 3, 1, 2) if backend.LAYOUT == "NCHW" else logits
    arrays = [backend.to_device(np.ascontiguousarray(a), CONFIG) for a in (given, labels)]
    found = np.asarray(backend.to_host(backend.image_losses(*arrays, void)))
    recipe = replace(CONFIG.recipe, void=void, loss_reduction="sum")
    expected = [reference.loss(logits[i : i + 1], labels[i : i + 1], recipe) for i in range(3)]
    assert found.shape == (3,) and (expected[2] == 0) == (void == "ignore")
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_parameters_go_into_the_network_all_or_none(backend: ModuleType, backbone: str) -> None:
    config = Config(make_recipe("chapter-torch", backbone=backbone), device="cpu")
    backend.configure(config)
    parameters = single(probe_parameters(Network(backbone)))
    for array in parameters.values():
        framework = backend.from_canonical(array)
        np.testing.assert_array_equal(backend.to_canonical(framework), array)
    model = backend.create_model(config)
    backend.load_parameters(model, parameters)
    del parameters["final_conv.bias"]
    with pytest.raises(AssertionError, match="final_conv.bias"):
        backend.load_parameters(model, parameters)


@pytest.mark.parametrize(
    "changes", [{"momentum": 0.0}, {"upsample_init": "bilinear-frozen"}], ids=["none", "frozen"]
)
def test_momentum_that_a_recipe_has_no_use_for_is_left_out(
    backend: ModuleType, changes: dict[str, Any]
) -> None:
    given = make_recipe("modern", batch_size=2, crop=(32, 64))
    config = Config(replace(given, **changes), device="cpu")
    backend.configure(config)
    parameters = single(probe_parameters(given.network))
    momentum = {name: parameters[name] for name in trainable_names(given)}
    names = trainable_names(config.recipe) if config.recipe.momentum else []
    assert len(names) < len(momentum)
    kept = backend.momentum_of(backend.create_state(config, parameters, momentum))
    assert kept.keys() == set(names)
    for name, buffer in kept.items():
        np.testing.assert_array_equal(buffer, momentum[name], err_msg=name)


def test_every_public_name_stands_in_the_document_with_its_parameters(backend: ModuleType) -> None:
    functions = [line.split("|")[1] for line in PARTS["Functions"].splitlines() if "|" in line]
    stated = dict(re.findall(r"`(\w+)(?:\((.*?)\))?`", " ".join(functions)))
    names = {name for names in CONTRACT.values() for name in names.split()}
    assert names <= stated.keys()
    for name in names:
        value = getattr(backend, name)
        if callable(value) and not inspect.isclass(value):
            parameters = [p.partition("=")[0] for p in stated[name].split(", ")]
            assert parameters == list(inspect.signature(value).parameters), name


def test_what_the_benchmarks_call_of_a_package_stands_in_the_document() -> None:
    called = {
        node.attr
        for path in (PROJECT / "benchmarks").rglob("*.py")
        if "baselines" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("backend", "package")
        and not node.attr.startswith("__")
    }
    first = [line.split("|")[1] for line in PARTS["Functions"].splitlines() if "|" in line]
    stated = set(re.findall(r"`(\w+)", " ".join(first)))
    assert called >= {"train_step", "layer_outputs", "create_loader"} and called <= stated


def test_every_place_of_registration_names_every_backend() -> None:
    files = re.findall(r"^\| `(.*?)` \|", PARTS["Where its name is written"], re.M)
    assert len(files) > 5
    for file in files:
        text = (PROJECT / file).read_text(encoding="utf-8")
        missing = [name for name in BACKENDS if not re.search(rf"\b{name}\b", text)]
        assert not missing, f"{file} does not name {missing}"


def test_every_clause_names_tests_that_exist() -> None:
    text = PARTS["Functions"] + PARTS["The package and the process"]
    clauses = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    named = 0
    for clause in clauses:
        if clause.split("|")[-2].strip() == "test":
            continue
        file = None
        for name in re.findall(r"`([^`]*)`", clause.split("|")[-2]):
            if not re.match(r"(test_\w+\.py: )?test_\w+$", name):
                continue
            path, _, test = name.rpartition(": ")
            file = path or file
            assert file is not None, clause
            assert test in {
                node.name
                for path in (PROJECT / "tests").rglob(file)
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.FunctionDef)
            }
            named += 1
        assert file is not None, f"no test: {clause}"
    assert named > 50


def test_tensorflow_that_has_started_on_all_cpus_can_be_configured_for_as_many() -> None:
    required("tf", "tf_impl")
    program = """
import tensorflow as tf
tf.constant(1.0) + 1
from common.config import Config
from common.errors import InputError
from common.recipes import make_recipe
from common.machine.threads import cpu_count
from tf_impl.device import configure, describe
recipe, cpus = make_recipe("chapter-torch"), cpu_count()
configure(Config(recipe, device="cpu"))
assert describe(Config(recipe, device="cpu"))["threads"] == cpus
try:
    configure(Config(recipe, device="cpu", threads=cpus + 1))
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    count = cpu_count() + 1
    assert (
        done.stdout
        == f"--threads {count}: TensorFlow has started already with another number; set it first\n"
    ), done.stderr
