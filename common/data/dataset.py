"""Data sets in Pascal VOC2012's layout."""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC, Classes
from common.data.images import LARGEST, image_size, is_sideways, read_image
from common.data.lists import Pair, read_pairs
from common.data.masks import read_label
from common.data.shards.files import File, Member, file_bytes
from common.errors import InputError
from common.recipe_files import read_recipe
from common.recipes import Recipe

PROJECT = Path(__file__).parents[2]
RECIPE = "fcn-recipe.toml"
"""In the folder of a data set that was made for one recipe: its file."""


@dataclass(frozen=True)
class Dataset:
    """One split, its images not yet decoded.

    Attributes:
        root: A folder in VOC2012's layout, or a packed one.
        split: ``train`` or ``val``.
        pairs: Names without suffix and paths of each image and label map, in the list's order.
        sizes: Height and width of each in pixels.
        dropped: How many of the list are left out as smaller than the crop.
        largest: Pixels that an image may have.
        classes: What the label maps show.
    """

    root: Path
    split: str
    pairs: tuple[Pair, ...]
    sizes: tuple[tuple[int, int], ...]
    dropped: int
    largest: int = LARGEST
    classes: Classes = VOC

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The images' names: paths within their folder, without suffix."""
        return tuple(pair.name for pair in self.pairs)

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Decode an image, uint8 [H, W, 3], and its label map, uint8 [H, W].

        Raises:
            InputError: Naming the file that cannot be read, or has another size than when opened.
        """
        height, width = self.sizes[index]
        pair = self.pairs[index]
        label = read_label(pair.label, self.classes, self.largest)
        arrays = read_image(pair.image, self.largest), label
        for path, array in zip((pair.image, pair.label), arrays, strict=True):
            if array.shape[:2] != (height, width):
                raise InputError(
                    f"{path}: is {array.shape[0]}x{array.shape[1]} now, but was {height}x{width} "
                    "when the data set was opened: leave the files as they are while it is used"
                )
        return arrays

    @property
    def decoded_bytes(self) -> int:
        """The memory that all images and label maps take once decoded."""
        return 4 * sum(height * width for height, width in self.sizes)

    @functools.cached_property
    def digests(self) -> tuple[tuple[bytes, bytes], ...]:
        """SHA-256 over the bytes of each image and of each label map."""
        return tuple((_digest(pair.image), _digest(pair.label)) for pair in self.pairs)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 in hex over the names and the bytes of all files, those dropped left out."""
        total = hashlib.sha256()
        for name, digests in zip(self.names, self.digests, strict=True):
            total.update(name.encode() + b"\0")
            for digest in digests:
                total.update(digest)
        return total.hexdigest()


def _digest(path: File) -> bytes:
    if isinstance(path, Member):
        return path.digest  # Whatever is read of it has this digest.
    return hashlib.sha256(file_bytes(path)).digest()


def shared_images(train: Dataset, val: Dataset) -> list[str]:
    """Return how many images are in both splits, in a line; none if there are none.

    The same bytes count, whatever the file's name.
    """
    names, digests = set(train.names), {image for image, _ in train.digests}
    shared = [
        name
        for name, (image, _) in zip(val.names, val.digests, strict=True)
        if name in names or image in digests
    ]
    if not shared:
        return []
    return [
        f"{len(shared)} of {len(val.names)} validation images are training images too, such as "
        f"{shared[0]}: their scores say nothing about images that the network has not seen"
    ]


def own_recipe(root: Path) -> Recipe | None:
    """Return the recipe that a data set was made for; None where it has none.

    Raises:
        InputError: If its file is no recipe.
    """
    path = root / RECIPE
    return read_recipe(path) if path.is_file() else None


def find_voc() -> Path | None:
    """Return the real images' folder: FCN_VOC_ROOT, else ../shared beside the project, else None.

    A folder that the variable names is returned even if it is absent, so that opening it fails.
    """
    if named := os.environ.get("FCN_VOC_ROOT"):
        return Path(named)
    root = PROJECT.parent / "shared/data/VOCdevkit/VOC2012"
    return root if root.is_dir() else None


def open_dataset(
    root: Path,
    split: str,
    crop: tuple[int, int] | None,
    largest: int = LARGEST,
    classes: Classes = VOC,
) -> Dataset:
    """Open a split; only the files' headers are read, or the index of a packed data set.

    Args:
        root: A folder in VOC2012's layout, or a packed one.
        split: ``train`` or ``val``.
        crop: Leave out images smaller than this height or width in pixels, as the chapter does;
            None keeps all.
        largest: Pixels that an image may have.
        classes: What the label maps show; they are not read yet.

    Raises:
        InputError: Naming the line of the list or the file that is wrong, or the crop that no image
            is large enough for.
    """
    pairs = [pair for _, pair in read_pairs(root, split)]
    sizes = [pair_size(pair, largest) for pair in pairs]
    kept = [
        index
        for index, (height, width) in enumerate(sizes)
        if crop is None or (height >= crop[0] and width >= crop[1])
    ]
    if not kept:
        assert crop is not None
        height, width = max(sizes, key=lambda size: size[0] * size[1])
        raise InputError(
            f"{root}: every image of {split} is smaller than the crop of {crop[0]}x{crop[1]}, the "
            f"largest is {height}x{width}: choose larger images, or a smaller --crop"
        )
    return Dataset(
        root,
        split,
        tuple(pairs[index] for index in kept),
        tuple(sizes[index] for index in kept),
        len(pairs) - len(kept),
        largest,
        classes,
    )


def pair_size(pair: Pair, largest: int = LARGEST) -> tuple[int, int]:
    """Return height and width of an image, from the headers of its two files.

    Raises:
        InputError: If one of them cannot be read or is too large, or if they differ in size.
    """
    size, label_size = image_size(pair.image, largest), image_size(pair.label, largest)
    if size == label_size:
        return size
    reason = ": both must have one size"
    if size == label_size[::-1] and is_sideways(pair.image) != is_sideways(pair.label):
        which = "image" if is_sideways(pair.image) else "label map"
        reason = (
            f", because the EXIF orientation of the {which} turns it: turn the pixels themselves, "
            "or remove the orientation"
        )
    raise InputError(
        f"{pair.label}: is {label_size[0]}x{label_size[1]}, but its image is {size[0]}x{size[1]}"
        f"{reason}"
    )
