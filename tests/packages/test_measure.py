"""What a benchmark times beside whole steps computes what the reference says."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.config import Config
from common.parameters.names import Parameters
from common.recipes import STRIDE, Recipe
from common.reference import network as reference
from common.reference import operations as ops
from common.reference.distances import relative_error
from common.reference.inputs import (
    keep_off_the_kinks,
    probe_batch,
    probe_parameters,
    probe_recipe,
    single,
)
from common.reference.tolerances import bound


def prepared(backend: ModuleType, recipe: Recipe, **options: Any) -> tuple[Config, Parameters]:
    config = Config(replace(recipe, batch_size=2, crop=(64, 96)), **options)
    backend.configure(config)
    return config, single(keep_off_the_kinks(probe_parameters(recipe.network)))


def on_device(backend: ModuleType, array: np.ndarray, config: object) -> object:
    """Return a map [B, H, W, C] on the device, in the layout that the network has there."""
    given = array.transpose(0, 3, 1, 2) if backend.LAYOUT == "NCHW" else array
    return backend.to_device(given, config)


def on_host(backend: ModuleType, value: object) -> np.ndarray:
    array = np.asarray(backend.to_host(value))
    return array.transpose(0, 2, 3, 1) if backend.LAYOUT == "NCHW" else array


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_the_upsampling_and_its_gradients_equal_the_reference(
    backend: ModuleType, precision: str, generator: np.random.Generator
) -> None:
    recipe = probe_recipe("resnet18_v1")
    if precision not in backend.precisions(Config(recipe)):
        pytest.skip(f"{precision} is not offered")
    config, parameters = prepared(backend, recipe, precision=precision)
    weight, bias = parameters["transpose_conv.weight"], parameters["transpose_conv.bias"]
    x = generator.normal(size=(2, 2, 3, 21)).astype(np.float32)
    gradient = generator.normal(size=(2, 64, 96, 21)).astype(np.float32)
    step = backend.upsample_operation(config, weight, bias)
    inputs = on_device(backend, x, config), on_device(backend, gradient, config)
    for _ in range(2):  # the second is not the sum of both
        y, x_gradient, weight_gradient, bias_gradient = step(*inputs)
    expected = ops.transpose_convolution(x, weight, STRIDE, STRIDE // 2) + bias
    gradients = ops.transpose_convolution_gradients(x, weight, gradient, STRIDE, STRIDE // 2)
    canonical = backend.to_canonical(backend.to_host(weight_gradient))
    for name, actual, wanted in (
        ("output", on_host(backend, y), expected),
        ("gradient of the input", on_host(backend, x_gradient), gradients[0]),
        ("gradient of the weight", canonical, gradients[1]),
        ("gradient of the bias", backend.to_host(bias_gradient), gradient.sum((0, 1, 2))),
    ):
        limit = bound(f"upsampling: {name}", precision) if precision == "bfloat16" else 1e-5
        assert relative_error(actual, wanted) < limit, name


def test_the_loss_and_its_gradient_equal_the_reference(
    backend: ModuleType, generator: np.random.Generator
) -> None:
    recipe = probe_recipe("resnet18_v1")
    config, _ = prepared(backend, recipe)
    _, labels = probe_batch(64, 96)
    logits = generator.normal(size=(2, 64, 96, 21)).astype(np.float32)
    step = backend.loss_operation(config)
    inputs = on_device(backend, logits, config), backend.to_device(labels, config)
    for _ in range(2):
        loss, gradient = step(*inputs)
    assert abs(float(loss) / reference.loss(logits, labels, recipe) - 1) < 1e-6
    expected = reference.loss_gradient(logits, labels, recipe)
    assert relative_error(on_host(backend, gradient), expected) < 1e-5


def test_the_switches_are_json_and_name_the_lowering(backend: ModuleType) -> None:
    found = {}
    for upsampling in ("native", "subpixel"):
        config, _ = prepared(backend, probe_recipe("resnet18_v1"), upsampling=upsampling)
        found[upsampling] = json.loads(json.dumps(backend.switches(config)))
    assert {name: switches["upsampling"] for name, switches in found.items()} == {
        "native": "native",
        "subpixel": "subpixel",
    }
    assert found["native"].keys() == {"compile", "layout", "upsampling", "tf32", "autotune"}


GPUS: dict[str, Any] = {
    "torch": SimpleNamespace(type="cuda"),
    "mxnet": SimpleNamespace(device_type="gpu"),
    "jax": SimpleNamespace(platform="gpu"),
    "tf": "GPU:0",
}
NOT_TUNED = {
    "mxnet": ("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0"),
    "jax": ("XLA_FLAGS", "--xla_gpu_autotune_level=0"),
    "tf": ("TF_CUDNN_USE_AUTOTUNE", "false"),
}
"""The variables that turn it off; PyTorch has a switch, set by a deterministic configuration."""


def test_on_a_gpu_the_switches_are_those_in_effect(
    backend: ModuleType, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = prepared(backend, probe_recipe("resnet18_v1"))
    precisions = ["float32", "tf32", *(["bfloat16"] if backend_name != "mxnet" else [])]
    with monkeypatch.context() as patch:
        patch.setattr(backend.measure, "device_of", lambda config: GPUS[backend_name])
        patch.setattr(backend.device, "precisions", lambda config: precisions)
        patch.setenv("TF_CUDNN_USE_AUTOTUNE", "true")  # TensorFlow reads it like a 1.
        found = {}
        for precision in precisions:
            chosen = replace(config, precision=precision)
            backend.configure(chosen)
            switches = backend.switches(chosen)
            assert switches["autotune"] is True
            found[precision] = switches["tf32"]
        expected = {"float32": False, "tf32": True, "bfloat16": backend_name == "jax"}
        assert found == {precision: expected[precision] for precision in precisions}
        if backend_name in NOT_TUNED:
            patch.setenv(*NOT_TUNED[backend_name])
        else:
            backend.configure(replace(config, deterministic=True))
        assert backend.switches(config)["autotune"] is False
    backend.configure(config)
    assert backend.switches(config)["tf32"] is None and backend.switches(config)["autotune"] is None


def test_a_trace_is_left_in_the_folder(backend: ModuleType, tmp_path: Path) -> None:
    config, _ = prepared(backend, probe_recipe("resnet18_v1"))
    product = backend.matrix_product(config, 64)
    with backend.trace(tmp_path):
        backend.synchronize(product())
        backend.synchronize(backend.stream(config, 64)())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 100]


def test_the_stream_reads_one_matrix_and_writes_another(backend: ModuleType) -> None:
    config, _ = prepared(backend, probe_recipe("resnet18_v1"))
    operation = backend.stream(config, 64)
    for _ in range(3):  # In place every second one would be what it began with.
        assert np.all(backend.to_host(operation()) == -1)


def test_a_matrix_product_has_the_precision_asked_for(backend: ModuleType) -> None:
    config, _ = prepared(backend, probe_recipe("resnet18_v1"))
    for precision in backend.precisions(config):
        config, _ = prepared(backend, probe_recipe("resnet18_v1"), precision=precision)
        value = backend.matrix_product(config, 32)()
        assert {"tf32": "float32"}.get(precision, precision) in str(value.dtype)
    prepared(backend, probe_recipe("resnet18_v1"))
