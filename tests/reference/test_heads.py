"""FCN-16s and FCN-8s: what the reference computes, what a training starts from, what it costs."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError
from common.parameters.costs import forward_costs, upsampling_costs
from common.parameters.files import save_parameters, starting_parameters
from common.parameters.initial import bilinear_kernel, initial_parameters
from common.parameters.names import layers, parameter_shapes, trainable_names
from common.recipes import BACKBONES, HEADS, Network, make_recipe
from common.reference import network as reference
from common.reference import operations as ops
from common.reference.inputs import probe_batch, probe_parameters


def test_scores_are_upsampled_twofold_added_and_upsampled_again_by_hand() -> None:
    """One class on one cell: every number is the sum of products that stands beside it."""
    network = Network("resnet18_v1", "fcn16s", 1)
    parameters = {name: np.zeros(shape) for name, shape in parameter_shapes(network).items()}
    parameters["final_conv.bias"][:] = 2
    parameters["up32to16.weight"][0, 0] = np.arange(16).reshape(4, 4)
    parameters["up32to16.bias"][:] = 1
    parameters["score16.bias"][:] = 100
    parameters["transpose_conv.weight"][:] = 1
    values = reference.forward(
        parameters, np.zeros((1, 32, 32, 3), np.uint8), network, False
    ).values
    # The inner taps of the kernel, 5 6 and 9 10, twice, and the bias.
    assert values["up32to16"][0, :, :, 0].tolist() == [[11, 13], [19, 21]]
    assert values["sum16"][0, :, :, 0].tolist() == [[111, 113], [119, 121]]
    logits = values["transpose_conv"][0, :, :, 0]
    assert logits[0, [0, 7, 8, 23, 24, 31]].tolist() == [111, 111, 224, 224, 113, 113]
    assert logits[16, [0, 16, 31]].tolist() == [111 + 119, 464, 113 + 121]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_scores_of_stride_16_there_are_two_upsamplings(backbone: str) -> None:
    network = Network(backbone, "fcn16s")
    parameters, (images, _) = probe_parameters(network), probe_batch(32, 64)
    parameters |= {name: value * 0 for name, value in parameters.items() if "score16" in name}
    values = reference.forward(parameters, images, network, True).values
    x = values["final_conv"]
    for layer, stride in (("up32to16", 2), ("transpose_conv", 16)):
        x = ops.transpose_convolution(x, parameters[f"{layer}.weight"], stride, stride // 2)
        x += parameters[f"{layer}.bias"]
    np.testing.assert_allclose(values["transpose_conv"], x, rtol=1e-12)


@pytest.mark.parametrize(
    ("backbone", "taps"),
    [
        ("resnet18_v1", {"score16": "backbone.layer3.1", "score8": "backbone.layer2.1"}),
        (
            "resnet18_v2",
            {
                "score16": "backbone.layer4.0.bn1.relu",
                "score8": "backbone.layer3.0.bn1.relu",
            },
        ),
    ],
)
def test_a_map_is_scored_after_the_last_relu_of_its_stage(backbone: str, taps: dict) -> None:
    network = {layer.name: layer for layer in layers(Network(backbone, "fcn8s"))}
    assert {name: network[name].inputs[0] for name in taps} == taps
    assert all(network[tap].kind in ("relu", "add_relu") for tap in taps.values())
    assert [network[name].shapes[f"{name}.weight"][1] for name in taps] == [256, 128]


def test_heads_start_from_the_same_parameters_where_they_have_the_same() -> None:
    starts = {
        head: initial_parameters(make_recipe("chapter-torch", head=head), 3) for head in HEADS
    }
    chapter = starts["fcn32s"]
    for head in ("fcn16s", "fcn8s"):
        own = starts[head]
        for name in chapter.keys() - {"transpose_conv.weight"}:
            np.testing.assert_array_equal(own[name], chapter[name])
        assert list(own) == list(parameter_shapes(Network("resnet18_v1", head)))
        assert not any(own[name].any() for name in own if name.startswith("score"))
        kernel = bilinear_kernel(21, 21, 2 * HEADS[head])
        np.testing.assert_array_equal(own["transpose_conv.weight"], kernel)
        np.testing.assert_array_equal(own["up32to16.weight"], bilinear_kernel(21, 21, 4))
        np.testing.assert_array_equal(own["up32to16.bias"], starts["fcn16s"]["up32to16.bias"])


@pytest.mark.parametrize(
    ("strides", "along", "in_plane", "border"),
    [([32], 0, 0, 16), ([2, 16], 15 / 64, 0.406, 24), ([2, 2, 8], 15 / 64, 0.406, 28)],
)
def test_bilinear_steps_are_not_one(
    strides: list[int], along: float, in_plane: float, border: int
) -> None:
    def upsampled(x: NDArray, strides: list[int]) -> NDArray:
        for stride in strides:
            kernel = bilinear_kernel(1, 1, 2 * stride).astype(np.float64)
            x = ops.transpose_convolution(x, kernel, stride, stride // 2)
        return x[0, :, :, 0]

    impulse, flat = np.zeros((1, 5, 5, 1)), np.ones((1, 5, 5, 1))
    impulse[0, 2, 2] = 1
    difference = abs(upsampled(impulse, strides) - upsampled(impulse, [32]))
    assert difference.max() == pytest.approx(in_plane, abs=1e-3)
    line = impulse.sum(axis=2, keepdims=True).repeat(5, axis=2)  # It differs along one axis alone.
    difference = abs(upsampled(line, strides) - upsampled(line, [32]))[:, 80]
    assert difference.max() == along
    row = upsampled(flat, strides)[80]
    assert (row[:80] < 1 - 1e-9).sum() == border


def test_frozen_are_all_transposed_kernels() -> None:
    recipe = make_recipe("modern", head="fcn8s", upsample_init="bilinear-frozen")
    head = [name for name in trainable_names(recipe) if not name.startswith("backbone.")]
    layers = ("final_conv", "score16", "score8")
    assert head == [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def test_costs_are_those_of_the_shapes() -> None:
    """At 320x480 the maps of stride 32, 16 and 8 have 150, 600 and 2,400 cells."""
    coarse, fine = (
        Config(make_recipe("chapter-torch", head=head, batch_size=1))
        for head in ("fcn32s", "fcn8s")
    )
    classes, maps = 21, 2 * (256 * 600 + 128 * 2400) * 21
    twofold = 2 * 4 * classes**2 * (600 + 2400)
    assert forward_costs(fine).flops - forward_costs(coarse).flops == maps + twofold
    assert upsampling_costs(fine).flops == upsampling_costs(coarse).flops
    values = classes * (2400 + 320 * 480) + classes**2 * 16**2
    assert upsampling_costs(fine).bytes == 4 * values


@pytest.mark.parametrize("head, new", [("fcn32s", "up32to16"), ("fcn16s", "up16to8")])
def test_weights_of_a_coarser_head_start_a_finer_one(head: str, new: str, tmp_path: Path) -> None:
    path, said = tmp_path / "coarse.safetensors", list[str]()
    recipe = make_recipe("chapter-torch", head="fcn8s")
    coarse = initial_parameters(make_recipe("chapter-torch", head=head), 1)
    coarse["final_conv.weight"] += 1
    save_parameters(path, coarse, {})
    started = starting_parameters(recipe, 0, path, said.append)
    drawn = initial_parameters(recipe, 0)
    assert list(started) == list(drawn)
    for name, value in started.items():
        expected = coarse if name in coarse and name != "transpose_conv.weight" else drawn
        np.testing.assert_array_equal(value, expected[name])
    (line,) = said
    assert f"its head is {head}, so fcn8s starts with new {new}.weight" in line
    assert "score8.bias" in line and line.endswith("transpose_conv.weight")


def test_weights_of_a_finer_head_do_not_start_a_coarser_one(tmp_path: Path) -> None:
    path = tmp_path / "fine.safetensors"
    save_parameters(path, initial_parameters(make_recipe("chapter-torch", head="fcn8s"), 0), {})
    for head in ("fcn32s", "fcn16s"):
        with pytest.raises(InputError, match=r"it is fcn8s on resnet18_v1: use --head fcn8s$"):
            starting_parameters(make_recipe("chapter-torch", head=head), 0, path)
