"""The gallery of a page: label maps, and the pixels on which backends disagree."""

import base64
import io
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.results import classes_of
from benchmarks.records.training_documents import Compared, GalleryEntry, Study
from common.classes import VOC, VOID, Classes
from common.data.images import read_image
from common.data.masks import label_image, read_label
from common.documents import RecipeRecord
from common.errors import InputError
from common.machine.files import inside

DISAGREEMENT_COLORS = {2: (240, 150, 20), 3: (205, 35, 35), 4: (90, 25, 140)}
"""RGB by the number of distinct answers, darker for more; the last is for more answers, too."""


class Tile(NamedTuple):
    """One picture of the gallery: a PNG as a data URI, its caption and its text alternative.

    ``key`` is the same for all images: ``image``, ``truth``, a backend or ``disagreement``.
    """

    key: str
    title: str
    source: str
    caption: str
    alternative: str


class Item(NamedTuple):
    """An example: its tiles, the labels in its label maps, and the backends that predicted it.

    ``pairs`` says what two tiles' difference is, by their keys in the tiles' order.
    """

    name: str
    tiles: list[Tile]
    labels: set[int]
    classes: Classes
    backends: list[str]
    sentence: str
    pairs: dict[str, str]


def distinct_answers(predictions: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many different classes the label maps [N, H, W] have at each pixel, [H, W]."""
    ordered = np.sort(predictions, axis=0)
    different: NDArray[np.int64] = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
    return different


def disagreement_picture(image: NDArray[np.uint8], answers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return uint8 [H, W, 3]: the image in pale grey, pixels with several answers in colour."""
    grey = image.mean(axis=2, keepdims=True)
    picture = np.repeat(170 + grey / 3, 3, axis=2).astype(np.uint8)
    for count, color in DISAGREEMENT_COLORS.items():
        picture[answers >= count] = color
    return picture


def legend_classes(items: Sequence[Item]) -> dict[str, str]:
    """Return the name and colour of every class in the gallery's label maps."""
    present = {(label, item.classes) for item in items for label in item.labels}
    ordered = sorted(present, key=lambda pair: pair[0])
    return {classes.name_of(label): classes.hex_color(label) for label, classes in ordered}


def legend_answers(predictions: int) -> dict[str, str]:
    """Return what a disagreement between so many predictions shows, and in which colours."""
    counts = [count for count in DISAGREEMENT_COLORS if count <= predictions]
    return {
        f"{count}{' or more' if count == counts[-1] < predictions else ''} different answers": (
            f"#{bytes(DISAGREEMENT_COLORS[count]).hex()}"
        )
        for count in counts
    }


def gallery_item(
    example: GalleryEntry, folder: Path, titles: dict[str, str], recipe: RecipeRecord
) -> Item:
    """Return an example with its pictures.

    Args:
        example: The names of its files.
        folder: That of the results.
        titles: By backend, of those that are shown: a prediction is a figure, and only a row that
            is ``ok`` has any.
        recipe: Says how void pixels are read, and what the classes are.

    Raises:
        InputError: For a picture that is missing, unreadable or of another size than its image.
    """
    name, void, classes = example["name"], recipe["void"], classes_of(recipe)
    image = read_image(inside(folder, example["image"]))
    truth = _read_map(inside(folder, example["truth"]), image, classes)
    predictions = {
        backend: _read_map(inside(folder, example["predictions"][backend]), image, classes)
        for backend in titles
        if backend in example["predictions"]
    }
    captions = {b: _right_share(labels, truth, void) for b, labels in predictions.items()}
    pairs = {f"truth {b}": f"{titles[b]}: {caption}." for b, caption in captions.items()}
    for a, b in combinations(predictions, 2):
        share = (predictions[a] != predictions[b]).mean()
        pairs[f"{a} {b}"] = f"{titles[a]} and {titles[b]} differ on {share:.2%} of the pixels."
    size = _size(image)
    text = f"True classes of {name}: {_shares(truth, classes)}."
    tiles = [
        Tile("image", "Image", _png(image), size, f"Image {name}, {size} pixels."),
        Tile("truth", "Truth", _png(truth, classes), "", text),
    ]
    for backend, labels in predictions.items():
        title, caption = titles[backend], captions[backend]
        text = f"{title}'s prediction for {name}: {_shares(labels, classes)}; {caption}."
        tiles.append(Tile(backend, title, _png(labels, classes), caption, text))
    sentence = "Fewer than two predictions: nothing to compare."
    if len(predictions) > 1:
        answers = distinct_answers(np.stack(list(predictions.values())))
        sentence = _describe_disagreement(answers, len(predictions))
        picture = _png(disagreement_picture(image, answers))
        share = f"{(answers > 1).mean():.2%} of the pixels"
        text = f"Where the predictions for {name} differ. {sentence}"
        tiles.append(Tile("disagreement", "Disagreement", picture, share, text))
    maps = (truth, *predictions.values())
    present = {int(label) for labels in maps for label in np.unique(labels)}
    return Item(name, tiles, present, classes, list(predictions), sentence, pairs)


def gallery_items(document: Compared | Study, folder: Path, titles: dict[str, str]) -> list[Item]:
    """Return the examples of a document in ``folder`` with the predictions that have a title."""
    recipe = document["config"]["recipe"]
    return [gallery_item(example, folder, titles, recipe) for example in document["gallery"]]


def study_gallery(study: Study, folder: Path) -> list[Item]:
    """Return the examples of a study in ``folder`` with the predictions of its variants."""
    return gallery_items(study, folder, {each["name"]: each["name"] for each in study["variants"]})


def _read_map(path: Path, image: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    """Return a label map of the size of ``image``."""
    labels = read_label(path, classes)
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"{path}: has {_size(labels)} pixels, its image {_size(image)}: a label map must be as "
            "large as its image; restore the file, or run the command again that wrote it"
        )
    return labels


def _describe_disagreement(answers: NDArray[np.int64], backends: int) -> str:
    share = float((answers > 1).mean())
    if share == 0:
        return f"All {backends} predictions are equal in every pixel."
    parts = [
        f"{(answers == count).mean():.2%} with {count} answers"
        for count in range(2, backends + 1)
        if (answers == count).any()
    ]
    return f"The {backends} predictions differ on {share:.2%} of the pixels: {', '.join(parts)}."


def _right_share(labels: NDArray[np.uint8], truth: NDArray[np.uint8], void: str) -> str:
    """Return which share of the pixels that count has its true class, in words."""
    counts = truth != VOID
    if void == "background":
        truth, counts = np.where(counts, truth, 0), np.ones_like(counts)
    return f"{(labels == truth)[counts].mean():.1%} right" if counts.any() else "no pixel counts"


def _shares(labels: NDArray[np.uint8], classes: Classes) -> str:
    indices, counts = np.unique(labels, return_counts=True)
    ordered = sorted(zip(counts.tolist(), indices.tolist(), strict=True), reverse=True)
    return ", ".join(
        f"{classes.name_of(index)} {count / labels.size:.0%}" for count, index in ordered
    )


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[0]} × {picture.shape[1]}"


def _png(picture: NDArray[np.uint8], classes: Classes = VOC) -> str:
    """Return an image [H, W, 3], or a label map [H, W] in its classes' colours, as a data URI."""
    from PIL import Image

    image = Image.fromarray(picture) if picture.ndim == 3 else label_image(picture, classes)
    data = io.BytesIO()
    image.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
