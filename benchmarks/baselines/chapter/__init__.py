"""What a reader of the chapter would write in each framework, measured beside the packages.

*Dive into Deep Learning*, "Fully Convolutional Networks", has the network in PyTorch and in MXNet;
these modules are that reading written anew, and its like in Flax and Keras: the framework's own
layers, loss and optimizer with their defaults wherever these mean the same, no trick. What a
measurement needs beside is the package's: ``completed`` makes a module of both, which stands in for
the package. They know the chapter's recipe alone: void is background, everything decays, no
momentum.

The chapter's loading stands beside them, with the one change that void keeps a label of its own.
JAX has no loader; Grain is the usual one.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.load import Files
from common.classes import VOC, VOID
from common.config import Config
from common.errors import InputError
from common.fields import title
from common.recipes import Recipe

OF_THE_PACKAGE = (
    "configure describe device_memory_peak parameters_of synchronize to_canonical to_device to_host"
)
"""What is the package's where the chapter's code in a framework has none of its own."""


@dataclass(eq=False)
class State:
    """What a training keeps from step to step: the framework's own network and optimizer."""

    config: Config
    model: Any
    optimizer: Any


def completed(code: ModuleType, package: ModuleType) -> ModuleType:
    """Return what stands in for ``package``: the chapter's code in that framework, and the rest."""
    track = ModuleType(code.__name__)
    vars(track).update({name: getattr(package, name) for name in OF_THE_PACKAGE.split()})
    vars(track).update(vars(code))

    def precisions(config: Config) -> tuple[str, ...]:
        return tuple(name for name in package.precisions(config) if name in code.PRECISIONS)

    def switches(config: Config) -> dict[str, Any]:
        own = {"compile": code.COMPILED, "layout": code.LAYOUT, "upsampling": "native"}
        return {**package.switches(config), **own}

    vars(track).update(precisions=precisions, switches=switches)
    return track


def check_chapter(config: Config, backbones: tuple[str, ...] = ("resnet18_v1",)) -> None:
    """Raise InputError unless ``config`` is a training as the chapter has it, on one device."""
    chapter = {
        "backbone": backbones,
        "void": ("background",),
        "momentum": (0.0,),
        "decay_scope": ("all",),
        "head": ("fcn32s",),
        "upsample_init": ("bilinear",),
        "devices": (1,),
        "upsampling": ("auto", "native"),
    }
    values = {**asdict(config.recipe), "devices": config.devices, "upsampling": config.upsampling}
    titles = {field.name: title(field) for field in (*fields(Recipe), *fields(Config))}
    for field, allowed in chapter.items():
        if values[field] not in allowed:
            expected = " or ".join(map(str, allowed))
            raise InputError(
                f"{titles[field]} {values[field]}: the chapter's own code has {expected} alone; "
                "choose that, or leave out the track chapter"
            )


def color_table() -> NDArray[np.uint8]:
    """Return the label of each of the 256^3 colours, 0 where it is none's, as the chapter does."""
    colors = VOC.table.astype(np.intp)
    table = np.zeros(256**3, np.uint8)
    for label in (*range(len(VOC.names)), VOID):
        red, green, blue = colors[label]
        table[(red * 256 + green) * 256 + blue] = label
    return table


class Crops(ABC):
    """One epoch's images and label maps, cut, in the plan's order, as a framework's loader asks.

    ``classes`` is ``color_table`` as the framework's array.
    """

    def __init__(self, files: Files, config: Config, classes: Any) -> None:
        self.plan, self.paths, self.size = files.plan, files.paths, config.recipe.crop
        self.classes = classes
        self.pairs = [self.read(row) for row in range(len(self))] if files.cached else None

    def __len__(self) -> int:
        return len(self.plan.indices)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        pair = self.pairs[row] if self.pairs else self.read(row)
        corner = int(self.plan.tops[row]), int(self.plan.lefts[row])
        return self.cut(pair, corner, bool(self.plan.flips[row]))

    @abstractmethod
    def read(self, row: int) -> Any:
        """Decode a pair of files."""

    @abstractmethod
    def cut(self, pair: Any, corner: tuple[int, int], flip: bool) -> tuple[Any, Any]:
        """Return what the crop shows of a pair, both uint8."""


def first_rows(count: int, size: int) -> list[list[int]]:
    """Return the rows of each of the first ``count`` batches of ``size``."""
    return np.arange(count * size).reshape(count, size).tolist()
