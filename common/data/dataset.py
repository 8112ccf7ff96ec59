"""Data sets in Pascal VOC2012's layout."""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from common.data.images import image_size, read_image, read_label
from common.errors import InputError

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Dataset:
    """One split, its images not yet decoded.

    Attributes:
        root: The folder with JPEGImages, SegmentationClass and ImageSets.
        split: ``train`` or ``val``.
        names: File names without suffix, in the list's order.
        sizes: Height and width of each in pixels.
        dropped: How many of the list are left out as smaller than the crop.
    """

    root: Path
    split: str
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    dropped: int

    def image_path(self, index: int) -> Path:
        """Return the path of an image."""
        return self.root / "JPEGImages" / f"{self.names[index]}.jpg"

    def label_path(self, index: int) -> Path:
        """Return the path of a label map."""
        return self.root / "SegmentationClass" / f"{self.names[index]}.png"

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Decode an image, uint8 [H, W, 3], and its label map, uint8 [H, W].

        Raises:
            InputError: Naming the file that cannot be read, or has another size than when opened.
        """
        paths = self.image_path(index), self.label_path(index)
        image, label = read_image(paths[0]), read_label(paths[1])
        height, width = self.sizes[index]
        for path, array in zip(paths, (image, label), strict=True):
            if array.shape[:2] != (height, width):
                raise InputError(
                    f"{path}: is {array.shape[0]}x{array.shape[1]} now, but was {height}x{width} "
                    "when the data set was opened: leave the files as they are while it is used"
                )
        return image, label

    @property
    def decoded_bytes(self) -> int:
        """The memory that all images and label maps take once decoded."""
        return 4 * sum(height * width for height, width in self.sizes)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 in hex over the names and the bytes of all files, those dropped left out."""
        total = hashlib.sha256()
        for index, name in enumerate(self.names):
            total.update(name.encode() + b"\0")
            for path in (self.image_path(index), self.label_path(index)):
                try:
                    total.update(hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        return total.hexdigest()


def find_voc() -> Path | None:
    """Return the real images' folder: FCN_VOC_ROOT, else ../shared beside the project, else None.

    A folder that the variable names is returned even if it is absent, so that opening it fails.
    """
    if named := os.environ.get("FCN_VOC_ROOT"):
        return Path(named)
    root = PROJECT.parent / "shared/data/VOCdevkit/VOC2012"
    return root if root.is_dir() else None


def read_names(root: Path, split: str) -> list[str]:
    """Return the names that a split's list holds.

    Raises:
        InputError: If folder or list is absent, or the list is empty, names something twice or
            leads out of the folder, where predictions would be written too.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such data folder")
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except FileNotFoundError:
        raise InputError(
            f"{path}: is absent: {root} must be a folder in VOC2012's layout "
            "(`fcn data make DIR` makes one)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not names:
        raise InputError(f"{path}: is empty: it must name an image")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: names {twice} twice: name each image once")
    if away := [name for name in names if {"/", ".."} & set(PurePath(name).parts)]:
        raise InputError(f"{path}: {away[0]} leads out of the folder: name files inside it")
    return names


def open_dataset(root: Path, split: str, crop: tuple[int, int] | None) -> Dataset:
    """Open a split; only the files' headers are read.

    Args:
        root: A folder in VOC2012's layout.
        split: ``train`` or ``val``.
        crop: Leave out images smaller than this height or width in pixels, as the chapter does;
            None keeps all.

    Raises:
        InputError: Naming the file that is absent or broken, or whose label map has another size,
            or the crop that no image is large enough for.
    """
    names = read_names(root, split)
    whole = Dataset(root, split, tuple(names), (), 0)
    sizes = []
    for index, name in enumerate(names):
        for path in (whole.image_path(index), whole.label_path(index)):
            if not path.is_file():
                raise InputError(f"{path}: is absent, but {split}.txt names {name}")
        size, label_size = image_size(whole.image_path(index)), image_size(whole.label_path(index))
        if size != label_size:
            raise InputError(
                f"{whole.label_path(index)}: is {label_size[0]}x{label_size[1]}, "
                f"but its image {size[0]}x{size[1]}"
            )
        sizes.append(size)
    kept = [
        index
        for index, (height, width) in enumerate(sizes)
        if crop is None or (height >= crop[0] and width >= crop[1])
    ]
    if not kept:
        assert crop is not None
        raise InputError(
            f"--crop {crop[0]}x{crop[1]} is larger than every image of {split} in {root}: "
            "choose a smaller one"
        )
    return Dataset(
        root,
        split,
        tuple(names[index] for index in kept),
        tuple(sizes[index] for index in kept),
        len(names) - len(kept),
    )
