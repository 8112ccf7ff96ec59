"""The gallery of a page: label maps, and the pixels on which backends disagree."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.training_documents import ComparedExample, GalleryEntry
from common.data.images import read_image, read_label
from common.data.voc import VOID, palette
from common.errors import InputError
from common.run.plots import class_name, hex_color

if TYPE_CHECKING:
    from PIL import Image

DISAGREEMENT_COLORS = {2: (240, 150, 20), 3: (205, 35, 35), 4: (90, 25, 140)}
"""RGB by the number of distinct answers, darker for more; the last stands for more answers too."""


@dataclass(frozen=True)
class Tile:
    """One picture of the gallery: a PNG as a data URI, its caption and its text alternative.

    ``key`` is the same for all images: ``image``, ``truth``, a backend or ``disagreement``.
    """

    key: str
    kind: str
    title: str
    source: str
    caption: str
    alternative: str


@dataclass(frozen=True)
class Item:
    """An example: its tiles and the classes in its label maps.

    ``chosen`` are the keys of the tiles that lie left and right of the divider at first, ``pairs``
    says what two tiles' difference is, by their keys in the tiles' order.
    """

    name: str
    tiles: tuple[Tile, ...]
    classes: frozenset[int]
    sentence: str
    predictions: int
    chosen: tuple[str, str]
    pairs: dict[str, str]


@dataclass(frozen=True)
class ClassColor:
    """A line of the legend."""

    name: str
    color: str


@dataclass(frozen=True)
class Gallery:
    """What ``gallery_section.html.j2`` shows."""

    caption: str
    items: list[Item]
    legend: list[ClassColor]
    answers: list[ClassColor]


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


def gallery_view(items: list[Item], caption: str = "") -> Gallery | None:
    """Return the gallery of a page with its legends, None where there is nothing to show."""
    if not items:
        return None
    most = max(item.predictions for item in items)
    return Gallery(caption, items, legend_classes(items), legend_answers(most))


def legend_classes(items: list[Item]) -> list[ClassColor]:
    """Return the name and colour of every class in the gallery's label maps."""
    present = sorted(frozenset().union(*(item.classes for item in items)))
    return [ClassColor(class_name(index), hex_color(index)) for index in present]


def legend_answers(predictions: int) -> list[ClassColor]:
    """Return what the colours of a disagreement between so many predictions mean."""
    counts = [count for count in DISAGREEMENT_COLORS if count <= predictions]
    return [
        ClassColor(
            f"{count}{' or more' if count == counts[-1] < predictions else ''} different answers",
            f"#{bytes(DISAGREEMENT_COLORS[count]).hex()}",
        )
        for count in counts
    ]


def gallery_item(
    example: GalleryEntry | ComparedExample, folder: Path, titles: dict[str, str], void: str
) -> Item:
    """Return an example with its pictures.

    Args:
        example: The names of its files.
        folder: That of the results.
        titles: By backend, of those that are shown: a prediction is a figure, and only a row that
            is ``ok`` has any.
        void: The recipe's reading of the void pixels.

    Raises:
        InputError: For a picture that is missing, unreadable or of another size than its image.
    """
    name = example["name"]
    image = read_image(folder / example["image"])
    truth = _read_map(folder / example["truth"], image)
    predictions = {
        backend: _read_map(folder / example["predictions"][backend], image)
        for backend in titles
        if backend in example["predictions"]
    }
    captions = {b: _right_share(labels, truth, void) for b, labels in predictions.items()}
    pairs = {f"truth {b}": f"{titles[b]}: {caption}." for b, caption in captions.items()}
    for a, b in combinations(predictions, 2):
        share = (predictions[a] != predictions[b]).mean()
        pairs[f"{a} {b}"] = f"{titles[a]} and {titles[b]} differ on {share:.2%} of the pixels."
    size = _size(image)
    tiles = [
        Tile("image", "photo", "Image", _png(image), size, f"Image {name}, {size} pixels."),
        _map_tile("truth", "Truth", truth, "", f"True classes of {name}: {_shares(truth)}."),
        *(
            _map_tile(
                backend,
                titles[backend],
                labels,
                captions[backend],
                f"{titles[backend]}'s prediction for {name}: {_shares(labels)}; "
                f"{captions[backend]}.",
            )
            for backend, labels in predictions.items()
        ),
    ]
    sentence = "Fewer than two predictions: nothing to compare."
    if len(predictions) > 1:
        answers = distinct_answers(np.stack(list(predictions.values())))
        sentence = _describe_disagreement(answers, len(predictions))
        tiles.append(_disagreement_tile(name, image, answers, sentence))
    maps = (truth, *predictions.values())
    classes = frozenset(int(index) for labels in maps for index in np.unique(labels))
    chosen = ("truth", next(iter(predictions), "image"))
    return Item(name, tuple(tiles), classes, sentence, len(predictions), chosen, pairs)


def _read_map(path: Path, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a label map of the size of ``image``."""
    labels = read_label(path)
    if labels.shape != image.shape[:2]:
        raise InputError(f"{path}: {_size(labels)}, its image {_size(image)}")
    return labels


def _map_tile(
    key: str, title: str, labels: NDArray[np.uint8], caption: str, alternative: str
) -> Tile:
    from PIL import Image

    picture = Image.fromarray(labels)
    picture.putpalette(palette())
    return Tile(key, "map", title, _data_uri(picture), caption, alternative)


def _disagreement_tile(
    name: str, image: NDArray[np.uint8], answers: NDArray[np.int64], sentence: str
) -> Tile:
    return Tile(
        "disagreement",
        "map",
        "Disagreement",
        _png(disagreement_picture(image, answers)),
        f"{(answers > 1).mean():.2%} of the pixels",
        f"Where the backends disagree on {name}. {sentence}",
    )


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


def _shares(labels: NDArray[np.uint8]) -> str:
    indices, counts = np.unique(labels, return_counts=True)
    ordered = sorted(zip(counts.tolist(), indices.tolist(), strict=True), reverse=True)
    return ", ".join(f"{class_name(index)} {count / labels.size:.0%}" for count, index in ordered)


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[0]} × {picture.shape[1]}"


def _png(picture: NDArray[np.uint8]) -> str:
    from PIL import Image

    return _data_uri(Image.fromarray(picture))


def _data_uri(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
