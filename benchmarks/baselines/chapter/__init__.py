"""What a reader of the chapter would write in each framework, measured beside the packages.

*Dive into Deep Learning*, "Fully Convolutional Networks", has the network in PyTorch and in MXNet;
these modules are that reading written anew, and its like in Flax and Keras: the framework's own
layers, loss and optimizer with their defaults wherever these mean the same, no trick. Their names
are those that a measurement needs of a package, so that one can stand in for the other. They know
the chapter's recipe alone: void is background, everything decays, no momentum.

The chapter's loading stands beside them, with the one change that void keeps a label of its own.
JAX has no loader; Grain is the usual one.
"""

from collections.abc import Callable
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.voc import CLASSES, VOID, palette
from common.errors import InputError


def check_chapter(config: Config, backbones: tuple[str, ...] = ("resnet18_v1",)) -> None:
    """Raise InputError unless ``config`` is a training as the chapter has it, on one device."""
    chapter = {
        "backbone": backbones,
        "void": ("background",),
        "momentum": (0.0,),
        "decay_scope": ("all",),
        "upsample_init": ("bilinear",),
        "devices": (1,),
        "upsampling": ("auto", "native"),
    }
    values = {**asdict(config.recipe), "devices": config.devices, "upsampling": config.upsampling}
    for field, allowed in chapter.items():
        if values[field] not in allowed:
            expected = " or ".join(map(str, allowed))
            raise InputError(
                f"{field} {values[field]}: the chapter's own code has {expected} alone; "
                "choose that, or leave out the track chapter"
            )


def precisions_of(
    package: ModuleType, names: tuple[str, ...]
) -> Callable[[Config], tuple[str, ...]]:
    """Return ``precisions`` of a package, but for what the chapter's code does not compute in."""

    def precisions(config: Config) -> tuple[str, ...]:
        return tuple(name for name in package.precisions(config) if name in names)

    return precisions


def switches_of(
    package: ModuleType, compiled: str, layout: str
) -> Callable[[Config], dict[str, Any]]:
    """Return ``switches`` of a package, but for what the chapter's code does in its own way."""
    own = {"compile": compiled, "layout": layout, "upsampling": "native"}
    return lambda config: {**package.switches(config), **own}


def color_table() -> NDArray[np.uint8]:
    """Return the label of each of the 256^3 colours, 0 where it is none's, as the chapter does."""
    colors = np.frombuffer(palette(), np.uint8).reshape(256, 3).astype(np.intp)
    table = np.zeros(256**3, np.uint8)
    for label in (*range(len(CLASSES)), VOID):
        red, green, blue = colors[label]
        table[(red * 256 + green) * 256 + blue] = label
    return table
