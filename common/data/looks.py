"""What label maps show, each alone and all together: signs of masks that mean something else."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC, VOID, Classes
from common.data.images import LARGEST
from common.data.lists import Pair
from common.data.masks import Mask, ramps_and_edges, read_mask
from common.data.shards.files import File
from common.errors import InputError
from common.machine.progress import tracked
from common.machine.threads import cpu_count

T = TypeVar("T")
ENOUGH = 10
"""Label maps from which on what all have in common is no chance."""
RAMPS = 0.1
"""Share of slopes among the edges of labels that no hand draws."""
GREY_WEIGHTS = ((0.299, 0.587, 0.114), (0.2125, 0.7154, 0.0721), (1 / 3, 1 / 3, 1 / 3))
"""Of red, green and blue in the grey of ITU-R BT.601 (Pillow, OpenCV), of BT.709, and in a mean."""


@dataclass(frozen=True)
class Look:
    """What one label map shows.

    Attributes:
        shape: Height and width; None where it cannot be read.
        pixels: By label, int64 [256]; zeros where the file has other values.
        wrong: Why it has no labels; then ``values`` are its numbers or colours.
        shown: Its numbers with their colours, of a palette that is not the classes'.
        ramps, edges: As ``ramps_and_edges`` counts them.
    """

    path: File
    shape: tuple[int, ...] | None = None
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    wrong: str | None = None
    values: frozenset[tuple[int, ...]] = frozenset()
    shown: frozenset[tuple[int, ...]] = frozenset()
    ramps: int = 0
    edges: int = 0


def look_at(path: File, classes: Classes = VOC, largest: int = LARGEST) -> Look:
    """Read a label map and return what it shows; an error is part of that."""
    try:
        mask = read_mask(path, largest)
    except InputError as error:
        return Look(path, wrong=without_path(path, error))
    shape = mask.samples.shape[:2]
    try:
        labels = mask.labels(classes)
    except InputError as error:
        is_flat = mask.samples.dtype == np.uint8 and mask.samples.ndim == 2
        slopes = ramps_and_edges(mask.samples) if is_flat else (0, 0)
        values = mask.values(classes)
        return Look(path, shape, np.zeros(256, np.int64), str(error), values, frozenset(), *slopes)
    pixels = np.bincount(labels.ravel(), minlength=256)
    shown, slopes = _shown(mask, np.flatnonzero(pixels), classes), ramps_and_edges(labels)
    return Look(path, shape, pixels, shown=shown, ramps=slopes[0], edges=slopes[1])


def _shown(mask: Mask, used: NDArray[np.intp], classes: Classes) -> frozenset[tuple[int, ...]]:
    """Return the numbers of a mask with their colours, if the palette is not the classes'."""
    colors = mask.palette
    if colors is None:
        return frozenset()
    used = used[used < len(colors)]
    if (colors[used] == classes.table[used]).all():
        return frozenset()
    return frozenset((int(index), *map(int, colors[index])) for index in used)


def of_all(read: Callable[[Pair], T], pairs: Sequence[Pair]) -> Iterator[T]:
    """Yield what ``read`` returns of each pair, and show how many are read after five seconds."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        results = pool.map(read, pairs)
        yield from tracked(results, len(pairs), "image", "reading", delay=5)


def signs(looks: Sequence[Look], classes: Classes) -> list[str]:
    """Return what is odd about label maps taken together, each with its likely cause, in a line.

    One file alone proves little: a mask of a boat and a swapped one of an aeroplane are equal.
    """
    pixels = sum((look.pixels for look in looks), np.zeros(256, np.int64))
    labels = {int(label) for label in np.flatnonzero(pixels)}
    wrong = [look for look in looks if look.values]
    odd = []
    values = frozenset().union(*(look.values for look in wrong))
    others = labels if len(wrong) < len(looks) else None
    cause = _cause(values, others, classes) if wrong else None
    if cause is None and 2 * len(wrong) > len(looks) and not _slopes(wrong):
        cause = _other_classes(values, classes)
    if cause:
        odd.append(
            f"{len(wrong)} of {len(looks)} label maps hold values that are no class: {cause}"
        )
    elif labels and labels <= {0, VOID} and all(look.wrong is None for look in looks):
        names = " and ".join(f"{label} ({classes.name_of(label)})" for label in sorted(labels))
        odd.append(
            f"the label maps hold nothing but {names}: no class can be learned; objects must be "
            f"saved as their class number, {_numbers(classes)}, not as 255"
        )
    elif pixels[VOID] > pixels.sum() / 2:
        share = pixels[VOID] / pixels.sum()
        odd.append(f"{share:.0%} of all pixels are void (255): is that the background, which is 0?")
    readable = sum(look.wrong is None for look in looks)
    if readable >= ENOUGH and 0 not in labels and labels != {VOID}:
        odd.append(
            f"none of {readable} label maps has any background (0): do the class numbers count "
            "from 1, or is background another number?"
        )
    if slopes := _slopes([look for look in looks if look.wrong is None]):
        odd.append(
            f"{slopes:.0%} of the edges between labels are slopes: the label maps were "
            "likely resized or compressed as photographs are, which makes classes of mixtures"
        )
        return odd
    return odd + _object_signs(looks) + _palette_signs(looks)


def _slopes(looks: Sequence[Look]) -> float | None:
    """Return which share of the edges in label maps are slopes, if it is more than hands draw."""
    ramps, edges = sum(look.ramps for look in looks), sum(look.edges for look in looks)
    return ramps / edges if ramps > RAMPS * edges and edges >= ENOUGH else None


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


def _numbers(classes: Classes) -> str:
    """Return the numbers of the classes that are objects, in words."""
    last = len(classes.names) - 1
    return f"1 to {last}" if last > 1 else "1"


def _cause(
    values: frozenset[tuple[int, ...]], labels: set[int] | None, classes: Classes
) -> str | None:
    """Return why label maps with these numbers or colours have no labels, if there is a sign of it.

    Args:
        values: What the wrong ones hold.
        labels: What all the others hold; None where there are no others.
    """
    own = _owner(classes)
    if all(len(value) == 3 for value in values):
        if not {value[::-1] for value in values} <= classes.label_colors:
            return None
        colors = classes.table[sorted(labels or ())]
        swapped = {tuple(color) for color in colors[:, ::-1].tolist()}
        others = labels is not None and swapped <= classes.label_colors
        return (
            f"their colours are {own}'s once red and blue are swapped"
            f"{', so the others are likely swapped too' if others else ''}: OpenCV writes channels "
            "as BGR"
        )
    numbers = {value[0] for value in values}
    if not all(len(value) == 1 for value in values):
        return None
    if numbers <= {0, 255}:
        return f"they are black and white: save objects as their class number, {_numbers(classes)}"
    if numbers <= classes.labels:
        return "their three channels are equal class numbers: save one channel, as grey"
    for greys in grey_values(classes):
        # One number alone, among label maps that are none of grey colours, may be so by chance.
        more = len(numbers - classes.labels) > 1
        if numbers <= greys and ((labels or set()) <= greys or more):
            others = labels is not None and labels <= greys
            return (
                f"their numbers are the greys of {own}'s colours"
                f"{', so the others are likely grey too' if others else ''}: do not convert label "
                "maps to grey"
            )
    return None


def grey_values(classes: Classes) -> list[set[int]]:
    """Return the greys that the classes' colours become in each way, give or take the rounding."""
    colors = np.array(sorted(classes.label_colors))
    weights = [*GREY_WEIGHTS, *(weights[::-1] for weights in GREY_WEIGHTS[:2])]
    return [
        {int(np.floor(grey)) + more for grey in colors @ np.array(weight) for more in (0, 1)}
        for weight in weights
    ]


def _owner(classes: Classes) -> str:
    return "VOC" if classes == VOC else "the class list"


def _other_classes(values: frozenset[tuple[int, ...]], classes: Classes) -> str | None:
    """Return that the label maps have classes of their own, unless they are pictures."""
    if len(values) > VOID:
        return None
    return (
        f"their numbers or colours are not those of {_owner(classes)}'s classes: `fcn data check "
        "DIR --write-classes FILE` makes a list of your own, or save background as 0 and objects "
        f"as a class number from {_numbers(classes)}, as grey (docs/DATA.md)"
    )


def _palette_signs(looks: Sequence[Look]) -> list[str]:
    """Return what is odd about palettes: in each file, one number must mean one thing."""
    colors: dict[int, dict[tuple[int, ...], File]] = {}
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


def without_path(path: File, error: InputError) -> str:
    """Return an error's message without the file that it begins with."""
    return str(error).removeprefix(f"{path}: ")
