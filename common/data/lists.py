"""The lists of a data set: which images a split has, and which files those are."""

import bisect
import codecs
import functools
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.data.shards.files import IMAGES, LABELS, File, Member, is_packed, packed_files
from common.errors import InputError

LISTS = "ImageSets/Segmentation"
SPLITS = ("train", "val")
IMAGE_SUFFIXES, LABEL_SUFFIXES = (".jpg", ".jpeg", ".png"), (".png",)
"""In lower or upper case; the first one is VOC's own."""
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # Before UTF-16, whose mark it begins with.
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Pair:
    """One entry of a list: its name without suffix, below both folders, and its two files."""

    name: str
    image: File
    label: File


class Files:
    """The files of a folder, found by their names without suffix.

    Attributes:
        folder: JPEGImages or SegmentationClass.
        suffixes: Those that count, in lower case.
    """

    def __init__(
        self, folder: Path, suffixes: Sequence[str], packed: dict[str, Member] | None
    ) -> None:
        """Name a folder, whose files are ``packed`` unless that is None."""
        self.folder, self.suffixes, self._packed = folder, suffixes, packed
        self._listed = functools.cache(self._list)
        self._in_shards: dict[str, list[str]] = {}
        for path in packed or ():
            parent, file = posixpath.split(path)
            self._in_shards.setdefault(parent, []).append(file)

    def at(self, path: str) -> File:
        """Return the file at a path within the folder, as ``find`` has given it."""
        if self._packed is None:
            return self.folder / path
        return self._packed[posixpath.join(self.folder.name, path)]

    def find(self, name: str) -> list[str]:
        """Return the paths, within the folder, of the files that ``name`` may stand for.

        The suffix may be in upper case, and letters with accents may be one character or two, as
        macOS writes them. A file of exactly this name is the only one.
        """
        parent, stem = posixpath.split(name)
        files = self._listed(parent)[1].get(unicodedata.normalize("NFC", stem), [])
        files = [file for file in files if _stem(file) == stem] or files
        if (exact := stem + self.suffixes[0]) in files:
            files = [exact]
        return [posixpath.join(parent, file) for file in files]

    def nearest(self, name: str) -> str:
        """Return, in words, the files that stand beside ``name`` in alphabetical order."""
        parent, stem = posixpath.split(name)
        names, _ = self._listed(parent)
        place = bisect.bisect_left(names, stem.casefold(), key=str.casefold)
        beside = [posixpath.join(parent, file) for file in names[max(0, place - 1) : place + 2]]
        where = posixpath.join(self.folder.name, parent).rstrip("/")
        return f"beside it stand {', '.join(beside)}" if beside else f"{where} has no files"

    def _list(self, parent: str) -> tuple[list[str], dict[str, list[str]]]:
        """Return all names in a folder below, and those that count by their composed stems."""
        try:
            if self._packed is None:
                entries = [entry.name for entry in (self.folder / parent).iterdir()]
            else:
                entries = self._in_shards[posixpath.join(self.folder.name, parent).rstrip("/")]
        except (OSError, ValueError, KeyError):
            entries = []
        entries.sort(key=str.casefold)
        by_stem: dict[str, list[str]] = {}
        for file in entries:
            if posixpath.splitext(file)[1].lower() in self.suffixes:
                by_stem.setdefault(unicodedata.normalize("NFC", _stem(file)), []).append(file)
        return entries, by_stem


def _short(line: str) -> str:
    return line if len(line) <= 80 else f"{line[:80]}..."


def _stem(file: str) -> str:
    return posixpath.splitext(file)[0]


class Resolver:
    """Finds the two files of each entry of the lists of one data set."""

    def __init__(self, root: Path) -> None:
        self._roots = [str(path).split("/") for path in (root.absolute(), root.resolve())]
        packed = packed_files(root) if is_packed(root) else None
        self.images = Files(root / IMAGES, IMAGE_SUFFIXES, packed)
        self.labels = Files(root / LABELS, LABEL_SUFFIXES, packed)

    def pair(self, line: str) -> Pair:
        """Return the entry that a line of a list stands for.

        A line is a name, also with a suffix or a path, or several columns that all name one image.

        Raises:
            InputError: If there is no such image or label map, more than one, or one outside.
        """
        name = self._name(line)
        if name is None and (columns := re.findall(r"[^\s,;\"']+", line)) != [line]:
            names = {self._name(column) for column in columns}
            name = names.pop() if len(names) == 1 else None
            if name is None:
                raise InputError(
                    f"has {len(columns)} columns, {_short(line)!r}, which do not name one image: "
                    "leave the image's name alone on its line"
                )
        if name is None:
            wanted = _without_suffix(self._inside(line)[-1])
            raise InputError(
                f"names {_short(line)}, but {IMAGES} has no {_short(wanted)}.jpg, .jpeg or .png: "
                f"{self.images.nearest(wanted)}"
            )
        labels = self.labels.find(name)
        if not labels:
            raise InputError(
                f"names {_short(line)}, but {LABELS} has no {name}{LABEL_SUFFIXES[0]}: "
                f"{self.labels.nearest(name)}"
            )
        files = self._only(line, self.images.find(name)), self._only(line, labels)
        return Pair(_stem(files[0]), self.images.at(files[0]), self.labels.at(files[1]))

    def _name(self, text: str) -> str | None:
        """Return the name that a text stands for, None if there is no such image."""
        for inside in self._inside(text):
            for name in (inside, _without_suffix(inside)):
                if self.images.find(name):
                    return name
        return None

    def _inside(self, text: str) -> list[str]:
        """Return the paths within the folders that a text may mean.

        Raises:
            InputError: If it leads out of the data set.
        """
        paths = [text] if "\\" not in text else [text, text.replace("\\", "/")]
        inside = []
        for path in map(posixpath.normpath, paths):
            parts = path.replace("//", "/").split("/")
            folder = next((part for part in (IMAGES, LABELS) if part in parts[:-1]), None)
            if folder is not None:
                before, after = parts[: parts.index(folder)], parts[parts.index(folder) + 1 :]
                ends = [own[len(own) - len(before) :] for own in self._roots]
                # Some lists begin every path at the data set, as if that were the root.
                if before == [""] or before in ends:
                    inside.append("/".join(after))
                    continue
            if path.startswith("/") or parts[0] == ".." or re.match("[A-Za-z]:/", path):
                raise InputError(
                    f"names {_short(text)}, which leads out of the folder: name files inside"
                )
            inside.append(path)
        return inside

    @staticmethod
    def _only(line: str, files: list[str]) -> str:
        if len(files) > 1:
            raise InputError(
                f"names {_short(line)}, which may be {' or '.join(files)}: keep one of them"
            )
        return files[0]


def _without_suffix(name: str) -> str:
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def list_path(root: Path, split: str) -> Path:
    """Return the path of a split's list."""
    return root / LISTS / f"{split}.txt"


def read_lines(root: Path, split: str) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line of a split's list that is not empty.

    Raises:
        InputError: If folder or list is absent or cannot be read, or the list is empty.
    """
    path = list_path(root, split)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such data folder")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a folder or a device, not a file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: is absent: {_advice(root)}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    encoding = next((ENCODINGS[mark] for mark in ENCODINGS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line} is not text in UTF-8: save it so") from None
    if "\0" in text:
        raise InputError(f"{path}: has zero bytes: save it as text in UTF-8")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    if not any(line for _, line in lines):
        raise InputError(f"{path}: is empty: it must name an image")
    yield from ((number, line) for number, line in lines if line)


def _advice(root: Path) -> str:
    """Return what to do about a folder without lists."""
    inside = sorted((*root.glob("*"), *root.glob("*/*")), key=lambda path: path.name != "VOC2012")
    for folder in (*inside, root.absolute().parent):
        if (folder / LISTS).is_dir():
            return f"{root} is not the data set itself: name {folder}"
    if others := sorted(path.name for path in (root / LISTS).glob("*.txt")):
        return f"beside it stands {others[0]}: name the images of each split in train.txt, val.txt"
    return f"{root} must be a folder in VOC2012's layout (`fcn data make DIR` makes one)"


def read_pairs(
    root: Path, split: str, wrong: list[InputError] | None = None
) -> Iterator[tuple[int, Pair]]:
    """Yield the number of the line and the files of each entry of a split's list.

    Args:
        root: A folder in VOC2012's layout.
        split: ``train`` or ``val``.
        wrong: Gets the error of each wrong line, which is then left out.

    Raises:
        InputError: At the first wrong line, unless ``wrong`` is there to take it; and as
            ``read_lines`` does.
    """
    resolver, path = Resolver(root), list_path(root, split)
    seen: dict[str, int] = {}
    for number, line in read_lines(root, split):
        try:
            pair = resolver.pair(line)
            if first := seen.get(pair.name):
                raise InputError(f"names {pair.name} again, after line {first}: name it once")
        except InputError as error:
            located = InputError(f"{path}: line {number} {error}")
            if wrong is None:
                raise located from None
            wrong.append(located)
            continue
        seen[pair.name] = number
        yield number, pair
