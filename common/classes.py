"""The classes that a network tells apart: their names and colours, VOC2012's or a user's own."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from common.documents import ClassesRecord
from common.errors import InputError
from common.toml import quoted, read_toml

VOID = 255
"""Label of the borders and difficult regions that belong to no class."""
VOID_NAME, VOID_COLOR = "void", (224, 224, 192)
FORM = 'expected [[class]] tables of a name = "..." and a color = [R, G, B]'

Color = tuple[int, int, int]


def voc_colors(count: int) -> NDArray[np.uint8]:
    """Return VOC's colour map: the bits of an index, three at a time, from the top of R, G, B."""
    index = np.arange(count)
    colors = np.zeros((count, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= ((index >> (3 * level + channel)) & 1).astype(np.uint8) << (
                7 - level
            )
    return colors


@dataclass(frozen=True, repr=False)
class Classes:
    """A class list; a class's label is its place in the list, and the first is the background.

    Attributes:
        names: 1 to 255, each another, none ``void``.
        colors: RGB of each, 0..255, each another, none that of void.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= VOID:
            raise InputError(f"has {len(self.names)} classes: expected 1 to {VOID}")
        if len(self.names) != len(self.colors):
            raise InputError(
                f"has {len(self.names)} names and {len(self.colors)} colours: expected equally many"
            )
        for name, color in zip(self.names, self.colors, strict=True):
            if not name.strip() or not name.isprintable():
                raise InputError(f"class {name!r}: expected a name of printable characters")
            if name == VOID_NAME or color == VOID_COLOR:
                raise InputError(
                    f"class {name!r} has the name or the colour of void, {VOID_NAME!r} and "
                    f"{list(VOID_COLOR)}: choose others"
                )
            if len(color) != 3 or not all(0 <= value <= 255 for value in color):
                raise InputError(f"class {name!r}: color is {list(color)}: expected 3 of 0..255")
        for what, values in (("name", self.names), ("color", self.colors)):
            _check_unlike(what, values)

    def __repr__(self) -> str:
        """Return how many there are, and their names as far as they fit a line."""
        shown = ", ".join(self.names[:4]) + (", ..." if self.names[4:] else "")
        return f"{len(self.names)} ({shown})"

    @property
    def listed(self) -> str:
        """Return how many there are, and each label with its name and colour."""
        each = (f"{n} {name} {self.hex_color(n)}" for n, name in enumerate(self.names))
        return f"{len(self.names)} ({', '.join(each)})"

    @staticmethod
    def read(path: Path) -> "Classes":
        """Read a class list, TOML.

        Raises:
            InputError: Naming the file, for anything but a list of names and colours.
        """
        return read_toml(path, "class list", FORM, Classes.from_tables)

    @staticmethod
    def from_tables(values: Mapping[str, Any]) -> "Classes":
        """Return the list that a TOML file's tables state.

        Raises:
            InputError: If they are of another form, or break a rule of this class.
        """
        tables = values.get("class")
        if unknown := [key for key in values if key != "class"]:
            raise InputError(f"key {unknown[0]!r} is unknown: {FORM}")
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise InputError(f"has no list of classes: {FORM}")
        names, colors = [], []
        for label, table in enumerate(tables):
            if unknown := [key for key in table if key not in ("name", "color")]:
                raise InputError(f"class {label}: key {unknown[0]!r} is unknown: {FORM}")
            name, color = table.get("name"), table.get("color")
            if not isinstance(name, str):
                raise InputError(f"class {label}: name is {_shown(name)}: {FORM}")
            if not isinstance(color, list) or not all(type(value) is int for value in color):
                raise InputError(f"class {label}: color is {_shown(color)}: {FORM}")
            names.append(name.strip())
            colors.append(tuple(color))
        return Classes(tuple(names), cast(tuple[Color, ...], tuple(colors)))

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Classes":
        """Rebuild a list from its stored form.

        Raises:
            InputError: If it breaks a rule of this class.
        """
        colors = tuple(tuple(map(int, color)) for color in record["colors"])
        return Classes(tuple(map(str, record["names"])), cast(tuple[Color, ...], colors))

    def to_json(self) -> ClassesRecord:
        """Return names and colours as JSON's types."""
        return {"names": list(self.names), "colors": [list(color) for color in self.colors]}

    def to_toml(self) -> str:
        """Return the list as the text of a file that ``read`` reads."""
        lines = [f"# Label of a class: its place here, from 0, the background. {VOID} is void.", ""]
        for label, (name, color) in enumerate(zip(self.names, self.colors, strict=True)):
            lines.append(f"[[class]]  # {label}\nname = {quoted(name)}\ncolor = {list(color)}\n")
        return "\n".join(lines)

    @functools.cached_property
    def table(self) -> NDArray[np.uint8]:
        """Return RGB by label, uint8 [256, 3]; what is neither a class nor void has VOC's."""
        colors = voc_colors(256)
        colors[: len(self.colors)] = self.colors
        colors[VOID] = VOID_COLOR
        return colors

    @functools.cached_property
    def palette(self) -> bytes:
        """Return the 256 RGB triples of a label map's palette."""
        return self.table.tobytes()

    @functools.cached_property
    def labels(self) -> frozenset[int]:
        """Return every label: the classes' and void's."""
        return frozenset((*range(len(self.names)), VOID))

    @functools.cached_property
    def label_colors(self) -> frozenset[Color]:
        """Return the RGB of every label."""
        return frozenset((*self.colors, VOID_COLOR))

    def name_of(self, label: int) -> str:
        """Return the name of a class, or of void, 255."""
        return VOID_NAME if label == VOID else self.names[label]

    def hex_color(self, label: int) -> str:
        """Return the colour of a class, or of void, 255, as "#rrggbb"."""
        return f"#{self.table[label].tobytes().hex()}"

    def to_rgb(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the colours, uint8 [..., 3], of labels, uint8 [...]."""
        return self.table[labels]

    def from_rgb(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the labels, uint8 [...], of colours, uint8 [..., 3].

        Raises:
            InputError: Naming the first colour that is neither a class's nor void.
        """
        by_color, none = _labels_by_color(self)
        labels = by_color[_packed(rgb)]
        if (wrong := labels == none).any():
            color = tuple(int(value) for value in rgb[wrong][0])
            raise InputError(f"colour {color} belongs to no class")
        return labels.astype(np.uint8, copy=False)


def _check_unlike(what: str, values: Sequence[object]) -> None:
    """Raise InputError for the first value that stands in a list twice."""
    for label, value in enumerate(values):
        if (first := values.index(value)) < label:
            shown = repr(value) if isinstance(value, str) else list(cast(Color, value))
            raise InputError(
                f"classes {first} and {label} have the same {what}, {shown}: "
                f"each needs a {what} of its own"
            )


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:60]


@functools.lru_cache(maxsize=2)
def _labels_by_color(classes: Classes) -> tuple[NDArray[np.integer], int]:
    """Return the label of each of the 256^3 colours, and what stands where there is none."""
    count = len(classes.names)
    none = count if count < VOID else VOID + 1
    labels = np.full(256**3, none, np.min_scalar_type(none))
    labels[_packed(np.array(classes.colors, np.uint8))] = np.arange(count)
    labels[_packed(np.array(VOID_COLOR, np.uint8))] = VOID
    return labels, none


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    packed = rgb[..., 0].astype(np.intp)
    for channel in (1, 2):
        packed <<= 8
        packed |= rgb[..., channel]
    return packed


VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
VOC = Classes(VOC_NAMES, tuple((int(r), int(g), int(b)) for r, g, b in voc_colors(len(VOC_NAMES))))
"""Pascal VOC2012's classes in the development kit's colours (VOClabelcolormap): the chapter's."""


def changed(old: Classes, new: Classes) -> str:
    """Return in what two class lists differ, in words."""
    if old.names != new.names:
        return f"classes {old!r} -> {new!r}"
    return "the colours of the classes"
