"""The float64 reference's answers to the questions of a proof, computed once and kept.

Each file holds the inputs, which a worker reads too, and the answers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.cases.inputs import Arrays, part, prefixed
from benchmarks.equal_work.cache import answer
from common.data.crops import by_tiles, scaled_size, tile_for
from common.data.images import resize_image
from common.machine.progress import tracked
from common.parameters.names import Parameters
from common.recipes import Recipe
from common.reference import network as reference
from common.reference import operations
from common.reference.inputs import keep_off_the_kinks, probe_parameters, single
from common.run.metrics import confusion_matrix, empty_confusion

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]

RATES = (1e-3, 3e-3, 2e-3)
"""The learning rates of the updates: momentum's form shows when they change."""
WORDS = "prediction", "  in float64"
"""What is counted, and how, while the reference predicts."""


def _file(
    kind: str,
    recipe: Recipe,
    parameters: Parameters,
    inputs: Mapping[str, ArrayLike],
    compute: Callable[[], Arrays],
) -> Path:
    """Return the file with the parameters, the other inputs, and what ``compute`` makes of them."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    arrays |= prefixed("parameters", parameters)
    return answer(kind, asdict(recipe), arrays, lambda: {**arrays, **compute()})


def _probe(recipe: Recipe) -> Arrays:
    return probe_parameters(recipe.network)


def _trained(
    parameters: Parameters, batches: Iterable[Batch], rates: Sequence[float], recipe: Recipe
) -> tuple[list[float], Arrays, Arrays, Arrays]:
    """Return each step's loss, the first step's gradients, and what parameters and momentum are."""
    after: Arrays = dict(parameters)
    momentum: Arrays = {}
    first: Arrays = {}
    losses: list[float] = []
    steps = zip(batches, rates, strict=True)
    for (images, labels), rate in tracked(steps, len(rates), "step", "float64 reference"):
        loss, gradients, statistics = reference.gradients(after, images, labels, recipe)
        after, momentum = reference.sgd_step(after, momentum, gradients, recipe, rate)
        after |= statistics
        losses.append(loss)
        first = first or gradients
    return losses, first, after, momentum


def layers_file(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8] | None,
    parameters: Parameters | None = None,
) -> Path:
    """Return the file with every layer's output in both modes.

    Args:
        labels: Kept in the file for a worker's question about the loss; no output depends on them.
        parameters: By default the probe's.
    """
    parameters = parameters or single(_probe(recipe))
    inputs = {"images": images} if labels is None else {"images": images, "labels": labels}

    def compute() -> Arrays:
        outputs: Arrays = {}
        for mode in ("evaluation", "training"):
            passed = reference.forward(parameters, images, recipe.network, mode == "training")
            outputs |= prefixed(mode, passed.layers)
        return outputs

    return _file("layers", recipe, parameters, inputs, compute)


def steps_file(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    counts: Sequence[int],
    precision: str,
    parameters: Parameters | None = None,
    rates: Sequence[float] = RATES,
) -> Path:
    """Return the file with loss, gradients, and what updates by ``counts`` images each leave.

    Gradients are kept in float32 unless a proof in float64 asks for more, the last layer's first;
    parameters and momentum come back in float32 from every backend.

    Args:
        parameters: By default the probe's, off the kinks.
        rates: Of the updates.
    """
    parameters = parameters or single(keep_off_the_kinks(_probe(recipe)))
    rates = rates[: len(counts)]
    dtype = np.float64 if precision == "float64" else np.float32
    inputs: dict[str, ArrayLike] = {"images": images, "labels": labels}
    inputs |= {"rates": rates, "counts": counts}

    def compute() -> Arrays:
        batches = ((images[:count], labels[:count]) for count in counts)
        losses, gradients, after, momentum = _trained(parameters, batches, rates, recipe)
        return {
            **prefixed("gradient", dict(reversed(gradients.items())), dtype),
            "losses": np.array(losses),
            **prefixed("after", after, np.float32),
            **prefixed("momentum", momentum if recipe.momentum else {}, np.float32),
        }

    return _file(f"steps-{dtype.__name__}", recipe, parameters, inputs, compute)


def trace_file(
    recipe: Recipe,
    parameters: Parameters,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    rates: Sequence[float],
) -> Path:
    """Return the file with the losses of a training, one of the N batches of ``images`` a step."""

    def compute() -> Arrays:
        batches = zip(images, labels, strict=True)
        return {"losses": np.array(_trained(parameters, batches, rates, recipe)[0])}

    inputs: dict[str, ArrayLike] = {"images": images, "labels": labels, "rates": rates}
    return _file("trace", recipe, parameters, inputs, compute)


def _averaged(image: NDArray[np.uint8], recipe: Recipe, tiled: Callable[..., NDArray]) -> NDArray:
    """Return the logarithm [H, W, C] of the mean of an image's views' probabilities."""
    size, of_views = (image.shape[0], image.shape[1]), []
    for scale, flip in recipe.views:
        view = resize_image(image, scaled_size(size, scale))
        of_view = tiled(view[:, ::-1])[:, ::-1] if flip else tiled(view)
        of_views.append(operations.resize(of_view.astype(np.float64), size))
    return operations.log_mean_softmax(of_views)


def prediction_file(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    odd: Mapping[str, Batch],
) -> Path:
    """Return the file with the logits of batches and of images of odd sizes, tiled.

    It also has the confusion matrix of the batches, ``matrix/crops``, and that of the odd images,
    ``matrix/tiles``. Of a recipe with several views it has the logarithm of their mean
    probabilities, and the confusion matrix of these, ``matrix/views``.

    Args:
        images, labels: Of N batches, uint8 [N, B, H, W, 3] and [N, B, H, W].
        odd: Name -> an image and its label map.
    """
    parameters = single(_probe(recipe))
    inputs = {"images": images, "labels": labels}
    inputs |= prefixed("odd", {name: image for name, (image, _) in odd.items()})
    inputs |= prefixed("odd labels", {name: label for name, (_, label) in odd.items()})

    def logits(batch: NDArray[np.uint8]) -> NDArray:
        return reference.forward(parameters, batch, recipe.network, training=False).logits

    def of_tile(tile: NDArray[np.uint8]) -> NDArray:
        return logits(tile[None])[0]

    def tiled(image: NDArray[np.uint8]) -> NDArray:
        tile = tile_for((image.shape[0], image.shape[1]), recipe.tile)
        return by_tiles(image, tile, of_tile)

    def averaged(image: NDArray[np.uint8]) -> NDArray:
        return _averaged(image, recipe, tiled)

    def matrix(scores: Mapping[str, NDArray]) -> NDArray[np.int64]:
        total = empty_confusion(recipe.num_classes)
        for name, (_, label) in odd.items():
            total += confusion_matrix(scores[name].argmax(-1), label, recipe.num_classes)
        return total

    def compute() -> Arrays:
        ways = {"logits": tiled} | ({"views": averaged} if recipe.averages_views else {})
        scores: Arrays = {}
        of_batches = np.stack([logits(batch) for batch in tracked(images, len(images), *WORDS)])
        questions = product(ways, odd.items())
        for way, (name, (image, _)) in tracked(questions, len(ways) * len(odd), *WORDS):
            scores[f"{way}/{name}"] = ways[way](image)
        of_images = {way: matrix(part(scores, way)) for way in ways}
        of_crops = confusion_matrix(of_batches.argmax(-1), labels, recipe.num_classes)
        matrices = {"crops": of_crops, "tiles": of_images.pop("logits"), **of_images}
        return {
            "evaluation": of_batches,
            **scores,
            **prefixed("matrix", matrices),
        }

    return _file("prediction", recipe, parameters, inputs, compute)
