"""The chapter's demonstrations, in every backend and at the chapter's sizes.

Source: Dive into Deep Learning, "Fully Convolutional Networks".
"""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from common.classes import VOC
from common.config import Config
from common.data.dataset import PROJECT
from common.data.images import read_image
from common.data.synthetic import make_dataset
from common.parameters.initial import bilinear_kernel, initial_parameters
from common.parameters.names import layer_names
from common.recipes import BACKBONES, Network, make_recipe
from common.run.loop import predict
from common.run.plots import draw_examples
from common.run.training import TrainingData
from tests.packages.upsampling import transposed_convolution

CATDOG = PROJECT.parent / "shared/data/catdog.jpg"
CROP = (320, 480)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_backbone_divides_by_32_and_the_upsampling_brings_it_back(
    backend: ModuleType, backbone: str
) -> None:
    """(1, 320, 480, 3) to 10x15x512; kernel 64, stride 32 and padding 16 make 320x480 of it."""
    recipe = make_recipe("chapter-torch", backbone=backbone)
    config = Config(recipe)
    backend.configure(config)
    parameters = initial_parameters(recipe, 0)
    assert parameters["transpose_conv.weight"].shape == (21, 21, 64, 64)
    state = backend.create_state(config, parameters)
    image = backend.to_device(np.zeros((1, *CROP, 3), np.uint8), config)
    layers = backend.layer_outputs(state, image, False)
    *_, features, final_conv, transpose_conv = layer_names(Network(backbone))
    assert features.startswith("backbone.")
    assert layers[features].shape == (1, 10, 15, 512)
    assert layers[final_conv].shape == (1, 10, 15, 21)
    assert layers[transpose_conv].shape == (1, *CROP, 21)


@pytest.fixture(scope="module")
def catdog(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The chapter's picture, or where it is absent a generated one of its size, in [0, 1]."""
    path = CATDOG
    if not path.is_file():
        root = tmp_path_factory.mktemp("catdog")
        make_dataset(root, train=1, val=1, size=(561, 728), seed=2)
        path = next((root / "JPEGImages").glob("*.jpg"))
    image = read_image(path)
    assert image.shape == (561, 728, 3)
    return image.astype(np.float32) / 255


def interpolated(image: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Return ``image`` twice as large along ``axis``: the middle of pixel i lies at i + 1/2."""
    count = image.shape[axis]
    place = (np.arange(2 * count) + 0.5) / 2 - 0.5
    before = np.floor(place).astype(int)
    weight = np.expand_dims(place - before, [other for other in range(3) if other != axis])
    first, second = (
        np.take(image, np.clip(index, 0, count - 1), axis) for index in (before, before + 1)
    )
    return first * (1 - weight) + second * weight


@pytest.mark.parametrize("upsampling", ["native", "subpixel"])
def test_a_bilinear_transposed_convolution_doubles_a_picture(
    backend: ModuleType, catdog: NDArray[np.float32], upsampling: str
) -> None:
    """Kernel 4, stride 2, padding 1; at the border, where it meets zeros, it is another sum."""
    config = Config(make_recipe("chapter-torch"))
    backend.configure(config)
    channels_first = backend.LAYOUT == "NCHW"
    kernel = backend.from_canonical(bilinear_kernel(3, 3, 4))
    given = catdog[None].transpose(0, 3, 1, 2) if channels_first else catdog[None]
    arrays = [
        backend.to_device(np.ascontiguousarray(array), config)
        for array in (given, kernel, np.zeros(3, np.float32))
    ]
    actual = backend.to_host(transposed_convolution(backend, *arrays, 2, upsampling))[0]
    actual = actual.transpose(1, 2, 0) if channels_first else actual
    assert actual.shape == (1122, 1456, 3)
    expected = interpolated(interpolated(catdog, 0), 1)
    # Sums of four products below one, each rounded at 6e-8.
    np.testing.assert_allclose(actual[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=0, atol=1e-6)
    assert abs(actual - expected)[0].max() > 0.01


def test_the_top_left_of_validation_images_is_predicted_and_drawn(
    backend: ModuleType, tmp_path: Path
) -> None:
    root = tmp_path / "VOC"
    make_dataset(root, train=1, val=2, size=(330, 500), seed=3)
    recipe = make_recipe("chapter-torch", batch_size=1)
    config = Config(recipe)
    backend.configure(config)
    state = backend.create_state(config, initial_parameters(recipe, 0))
    data = TrainingData(root, config)
    examples = list(data.examples())
    rows = []
    for (labels, (name, truth)), (image, _) in zip(
        predict(backend, state, iter(examples)), examples, strict=True
    ):
        whole = read_image(root / "JPEGImages" / f"{name}.jpg")
        np.testing.assert_array_equal(image, whole[:320, :480])
        assert truth.shape == labels.shape == CROP
        logits = backend.predict_step(state, backend.to_device(image[None], config))
        np.testing.assert_array_equal(labels, backend.to_host(logits)[0].argmax(-1))
        rows.append((image, labels, truth, name))
    assert len(rows) == 2
    draw_examples(rows, tmp_path / "examples.png", VOC)
    drawn = read_image(tmp_path / "examples.png")
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1000
