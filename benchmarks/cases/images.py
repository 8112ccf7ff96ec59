"""The case `images`: whole images, decoded already, to label maps on the host.

A step predicts as many images of VOC's size as a batch has. This project predicts a whole image at
once, or overlapping tiles of it. The chapter predicts areas of the crop's size. A pixel's label
depends on other pixels in each of these ways, so each has its own float64 answer.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, Work, bounds_of
from benchmarks.cases.inputs import Arrays, parameters_in, part, probe_arrays
from benchmarks.cases.load import LARGER
from common.config import Config
from common.data.crops import by_tiles, pad_to, tile_for, tiles
from common.data.synthetic import draw_pair
from common.parameters.costs import Costs, forward_costs
from common.recipes import STRIDE
from common.reference import network as reference
from common.reference.distances import preference
from common.run.loop import predict

KINDS = ("landscape", "portrait")
"""Names of the two images and of their answers. One image of four is a portrait."""


def order(count: int) -> list[str]:
    """Return the kind of each of ``count`` images: they are predicted in this order."""
    return [KINDS[1] if number % 4 == 3 else KINDS[0] for number in range(count)]


def image_size(kind: str, crop: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of an image: 375x500, or 500x375, for a crop of 320x480."""
    height, width = crop[0] + LARGER[0], crop[1] + LARGER[1]
    return (height, width) if kind == KINDS[0] else (width, height)


def by_areas(
    image: NDArray[np.uint8],
    area: tuple[int, int],
    predict_area: Callable[[NDArray[np.uint8]], NDArray],
) -> NDArray:
    """Return what ``predict_area`` gives for the fewest areas that cover an image, put together.

    Where areas overlap, the later one counts: averaging would make the chapter's way slower.

    Source:
        Dive into Deep Learning, "Fully Convolutional Networks: Prediction": several areas of the
        crop's size, whose union covers the image.
    """
    padded = pad_to(image, area)
    places = places_of((padded.shape[0], padded.shape[1]), area)
    areas = [predict_area(padded[place]) for place in places]
    whole = np.empty((*padded.shape[:2], *areas[0].shape[2:]), areas[0].dtype)
    for place, predicted in zip(places, areas, strict=True):
        whole[place] = predicted
    return whole[: image.shape[0], : image.shape[1]]


def places_of(size: tuple[int, int], area: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the fewest areas that cover an image of ``size``, in the order they are predicted."""
    return [np.s_[top : top + area[0], left : left + area[1]] for top, left in tiles(size, area)]


class WholeImages(Work):
    """Label maps of whole images, by the package's own prediction or by the chapter's areas."""

    def set_up(self, inputs: Arrays) -> None:
        self.kinds = order(self.config.recipe.batch_size)
        self.images = [(inputs[kind], number) for number, kind in enumerate(self.kinds)]
        # One view of each image, whatever the recipe evaluates.
        config = replace(self.config, recipe=self.config.recipe.plain)
        self.state = self.backend.create_state(config, parameters_in(inputs))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.labels = self.predict()

    def predict(self) -> dict[int, NDArray]:
        """Return the label map of each image, by its number."""
        backend, state, crop = self.backend, self.state, self.config.recipe.crop
        if not hasattr(backend, "predict_area"):
            return {number: labels for labels, number in predict(backend, state, self.images)}
        predict_area = partial(backend.predict_area, state)
        return {number: by_areas(image, crop, predict_area) for image, number in self.images}

    def finish(self) -> None:
        """Do nothing: the label maps are on the host."""

    def read(self) -> list[NDArray]:
        """Do nothing: the label maps have been read."""
        return []

    def answer(self) -> Arrays:
        self.first_step()
        return {
            kind: np.stack([self.labels[n] for n, name in enumerate(self.kinds) if name == kind])
            for kind in dict.fromkeys(self.kinds)
        }


class Images(Case):
    """Whole images of two shapes."""

    name = "images"
    sentence = "label maps of as many whole images as a batch has"
    work = WholeImages
    bounds = bounds_of(**dict.fromkeys(KINDS, "step: label maps"))
    parts = frozenset({"network", "upsampling"})

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        generator = np.random.default_rng((config.seed, 7))
        sizes = {kind: image_size(kind, config.recipe.crop) for kind in KINDS}
        images = {kind: draw_pair(size, generator)[0] for kind, size in sizes.items()}
        return probe_arrays(config.recipe, config.seed) | images

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        """Return ``CODE/KIND`` -> float32 logits [H, W, C], for the code of each track."""
        recipe, parameters = config.recipe, parameters_in(inputs)

        def logits(part: NDArray[np.uint8]) -> NDArray[np.float32]:
            passed = reference.forward(parameters, part[None], recipe.network, training=False)
            return passed.logits[0].astype(np.float32)

        answers: Arrays = {}
        for kind in dict.fromkeys(order(recipe.batch_size)):
            image = inputs[kind]
            size = image.shape[0], image.shape[1]
            answers[f"default/{kind}"] = by_tiles(image, tile_for(size, recipe.tile), logits)
            answers[f"chapter/{kind}"] = by_areas(image, recipe.crop, logits)
        return answers

    def expected_of(self, expected: Arrays, code: str) -> Arrays:
        return part(expected, code)

    def errors(self, answers: Arrays, expected: Arrays, inputs: Arrays) -> dict[str, float]:
        return {name: preference(answers[name], logits) for name, logits in expected.items()}

    def costs(self, config: Config) -> Costs:
        # A forward pass of each image, once, whatever a track computes to get there.
        size = image_size(KINDS[0], config.recipe.crop)
        height, width = (-(-side // STRIDE) * STRIDE for side in size)
        return forward_costs(replace(config, recipe=replace(config.recipe, crop=(height, width))))

    def pixels(self, config: Config, track: str) -> int:
        # A pixel in two of the chapter's areas counts twice; one that fills up an area does not.
        crop, total = config.recipe.crop, 0
        for kind in order(config.recipe.batch_size):
            image = np.empty(image_size(kind, crop), np.uint8)
            areas = places_of(image.shape, crop) if track == "chapter" else [np.s_[:, :]]
            total += sum(image[area].size for area in areas)
        return total
