"""A thorough check of a data set: every file that a list names is decoded."""

from dataclasses import dataclass
from pathlib import Path

from common.data.dataset import Dataset, read_names
from common.data.images import read_image, read_label
from common.errors import InputError

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file."""

    file: Path
    what: str


def check_dataset(root: Path) -> list[Problem]:
    """Decode every image and label map of ``root``'s lists; return what is wrong, file by file.

    Args:
        root: A folder in VOC2012's layout; both its lists, train and val, are checked.

    Raises:
        InputError: If there is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such data folder")
    problems = []
    for split in SPLITS:
        try:
            names = read_names(root, split)
        except InputError as error:
            problems.append(_problem(root / "ImageSets" / "Segmentation" / f"{split}.txt", error))
            continue
        dataset = Dataset(root, split, tuple(names), (), 0)
        for index in range(len(names)):
            image_path, label_path = dataset.image_path(index), dataset.label_path(index)
            shapes = []
            for path, read in ((image_path, read_image), (label_path, read_label)):
                try:
                    shapes.append(read(path).shape[:2])
                except InputError as error:
                    problems.append(_problem(path, error))
            if len(shapes) == 2 and shapes[0] != shapes[1]:
                (height, width), (label_height, label_width) = shapes
                what = f"is {label_height}x{label_width}, but its image {height}x{width}"
                problems.append(Problem(label_path, what))
    return problems


def _problem(path: Path, error: InputError) -> Problem:
    return Problem(path, str(error).removeprefix(f"{path}: "))
