"""What is wrong with a data set: file by file, and what its label maps have in common."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.data.dataset import Dataset, pair_size, shared_images
from common.data.images import LARGEST, read_image
from common.data.lists import Pair, list_path, read_pairs
from common.data.masks import Mask, ramps_and_edges, read_mask
from common.data.voc import LABEL_COLORS, LABELS, VOID, class_name, grey_values, index_to_rgb
from common.errors import InputError
from common.machine.progress import tracked
from common.machine.threads import available_cpus

T = TypeVar("T")
SPLITS = ("train", "val")
ENOUGH = 10
"""Label maps from which on what all have in common is no chance."""
RAMPS = 0.1
"""Share of slopes among the edges of labels that no hand draws."""

NOT_VOC = (
    "their numbers or colours are not those of VOC's classes: save background as 0 and objects as "
    "a class number from 1 to 20, as grey (docs/DATA.md)"
)
"""Why a data set has no labels at all, where nothing more precise is known."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file, or with the folder as a whole."""

    file: Path
    what: str


@dataclass(frozen=True)
class Look:
    """What one label map shows.

    Attributes:
        shape: Height and width; None where it cannot be read.
        pixels: By label, int64 [256]; zeros where the file has other values.
        wrong: Why it has no labels; then ``values`` are its numbers or colours.
        shown: Its numbers with their colours, of a palette that is not VOC's.
        ramps, edges: As ``ramps_and_edges`` counts them.
    """

    path: Path
    shape: tuple[int, ...] | None = None
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    wrong: str | None = None
    values: frozenset[tuple[int, ...]] = frozenset()
    shown: frozenset[tuple[int, ...]] = frozenset()
    ramps: int = 0
    edges: int = 0


def look_at(path: Path, largest: int = LARGEST) -> Look:
    """Read a label map and return what it shows; an error is part of that."""
    try:
        mask = read_mask(path, largest)
    except InputError as error:
        return Look(path, wrong=_what(path, error))
    shape = mask.samples.shape[:2]
    try:
        labels = mask.labels()
    except InputError as error:
        return Look(path, shape, wrong=str(error), values=mask.values())
    pixels = np.bincount(labels.ravel(), minlength=256)
    shown, slopes = _shown(mask, np.flatnonzero(pixels)), ramps_and_edges(labels)
    return Look(path, shape, pixels, shown=shown, ramps=slopes[0], edges=slopes[1])


def _shown(mask: Mask, used: NDArray[np.intp]) -> frozenset[tuple[int, ...]]:
    """Return the numbers of a mask with their colours, if the palette is not VOC's."""
    colors = mask.palette
    if colors is None:
        return frozenset()
    used = used[used < len(colors)]
    if (colors[used] == index_to_rgb(used.astype(np.uint8))).all():
        return frozenset()
    return frozenset((int(index), *map(int, colors[index])) for index in used)


def _of_all(read: Callable[[Pair, int], T], pairs: Sequence[Pair], largest: int) -> Iterator[T]:
    """Yield what ``read`` returns of each pair, and show how many are read after five seconds."""
    with ThreadPoolExecutor(len(available_cpus())) as pool:
        results = pool.map(lambda pair: read(pair, largest), pairs)
        yield from tracked(results, len(pairs), "image", "reading", delay=5)


def signs(looks: Sequence[Look]) -> list[str]:
    """Return what is odd about label maps taken together, each with its likely cause, in a line.

    One file alone proves little: a mask of a boat and a swapped one of an aeroplane are equal.
    """
    pixels = sum((look.pixels for look in looks), np.zeros(256, np.int64))
    classes = {int(label) for label in np.flatnonzero(pixels)}
    wrong = [look for look in looks if look.values]
    odd = []
    values = frozenset().union(*(look.values for look in wrong))
    cause = _cause(values, classes if len(wrong) < len(looks) else None) if wrong else None
    if wrong and cause is None and len(wrong) == len(looks):
        cause = NOT_VOC
    if cause:
        odd.append(f"{len(wrong)} of {len(looks)} label maps have no labels: {cause}")
    elif classes and classes <= {0, VOID} and all(look.wrong is None for look in looks):
        names = " and ".join(f"{label} ({class_name(label)})" for label in sorted(classes))
        odd.append(
            f"the label maps hold nothing but {names}: no class can be learned; objects must be "
            "saved as their class number, 1 to 20, not as 255"
        )
    elif pixels[VOID] > pixels.sum() / 2:
        share = pixels[VOID] / pixels.sum()
        odd.append(f"{share:.0%} of all pixels are void (255): is that the background, which is 0?")
    readable = sum(look.wrong is None for look in looks)
    if readable >= ENOUGH and 0 not in classes and classes != {VOID}:
        odd.append(
            f"none of {readable} label maps has any background (0): do the class numbers count "
            "from 1, or is background another number?"
        )
    ramps, edges = sum(look.ramps for look in looks), sum(look.edges for look in looks)
    if ramps > RAMPS * edges and edges >= ENOUGH:
        odd.append(
            f"{ramps / edges:.0%} of the edges between labels are slopes: the label maps were "
            "likely resized or compressed as photographs are, which makes classes of mixtures"
        )
        return odd
    return odd + _object_signs(looks) + _palette_signs(looks)


def _object_signs(looks: Sequence[Look]) -> list[str]:
    """Return that label maps number their objects, as VOC's SegmentationObject does."""
    labels = [
        np.flatnonzero(look.pixels[1:VOID]) + 1 for look in looks if look.pixels[1:VOID].any()
    ]
    counts = {len(each) for each in labels}
    if len(labels) < ENOUGH or len(counts) < 3 or any(each[-1] != len(each) for each in labels):
        return []
    return [
        "in every label map the labels are 1, 2, 3, ... without a gap: they likely number the "
        "objects, as VOC's SegmentationObject does; take those of SegmentationClass"
    ]


def _cause(values: frozenset[tuple[int, ...]], classes: set[int] | None) -> str | None:
    """Return why label maps with these numbers or colours have no labels, if there is a sign of it.

    Args:
        values: What the wrong ones hold.
        classes: What all the others hold; None where there are no others.
    """
    if all(len(value) == 3 for value in values):
        if not {value[::-1] for value in values} <= LABEL_COLORS:
            return None
        colors = index_to_rgb(np.array(sorted(classes or ()), np.uint8))
        swapped = {tuple(color) for color in colors[:, ::-1].tolist()}
        others = classes is not None and swapped <= LABEL_COLORS
        return (
            "their colours are VOC's once red and blue are swapped"
            f"{', so the others are likely swapped too' if others else ''}: OpenCV writes channels "
            "as BGR"
        )
    numbers = {value[0] for value in values}
    if not all(len(value) == 1 for value in values):
        return None
    if numbers <= {0, 255}:
        return "they are black and white: save objects as their class number, 1 to 20"
    if numbers <= LABELS:
        return "their three channels are equal class numbers: save one channel, as grey"
    for greys in grey_values():
        # One number alone, among label maps that are none of grey colours, may be so by chance.
        if numbers <= greys and ((classes or set()) <= greys or len(numbers - LABELS) > 1):
            others = classes is not None and classes <= greys
            return (
                "their numbers are the greys of VOC's colours"
                f"{', so the others are likely grey too' if others else ''}: do not convert label "
                "maps to grey"
            )
    return None


def _palette_signs(looks: Sequence[Look]) -> list[str]:
    """Return what is odd about palettes: in each file, one number must mean one thing."""
    colors: dict[int, dict[tuple[int, ...], Path]] = {}
    for look in looks:
        for index, *color in sorted(look.shown):
            colors.setdefault(index, {}).setdefault(tuple(color), look.path)
    for index, paths in sorted(colors.items()):
        if len(paths) > 1:
            first, second = list(paths.items())[:2]
            return [
                f"number {index} has the colour {first[0]} in {first[1].name} and {second[0]} in "
                f"{second[1].name}: an image program has numbered the colours of each file anew, "
                "so the numbers are no classes; save the label maps with one palette"
            ]
    return []


def survey(train: Dataset, val: Dataset) -> list[str]:
    """Read all label maps of a training and return what is odd about the data set as a whole.

    Raises:
        InputError: Naming the first label map that cannot be read, with the likely cause.
    """
    pairs = (*train.pairs, *val.pairs)
    looks = list(_of_all(lambda pair, largest: look_at(pair.label, largest), pairs, train.largest))
    wrong, odd = [look for look in looks if look.wrong is not None], signs(looks)
    if wrong:
        more = f" (and {len(wrong) - 1} more cannot be read)" if wrong[1:] else ""
        raise InputError("; ".join([f"{wrong[0].path}: {wrong[0].wrong}{more}", *odd]))
    shared = shared_images(train, val)
    return odd + ([shared] if shared else [])


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


def check_dataset(root: Path, largest: int = LARGEST) -> Findings:
    """Decode every image and label map of ``root``'s lists; return what is wrong.

    Args:
        root: A folder in VOC2012's layout; both its lists, train and val, are checked.
        largest: Pixels that an image may have.

    Raises:
        InputError: If there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such data folder")
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
        problems += [Problem(path, _what(path, error)) for error in errors]
        images[split] = len(pairs)
        sound = []
        for pair, (look, wrong) in zip(pairs, _of_all(_check_pair, pairs, largest), strict=True):
            problems += wrong
            looks.append(look)
            sound += [] if wrong else [pair]
        datasets.append(Dataset(root, split, tuple(sound), (), 0))
    odd = signs(looks)
    if shared := shared_images(*datasets):
        odd.append(shared)
    problems += [Problem(root, sign) for sign in odd]
    pixels = sum((look.pixels for look in looks), np.zeros(256, np.int64))
    shares = {class_name(int(n)): float(pixels[n] / pixels.sum()) for n in np.flatnonzero(pixels)}
    return Findings(problems, images, shares)


def _check_pair(pair: Pair, largest: int) -> tuple[Look, list[Problem]]:
    """Decode an image and its label map; return what the latter shows, and what is wrong."""
    problems, size = [], None
    try:
        size = read_image(pair.image, largest).shape[:2]
    except InputError as error:
        problems.append(Problem(pair.image, _what(pair.image, error)))
    look = look_at(pair.label, largest)
    if look.wrong is not None:
        problems.append(Problem(pair.label, look.wrong))
    elif size is not None and size != look.shape:
        try:
            pair_size(pair, largest)
        except InputError as error:
            problems.append(Problem(pair.label, _what(pair.label, error)))
    return look, problems


def _what(path: Path, error: InputError) -> str:
    return str(error).removeprefix(f"{path}: ")
