"""Gluon's own weight files start a training; what they are not is said in one line."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import Config
from common.errors import InputError
from common.parameters.files import read_weights, starting_parameters
from common.parameters.names import Parameters
from common.recipes import BACKBONES, make_recipe
from tests.conftest import required
from tests.support.foreign_networks import gluon_network

mxnet_impl = required("mxnet", "mxnet_impl")
mx = required("mxnet", "mxnet")


def read(path: Path) -> Parameters:
    return read_weights(str(path)).parameters


def features_here(parameters: Parameters, backbone: str, images: NDArray) -> NDArray:
    recipe = make_recipe("chapter-mxnet", backbone=backbone)
    config = Config(recipe, device="cpu")
    drawn = starting_parameters(recipe, 0, None)
    state = mxnet_impl.create_state(config, {**drawn, **parameters})
    layers = mxnet_impl.layer_outputs(state, mxnet_impl.to_device(images, config), False)
    last = "backbone.final_bn" if backbone == "resnet18_v2" else "backbone.layer4.1"
    return np.maximum(layers[last], 0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_way_that_gluon_saves_gives_the_zoos_features(backbone: str, tmp_path: Path) -> None:
    zoo = gluon_network(backbone)
    saved = {name: tmp_path / f"{name}.params" for name in ("structural", "full", "stripped")}
    zoo.network.save_parameters(str(saved["structural"]))
    zoo.network.collect_params().save(str(saved["full"]))
    zoo.network.collect_params().save(str(saved["stripped"]), strip_prefix=zoo.network.prefix)
    zoo.network.hybridize()
    zoo.network(mx.nd.zeros((1, 3, 32, 32)))
    zoo.network.export(str(tmp_path / "exported"))
    saved["exported"] = tmp_path / "exported-0000.params"
    first = read(saved["structural"])
    features = features_here(first, backbone, zoo.images)
    np.testing.assert_allclose(features, zoo.features, rtol=0, atol=1e-5 * zoo.features.max())
    for path in saved.values():
        parameters = read(path)
        assert parameters.keys() == first.keys()
        assert all(np.array_equal(parameters[name], first[name]) for name in first)


def test_a_training_starts_from_a_params_file(tmp_path: Path) -> None:
    zoo = gluon_network("resnet18_v2")
    path = tmp_path / "zoo.params"
    zoo.network.save_parameters(str(path))
    recipe = make_recipe("chapter-mxnet")
    parameters = starting_parameters(recipe, 0, path)
    weight = zoo.network.features[1].weight.data().asnumpy()
    np.testing.assert_array_equal(parameters["backbone.conv1.weight"], weight)
    with pytest.raises(
        InputError, match=r"not the weights of fcn32s on resnet18_v1.*--backbone resnet18_v2"
    ):
        starting_parameters(make_recipe("chapter-torch"), 0, path)


def test_a_truncated_file_and_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "zoo.params"
    gluon_network("resnet18_v1").network.save_parameters(str(path))
    content = path.read_bytes()
    for length in (9, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"zoo\.params: not a complete MXNet weight file"):
            read(path)
    mx.nd.save(str(path), {"features.0.weight": mx.nd.zeros(3), "other.weight": mx.nd.zeros(3)})
    with pytest.raises(InputError, match=r"zoo\.params: holds no parameters of this network"):
        read(path)
    mx.nd.save(str(path), [mx.nd.zeros(3)])
    with pytest.raises(InputError, match=r"zoo\.params: a list of 1 MXNet arrays without names"):
        read(path)


def test_a_shift_of_the_norm_on_the_input_is_refused_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "zoo.params"
    zoo = gluon_network("resnet18_v2")
    zoo.network.features[0].beta.set_data(mx.nd.ones(3))
    zoo.network.save_parameters(str(path))
    with pytest.raises(InputError, match=r"the norm on the input has a shift"):
        read(path)
