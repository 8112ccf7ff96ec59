"""`fcn parity --against`: another program's outputs, whatever made them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cli import main as fcn
from benchmarks.equal_work.against import layer_shapes
from common.recipes import Network, make_recipe
from common.reference import network as reference
from common.reference.inputs import keep_off_the_kinks, probe_batch, probe_parameters, single


@pytest.fixture(scope="module")
def port() -> dict[str, NDArray]:
    """What an exact port of the chapter's network would export."""
    return exact_port(Network("resnet18_v1"))


def exact_port(network: Network) -> dict[str, NDArray]:
    """Return float32 of the reference's answers."""
    parameters = single(keep_off_the_kinks(probe_parameters(network)))
    images, labels = probe_batch(32, 64)
    found: dict[str, NDArray] = {**parameters, "images": images, "labels": labels}
    for mode in ("evaluation", "training"):
        passed = reference.forward(parameters, images, network, mode == "training")
        found |= {f"{mode}/{name}": value for name, value in passed.layers.items()}
    recipe = make_recipe("modern", backbone=network.backbone, head=network.head)
    after, _, _ = reference.train_step(parameters, {}, images, labels, recipe, 0.5)
    found |= {f"after/{name}": value for name, value in after.items()}
    floating = {k: v.astype(np.float32) for k, v in found.items() if v.dtype != np.uint8}
    return {**found, **floating}


def against(
    port: dict[str, NDArray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rate: str = "0.5",
) -> tuple[int, Any, str]:
    from safetensors.numpy import save_file

    path = tmp_path / "port.safetensors"
    arrays = {name: np.ascontiguousarray(value) for name, value in port.items()}
    save_file(arrays, path, {"recipe": "modern", "learning_rate": rate})
    status = fcn(["parity", "--against", str(path), "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out or "null"), captured.err


def test_an_exact_port_passes(port, tmp_path, capsys) -> None:
    status, found, _ = against(port, tmp_path, capsys)
    assert status == 0 and found["backbone"] == "resnet18_v1"
    outputs = {name for name in port if "/" in name}
    assert {row["name"] for row in found["rows"]} == outputs


def test_a_port_of_a_finer_head_is_known_by_its_parameters(tmp_path, capsys) -> None:
    port = exact_port(Network("resnet18_v2", "fcn8s"))
    status, found, _ = against(port, tmp_path, capsys)
    assert status == 0 and (found["backbone"], found["head"]) == ("resnet18_v2", "fcn8s")
    assert {"evaluation/score16", "training/up16to8", "after/score8.weight"} <= port.keys()
    wrong = {name: port[name] * np.float32(1 + 1e-4) for name in ("evaluation/score8",)}
    status, found, _ = against(port | wrong, tmp_path, capsys)
    assert status == 1 and found["first"] == "evaluation/score8"


def test_the_first_layer_that_differs_is_named(port, tmp_path, capsys) -> None:
    wrong = port | {
        name: port[name] * np.float32(1 + 1e-4)
        for name in ("evaluation/backbone.layer2.0.bn1", "evaluation/transpose_conv")
    }
    status, found, _ = against(wrong, tmp_path, capsys)
    assert status == 1 and found["first"] == "evaluation/backbone.layer2.0.bn1"
    assert sum(not row["passed"] for row in found["rows"]) == 2


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda port: port.pop("images"), "needs images"),
        (lambda port: port.pop("labels"), "labels is absent: add them"),
        (lambda port: port.pop("backbone.bn1.bias"), "1 missing (backbone.bn1.bias)"),
        (
            lambda port: port.update({"evaluation/fc": np.ones(2, np.float32)}),
            "there is no output evaluation/fc: expected evaluation/NAME",
        ),
        (lambda port: port.update(images=port["images"][:, :31].copy()), "multiples of 32"),
        (lambda port: port.update(images=port["images"][..., :2].copy()), "W, 3]"),
        (lambda port: port.update(images=port["images"][0, :, 0].copy()), "multiples of 32"),
        (lambda port: port.update(labels=np.full_like(port["labels"], 21)), "0..20"),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_any_reference_is_computed(
    change, words, port, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    changed = dict(port)
    change(changed)
    status, _, error = against(changed, tmp_path, capsys)
    assert status == 2 and words in error and error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"port.safetensors"}


def test_a_rate_that_is_no_number_is_one_line(port, tmp_path, capsys) -> None:
    status, _, error = against(port, tmp_path, capsys, rate="fast")
    assert status == 2 and "learning_rate" in error and error.count("\n") == 1


def test_an_output_of_another_shape_differs_and_leaves_valid_json(port, tmp_path, capsys) -> None:
    name = "evaluation/transpose_conv"
    status, found, _ = against(port | {name: port[name][:1]}, tmp_path, capsys)
    assert status == 1 and found["first"] == name
    (row,) = (row for row in found["rows"] if row["name"] == name)
    assert row["error"] is None and not row["passed"]
    assert fcn(["parity", "--against", str(tmp_path / "port.safetensors")]) == 1
    assert f"{name} – " in " ".join(capsys.readouterr().out.split())


def test_outputs_with_their_channels_first_are_told_which_shape_is_needed(
    port, tmp_path, capsys
) -> None:
    first = {
        name: np.moveaxis(value, -1, 1) if value.ndim == 4 else value
        for name, value in port.items()
        if name.partition("/")[0] in ("evaluation", "training")
    }
    status, found, _ = against(port | first, tmp_path, capsys)
    assert status == 1
    told = {row["name"]: row["shape"] for row in found["rows"] if row["shape"]}
    # Of the last layers of the backbone, [2, 1, 2, 512] becomes [2, 512, 1, 2].
    assert told.keys() == first.keys()
    assert {text.rpartition("save ")[2] for text in told.values()} == {
        "np.transpose(x, (0, 2, 3, 1))"
    }
    name = "evaluation/backbone.conv1"
    assert told[name].startswith("is [2, 64, 16, 32], needs [2, 16, 32, 64]: save np.transpose")
    assert fcn(["parity", "--against", str(tmp_path / "port.safetensors")]) == 1
    text = capsys.readouterr().out
    assert f"{len(told)} outputs in another shape than needed" in text
    assert text.count("save np.transpose(x, (0, 2, 3, 1))") == len(told)


def test_a_kernel_in_another_framework_s_order_is_told_too(port, tmp_path, capsys) -> None:
    name = "after/backbone.layer1.0.conv1.weight"
    status, found, _ = against(port | {name: port[name].transpose(2, 3, 1, 0)}, tmp_path, capsys)
    (row,) = (row for row in found["rows"] if row["name"] == name)
    assert status == 1 and row["shape"].endswith("save np.transpose(x, (3, 2, 0, 1))")


def test_the_layers_are_listed_with_the_shapes_that_the_reference_has(port, capsys) -> None:
    assert fcn(["parity", "--layers", "--backbone", "resnet18_v1"]) == 0
    text = capsys.readouterr().out
    lines = [line.split(maxsplit=1) for line in text.partition("\n\n")[0].splitlines()[1:]]
    assert dict(lines) == layer_shapes(Network("resnet18_v1"))
    for name, shape in lines:
        expected = port[f"evaluation/{name}"].shape
        assert eval(shape, {"B": 2, "H": 32, "W": 64}) == list(expected), name
    assert fcn(["parity", "--layers"]) == 0
    assert "resnet18_v2" in capsys.readouterr().out
    assert len(layer_shapes(Network("resnet18_v2"))) > 20


def test_a_file_that_is_no_safetensors_is_one_line(tmp_path, capsys) -> None:
    path = tmp_path / "port.safetensors"
    path.write_bytes(b"\x80\x04rubbish")
    assert fcn(["parity", "--against", str(path)]) == 2
    assert "port.safetensors" in capsys.readouterr().err
