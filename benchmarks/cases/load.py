"""The case `load`: batches of files, by this project's loader and by each framework's own.

The parent makes a data set in VOC's layout and one epoch's plan. Every loader then makes the plan's
batches, again and again: the same crops of the same files, as bytes on the device.
"""

import importlib.util
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.case import Case, Machine, Work, bounds_of
from benchmarks.cases.inputs import AFTER, Arrays
from common.config import Config
from common.data.batches import EpochPlan, Loader, loader_for, plan_epoch
from common.data.dataset import open_dataset
from common.data.synthetic import make_dataset
from common.errors import InputError
from common.machine.cgroups import usable_memory
from common.machine.files import write_text, writing
from common.machine.threads import cpu_count
from common.parameters.costs import Costs
from common.recipes import Recipe

EPOCH_IMAGES, LEAST_BATCHES, BATCHES_PER_CPU = 128, 4, 2
"""An epoch has 128 images, or more where that is less than 4 batches or less than 2 for each CPU. A
turn has whole epochs, so that the time to begin one counts little and every CPU has a batch."""
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


def make_files(root: Path, recipe: Recipe, seed: int, cached: bool) -> Arrays:
    """Draw a data set in ``root``, in the parent, and return what ``files_in`` reads.

    Raises:
        InputError: Without Pillow, if the files cannot be written, or if this machine has too
            little memory to keep them decoded.
    """
    check_pillow()
    height, width = (side + more for side, more in zip(recipe.crop, LARGER, strict=True))
    batches = max(LEAST_BATCHES, BATCHES_PER_CPU * cpu_count())
    count = max(EPOCH_IMAGES, batches * recipe.batch_size)
    # Each of four backends has two workers side by side: a pixel takes 4 bytes in this project's
    # loader, and 6 in the framework's own, whose label maps are colours.
    decoded_bytes = 4 * (4 + 6) * height * width * count
    memory = usable_memory()
    if cached and decoded_bytes > memory // 2:
        raise InputError(
            f"{count} decoded images would take {decoded_bytes / 2**30:.1f} GiB in all workers, "
            f"more than half of the {memory / 2**30:.1f} usable; choose a smaller --batch-sizes"
        )
    make_dataset(root, train=EPOCH_IMAGES, val=1, size=(height, width), seed=seed)
    with writing(root):
        name_anew(root, count)
    dataset = open_dataset(root, "train", recipe.crop, classes=recipe.classes)
    # The frameworks' own loaders cut from the images as they are.
    unscaled = replace(recipe, random_scale=(1.0, 1.0))
    plan = plan_epoch(dataset, unscaled, seed, 0, training=True)
    pairs = [dataset.pairs[index] for index in plan.indices]
    paths = [[str(pair.image) for pair in pairs], [str(pair.label) for pair in pairs]]
    return {
        "root": np.array(str(root)),
        "paths": np.array(paths),
        "plan": np.stack([plan.indices, plan.tops, plan.lefts, plan.flips], axis=1),
        "cached": np.array(cached),
    }


def name_anew(root: Path, count: int) -> None:
    """Give the drawn images more names until there are ``count``, because drawing takes long."""
    names = [f"train_{index:06d}" for index in range(count)]
    for index in range(EPOCH_IMAGES, count):
        for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            drawn = root / folder / f"{names[index % EPOCH_IMAGES]}{ending}"
            named = root / folder / f"{names[index]}{ending}"
            try:
                named.hardlink_to(drawn)
            except OSError:  # A file system without hard links, or without so many of one file.
                shutil.copyfile(drawn, named)
    listing = root / "ImageSets" / "Segmentation" / "train.txt"
    write_text(listing, "".join(f"{name}\n" for name in names))


def batches_per_epoch(arrays: Arrays, recipe: Recipe) -> int:
    """Return how many batches the plan of ``make_files`` has."""
    return len(arrays["plan"]) // recipe.batch_size


def files_in(arrays: Arrays, recipe: Recipe) -> Files:
    """Return the files that the arrays of ``make_files`` describe."""
    indices, tops, lefts, flips = arrays["plan"].T
    count = batches_per_epoch(arrays, recipe)
    plan = EpochPlan(indices, tops, lefts, flips.astype(bool), count)
    images, labels = arrays["paths"].tolist()
    return Files(Path(str(arrays["root"])), plan, (images, labels), bool(arrays["cached"]))


def expected_batches(arrays: Arrays, recipe: Recipe, count: int) -> Arrays:
    """Return the bytes of the first batches, decoded and cut one by one without any loader."""
    files = files_in(arrays, recipe)
    dataset = open_dataset(files.root, "train", recipe.crop, classes=recipe.classes)
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


def make_loader(backend: ModuleType, config: Config, arrays: Arrays) -> Batches:
    """Return a loader of any count of batches, which loads none that is not used.

    A track may have a loader, the framework's own; otherwise it is this project's.

    Raises:
        InputError: If the track or this interpreter has none.
    """
    files = files_in(arrays, config.recipe)
    if hasattr(backend, "create_loader"):
        epoch: Batches = backend.create_loader(files, config)
    else:
        check_pillow()
        epoch = own_loader(backend, config, files)

    def batches(count: int) -> Iterator[tuple[Any, Any]]:
        while count > 0:
            part = min(count, files.plan.batches_per_epoch)
            yield from epoch(part)
            count -= part

    return batches


def own_loader(backend: ModuleType, config: Config, files: Files) -> Batches:
    """Return this project's loader; an epoch begins with nothing decoded unless ``cached``."""
    dataset = open_dataset(files.root, "train", config.recipe.crop, classes=config.recipe.classes)
    cache: Loader | None = None
    if files.cached:  # Room for the whole data set.
        config = replace(config, cache_mib=math.ceil(dataset.decoded_bytes / 2**20))
        cache = loader_for(dataset, config)
        for _ in cache.epoch(files.plan, 0):
            pass

    def batches(count: int) -> Iterator[tuple[Any, Any]]:
        loader = cache or loader_for(dataset, config)
        for batch in loader.epoch(files.plan, 0, stop=count):
            yield backend.to_device(batch.images, config), backend.to_device(batch.labels, config)

    return batches


class Loading(Work):
    """Batches of files: decoded, unless they are kept, cut, gathered and copied to the device."""

    batch: tuple[Any, Any]

    def set_up(self, inputs: Arrays) -> None:
        self.loader = make_loader(self.backend, self.config, inputs)
        self.steps_together = batches_per_epoch(inputs, self.config.recipe)

    def run(self, steps: int) -> None:
        for batch in self.loader(steps):
            self.batch = batch

    def finish(self) -> None:
        for value in self.batch:
            self.backend.synchronize(value)

    def read(self) -> list[NDArray]:
        return [np.asarray(self.backend.to_host(self.batch[0]))]

    def answer(self) -> Arrays:
        self.first_step()
        batches = [
            [np.asarray(self.backend.to_host(value)) for value in batch]
            for batch in self.loader(len(AFTER))
        ]
        images, labels = (np.stack(values) for values in zip(*batches, strict=True))
        return {"images": images, "labels": labels}


class Load(Case):
    """Files decoded in each epoch (``cold``), or once before the clock starts (``cached``)."""

    name = "load"
    sentence = (
        "a batch of files: decoded (cold) or kept decoded (cached), cut, and copied to the device"
    )
    work = Loading
    bounds = bounds_of(images="step: bytes", labels="step: bytes")
    heeds_precision = False
    compiles = False
    column = "rate"

    def variants(self, machine: Machine) -> list[str | None]:
        return ["cold", "cached"]

    def tracks(self, chosen: list[str]) -> list[str]:
        return ["default", "chapter"]  # This project's loader against each framework's own.

    def inputs(self, variant: str | None, config: Config, folder: Path) -> Arrays:
        return make_files(folder / "data", config.recipe, config.seed, cached=variant == "cached")

    def reference_inputs(self, inputs: Arrays) -> Arrays:
        return {"plan": inputs["plan"]}  # Where the files lie changes nothing.

    def expected(self, config: Config, inputs: Arrays) -> Arrays:
        return expected_batches(inputs, config.recipe, len(AFTER))

    def costs(self, config: Config) -> Costs:
        height, width = config.recipe.crop
        return Costs(0.0, 4.0 * config.recipe.batch_size * height * width)
