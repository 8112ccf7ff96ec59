"""The files that loading is timed with, and the loaders: ours, and each framework's own.

The parent makes a data set in VOC's layout and one epoch's plan; every loader then makes the plan's
batches, again and again: the same crops of the same files, as bytes on the device.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.batches import EpochPlan, Loader, loader_for, plan_epoch
from common.data.dataset import open_dataset
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.machine.files import write_text
from common.machine.threads import available_cpus
from common.recipes import Recipe

EPOCH_IMAGES, LEAST_BATCHES, BATCHES_PER_CPU = 128, 4, 2
"""An epoch's images, or so many batches if that is more. Turns have whole epochs
(``bench_cases.Load``): what a loader needs to begin one is a small part of its figures, and no CPU
is left without a batch."""
SIDE_BY_SIDE = 4 * (4 + 6)
"""Bytes a pixel that the workers of `cached` keep: of four backends, this project's loader 4, the
framework's own 6, for its label maps are colours."""
LARGER = (55, 20)
"""Pixels by which the images are larger than the crop: 375x500, as many in VOC, for 320x480."""

Batches = Callable[[int], Iterator[tuple[Any, Any]]]
"""f(n) yields the first n batches of an epoch: images and labels, uint8, on the device."""


@dataclass(frozen=True)
class Files:
    """One epoch's files and the crop of each, in the order they are shown.

    Attributes:
        root: A data set in VOC's layout.
        plan: The epoch.
        paths: Of the images and of the label maps, in the plan's order.
        cached: Decode before the clock starts, and keep.
    """

    root: Path
    plan: EpochPlan
    paths: tuple[list[str], list[str]]
    cached: bool


def make_files(root: Path, recipe: Recipe, seed: int, cached: bool) -> dict[str, NDArray]:
    """Draw a data set in ``root`` and return what ``files_in`` reads, in the parent.

    Raises:
        InputError: Without Pillow, if the files cannot be written, or if this machine has no memory
            to keep them decoded: a row `cached` that decodes would say what is not so.
    """
    check_pillow()
    height, width = (side + more for side, more in zip(recipe.crop, LARGER, strict=True))
    batches = max(LEAST_BATCHES, BATCHES_PER_CPU * len(available_cpus()))
    count = max(EPOCH_IMAGES, batches * recipe.batch_size)
    kept = SIDE_BY_SIDE * height * width * count
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if cached and kept > memory // 2:
        raise InputError(
            f"{count} decoded images would take {kept / 2**30:.1f} GiB in all workers, more than "
            f"half of this machine's {memory / 2**30:.1f}; choose a smaller --batch-sizes"
        )
    make_dataset(root, train=EPOCH_IMAGES, val=1, size=(height, width), seed=seed)
    try:
        name_anew(root, count)
    except OSError as error:
        raise InputError(f"{root} cannot be written: {error.strerror or error}") from error
    dataset = open_dataset(root, "train", recipe.crop)
    plan = plan_epoch(dataset, recipe, seed, 0, training=True)
    order = [int(index) for index in plan.indices]
    paths = [[str(of(index)) for index in order] for of in (dataset.image_path, dataset.label_path)]
    return {
        "root": np.array(str(root)),
        "paths": np.array(paths),
        "plan": np.stack([plan.indices, plan.tops, plan.lefts, plan.flips], axis=1),
        "cached": np.array(cached),
    }


def name_anew(root: Path, count: int) -> None:
    """Give the training images further names until there are ``count``: to draw them takes long."""
    names = [f"train_{index:06d}" for index in range(count)]
    for index in range(EPOCH_IMAGES, count):
        for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            drawn = root / folder / f"{names[index % EPOCH_IMAGES]}{ending}"
            named = root / folder / f"{names[index]}{ending}"
            try:
                named.hardlink_to(drawn)
            except OSError:  # A file system without hard links, or without so many of one file.
                shutil.copyfile(drawn, named)
    write_text(
        root / "ImageSets" / "Segmentation" / "train.txt", "".join(f"{name}\n" for name in names)
    )


def batches_per_epoch(arrays: Any, recipe: Recipe) -> int:
    """Return how many batches the plan of ``make_files`` has."""
    return len(arrays["plan"]) // recipe.batch_size


def files_in(arrays: Any, recipe: Recipe) -> Files:
    """Return the files that ``make_files`` made."""
    indices, tops, lefts, flips = arrays["plan"].T
    count = batches_per_epoch(arrays, recipe)
    plan = EpochPlan(indices, tops, lefts, flips.astype(bool), count)
    images, labels = arrays["paths"].tolist()
    return Files(Path(str(arrays["root"])), plan, (images, labels), bool(arrays["cached"]))


def expected_batches(arrays: Any, recipe: Recipe, count: int) -> dict[str, NDArray]:
    """Return the bytes of the first batches, decoded and cut one by one without any loader."""
    files = files_in(arrays, recipe)
    dataset = open_dataset(files.root, "train", recipe.crop)
    height, width = recipe.crop
    shape = (count, recipe.batch_size, height, width)
    images, labels = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
    for row in range(count * recipe.batch_size):
        index, top, left, flip = (int(value) for value in arrays["plan"][row])
        step = -1 if flip else 1
        place = divmod(row, recipe.batch_size)
        for target, array in zip((images, labels), dataset.read(index), strict=True):
            target[place] = array[top : top + height, left : left + width][:, ::step]
    return {"images": images, "labels": labels}


def check_pillow() -> None:
    """Raise InputError where the package is absent that reads and writes images."""
    if importlib.util.find_spec("PIL") is None:
        raise InputError(f"Pillow, which loading needs, is not installed for {sys.executable}")


def make_loader(backend: ModuleType, config: Config, arrays: Any) -> Batches:
    """Return a track's loader, the framework's own in `chapter` else this project's, for any count.

    It goes through as many epochs as the count takes, and begins nothing that is not used.

    Raises:
        InputError: If the track or this interpreter has none.
    """
    files = files_in(arrays, config.recipe)
    if hasattr(backend, "create_loader"):
        return repeated(backend.create_loader(files, config), files)
    check_pillow()
    return repeated(own_loader(backend, config, files), files)


def repeated(epoch: Batches, files: Files) -> Batches:
    def batches(count: int) -> Iterator[tuple[Any, Any]]:
        while count > 0:
            part = min(count, files.plan.batches_per_epoch)
            yield from epoch(part)
            count -= part

    return batches


def own_loader(backend: ModuleType, config: Config, files: Files) -> Batches:
    """Return this project's loader; not ``cached`` begins each epoch with nothing decoded."""
    dataset = open_dataset(files.root, "train", config.recipe.crop)
    if files.cached:  # All of it: the default is as much as VOC takes.
        config = replace(config, cache_mib=math.ceil(dataset.decoded_bytes / 2**20))

    def new() -> Loader:
        return loader_for(dataset, config)

    kept = new() if files.cached else None

    def batches(count: int) -> Iterator[tuple[Any, Any]]:
        for batch in (kept or new()).epoch(files.plan, 0, stop=count):
            yield (
                backend.to_device(batch.images, config),
                backend.to_device(batch.labels, config),
            )

    if files.cached:
        for _ in batches(files.plan.batches_per_epoch):
            pass
    return batches
