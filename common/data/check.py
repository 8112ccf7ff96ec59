"""What is wrong with a data set, and which classes its label maps hold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC, VOID, VOID_COLOR, Classes, Color, voc_colors
from common.data.dataset import Dataset, pair_size, shared_images
from common.data.images import LARGEST, read_image
from common.data.lists import SPLITS, Pair, list_path, read_pairs
from common.data.looks import Look, look_at, of_all, signs, without_path
from common.data.masks import MANY_COLORS, read_mask
from common.data.shards.files import File, is_packed, packed_files
from common.errors import InputError


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file, or with the folder as a whole."""

    file: File
    what: str


def survey(train: Dataset, val: Dataset) -> list[str]:
    """Read all label maps of a training and return what is odd about the data set as a whole.

    Raises:
        InputError: Naming the first label map that cannot be read, with the likely cause.
    """
    pairs = (*train.pairs, *val.pairs)
    looks = list(of_all(lambda p: look_at(p.label, train.classes, train.largest), pairs))
    wrong, odd = [look for look in looks if look.wrong is not None], signs(looks, train.classes)
    if wrong:
        more = f" (and {len(wrong) - 1} more cannot be read)" if wrong[1:] else ""
        raise InputError("; ".join([f"{wrong[0].path}: {wrong[0].wrong}{more}", *odd]))
    return odd + shared_images(train, val)


@dataclass(frozen=True)
class Findings:
    """What a thorough check has found.

    Attributes:
        problems: In the order of the lists; those of the whole data set last.
        images: How many each split's list names.
        shares: By name of a class that label maps have, its share of all pixels.
    """

    problems: list[Problem]
    images: dict[str, int]
    shares: dict[str, float]


def check_dataset(root: Path, largest: int = LARGEST, classes: Classes = VOC) -> Findings:
    """Decode every image and label map of ``root``'s lists; return what is wrong.

    Args:
        root: A folder in VOC2012's layout; both its lists, train and val, are checked.
        largest: Pixels that an image may have.
        classes: What the label maps show.

    Raises:
        InputError: If there is no such folder, or it is packed and its shards are not as its index
            says.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such data folder")
    if is_packed(root):
        packed_files(root)  # Without its index no list can be read.
    problems: list[Problem] = []
    datasets, looks, images = [], [], {}
    for split in SPLITS:
        errors: list[InputError] = []
        pairs = []
        try:
            pairs = [pair for _, pair in read_pairs(root, split, errors)]
        except InputError as error:
            errors.append(error)
        path = list_path(root, split)
        problems += [Problem(path, without_path(path, error)) for error in errors]
        images[split] = len(pairs)
        sound = []
        checked = of_all(lambda pair: _check_pair(pair, classes, largest), pairs)
        for pair, (look, wrong) in zip(pairs, checked, strict=True):
            problems += wrong
            looks.append(look)
            sound += [] if wrong else [pair]
        datasets.append(Dataset(root, split, tuple(sound), (), 0))
    odd = signs(looks, classes) + shared_images(*datasets)
    problems += [Problem(root, sign) for sign in odd]
    pixels = sum((look.pixels for look in looks), np.zeros(256, np.int64))
    labels = [int(label) for label in np.flatnonzero(pixels)]
    shares = {classes.name_of(label): float(pixels[label] / pixels.sum()) for label in labels}
    return Findings(problems, images, shares)


def _check_pair(pair: Pair, classes: Classes, largest: int) -> tuple[Look, list[Problem]]:
    """Decode an image and its label map; return what the latter shows, and what is wrong."""
    problems, size = [], None
    try:
        size = read_image(pair.image, largest).shape[:2]
    except InputError as error:
        problems.append(Problem(pair.image, without_path(pair.image, error)))
    look = look_at(pair.label, classes, largest)
    if look.wrong is not None:
        problems.append(Problem(pair.label, look.wrong))
    elif size is not None and size != look.shape:
        try:
            pair_size(pair, largest)
        except InputError as error:
            problems.append(Problem(pair.label, without_path(pair.label, error)))
    return look, problems


def find_classes(root: Path, largest: int = LARGEST) -> Classes:
    """Return a class list that fits the label maps of a data set: their numbers or their colours.

    Of numbers, 0 is the background and every number up to the largest is a class, in the colour
    that a palette gives it. Of colours, black is the background, or what covers most.

    Args:
        root: A folder in VOC2012's layout; the label maps of both its lists are read.
        largest: Pixels that an image may have.

    Raises:
        InputError: For a label map that cannot be read, or more than 255 classes.
    """
    pairs = [pair for split in SPLITS for _, pair in read_pairs(root, split)]
    shown: dict[int, Color] = {}
    numbers: set[int] = set()
    colors: Counter[Color] = Counter()
    for own_numbers, own_colors, own_shown in of_all(lambda p: _held(p.label, largest), pairs):
        numbers |= own_numbers
        colors.update(own_colors)
        shown = own_shown | shown
    colors.pop(VOID_COLOR, None)
    numbers.discard(VOID)
    if not numbers and not colors:
        raise InputError(f"{root}: the label maps hold nothing but void ({VOID}): no class")
    if numbers:
        listed = _distinct([shown.get(number) for number in range(max(numbers) + 1)])
        if other := sorted(colors.keys() - set(listed)):
            raise InputError(
                f"{root}: some label maps hold numbers, others colours such as {other[0]}, which "
                "no palette gives a number: save all in one way"
            )
    else:
        background = (0, 0, 0) if (0, 0, 0) in colors else colors.most_common(1)[0][0]
        listed = (background, *sorted(colors.keys() - {background}))
    if len(listed) > VOID:
        raise InputError(f"{root}: the label maps have {len(listed)} colours: at most {VOID}")
    names = ("background", *(f"class {label}" for label in range(1, len(listed))))
    return Classes(names, listed)


def _held(path: File, largest: int) -> tuple[set[int], dict[Color, int], dict[int, Color]]:
    """Return the numbers, or the colours with their pixels, of a label map, and its palette's."""
    mask = read_mask(path, largest)
    if mask.samples.ndim == 3:
        colors, counts = np.unique(mask.samples.reshape(-1, 3), axis=0, return_counts=True)
        if len(colors) > MANY_COLORS:
            raise InputError(
                f"{path}: has {len(colors)} colours: it is a picture, not a label map, or was "
                "saved with loss, as JPEG does, or resized with smoothing"
            )
        return set(), dict(zip(map(_color, colors), counts.tolist(), strict=True)), {}
    numbers = set(np.unique(mask.samples).tolist())
    if max(numbers) > VOID:
        raise InputError(f"{path}: holds the number {max(numbers)}: at most {VOID}, which is void")
    palette = () if mask.palette is None else mask.palette
    shown = {number: _color(palette[number]) for number in numbers if number < len(palette)}
    return numbers, {}, shown


def _color(values: NDArray[np.uint8]) -> Color:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _distinct(colors: Sequence[Color | None]) -> tuple[Color, ...]:
    """Return ``colors``, with one of VOC's instead of each that is none or is there before."""
    spare = (color for color in map(_color, voc_colors(VOID)) if color not in set(colors))
    listed: list[Color] = []
    for color in colors:
        free = color is not None and color not in (*listed, VOID_COLOR)
        listed.append(color if free and color is not None else next(spare))
    return tuple(listed)
