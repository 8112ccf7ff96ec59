"""The case `images`: the images, the chapter's way over them, what both ways have to give.

A step is the prediction of as many images of VOC's size as a batch has, from bytes to label maps on
the host. Ways differ in what a pixel's label rests on, so each has its own float64 answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.loading import LARGER
from benchmarks.cases.tracks import code_of
from common.data.crops import pad_to, tiles
from common.data.synthetic import draw_pair
from common.data.tiling import tile_for
from common.parameters.names import Parameters
from common.recipes import Recipe
from common.reference import network as reference

KINDS = ("landscape", "portrait")
"""Names of the two images, and of the answers about them: of four images one is upright."""


def order(count: int) -> list[str]:
    """Return the kind of each of ``count`` images: they are predicted in this order."""
    return [KINDS[1] if number % 4 == 3 else KINDS[0] for number in range(count)]


def image_size(kind: str, crop: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of an image: 375x500, or 500x375, for a crop of 320x480."""
    height, width = crop[0] + LARGER[0], crop[1] + LARGER[1]
    return (height, width) if kind == KINDS[0] else (width, height)


def make_images(recipe: Recipe, seed: int) -> dict[str, NDArray]:
    """Draw an image of each kind, uint8 [H, W, 3]."""
    generator = np.random.default_rng((seed, 7))
    return {kind: draw_pair(image_size(kind, recipe.crop), generator)[0] for kind in KINDS}


def by_areas(
    image: NDArray[np.uint8],
    area: tuple[int, int],
    predict_area: Callable[[NDArray[np.uint8]], NDArray],
) -> NDArray:
    """Return what ``predict_area`` gives for the fewest areas that cover an image, laid together.

    Where areas overlap the later one stays. Averaging would cost the chapter's way more.

    Source:
        Dive into Deep Learning, "Fully Convolutional Networks: Prediction": several areas of the
        crop's size, whose union covers the image.
    """
    padded = pad_to(image, area)
    laid: NDArray | None = None
    for top, left in tiles((padded.shape[0], padded.shape[1]), area):
        place = np.s_[top : top + area[0], left : left + area[1]]
        found = predict_area(padded[place])
        if laid is None:
            laid = np.empty((*padded.shape[:2], *found.shape[2:]), found.dtype)
        laid[place] = found
    assert laid is not None
    return laid[: image.shape[0], : image.shape[1]]


def predicted_pixels(track: str, recipe: Recipe) -> int:
    """Return how many of the images' pixels a step gives a label, each as often as it does so.

    By areas that is several times where they overlap. What only fills an area up does not count.
    """
    total = 0
    for kind in order(recipe.batch_size):
        height, width = image_size(kind, recipe.crop)
        if track != "chapter":
            total += height * width
            continue
        padded = max(height, recipe.crop[0]), max(width, recipe.crop[1])
        for top, left in tiles(padded, recipe.crop):
            rows, columns = (
                min(start + side, end) - start
                for start, side, end in zip((top, left), recipe.crop, (height, width), strict=True)
            )
            total += rows * columns
    return total


def expected_images(parameters: Parameters, recipe: Recipe, arrays: Any) -> dict[str, NDArray]:
    """Return ``TRACK/KIND`` -> the reference's logits, float32 [H, W, C], for each track's way."""

    def logits(part: NDArray[np.uint8]) -> NDArray[np.float32]:
        passed = reference.forward(parameters, part[None], recipe.backbone, False)
        return passed.logits[0].astype(np.float32)

    found = {}
    for kind in dict.fromkeys(order(recipe.batch_size)):
        image = arrays[kind]
        size = image.shape[:2]
        for track, area in (("default", tile_for(size, recipe.tile)), ("chapter", recipe.crop)):
            found[f"{track}/{kind}"] = by_areas(image, area, logits)
    return found


def of_track(expected: dict[str, NDArray], track: str) -> dict[str, NDArray]:
    """Return the answers that a row is held to: where tracks have their own, those of its track."""
    prefix = f"{code_of(track)}/"
    own = {name.removeprefix(prefix): a for name, a in expected.items() if name.startswith(prefix)}
    return own or expected
