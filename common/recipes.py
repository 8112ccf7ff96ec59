"""Recipes: everything about a training but where and how it is computed."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from common.classes import VOC, Classes
from common.errors import InputError
from common.fields import check_fields, option, with_tuples
from common.suggestions import unknown

BACKBONES = ("resnet18_v1", "resnet18_v2")
STRIDE = 32
"""Input pixels per side for one pixel of the backbone's last feature map."""

HEADS = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8}
"""Head -> stride of the finest map that it scores, and of its last upsampling."""

SCALES = (0.25, 4.0)
"""The least and the largest scale of an image, in a training or in a prediction."""

LARGEST = 3.4e38
"""What float32 can hold, in which a framework gets the numbers of its optimizer."""

ONE_VIEW = ((1.0, False),)
"""An image as it is: its scale, and whether it is mirrored."""

LOSS_REDUCTIONS = ("sum", "mean")
VOID_READINGS = ("background", "ignore")


class Network(NamedTuple):
    """Which network it is: its layers, their names and their shapes follow from this."""

    backbone: str
    head: str = "fcn32s"
    num_classes: int = len(VOC.names)

    @property
    def title(self) -> str:
        """Return its name in a sentence: of the chapter's head, the backbone's alone."""
        return self.backbone if self.head == "fcn32s" else f"{self.head} on {self.backbone}"


@dataclass(frozen=True)
class Recipe:
    """One experiment, the same in every backend; a field without an option is the preset's choice.

    Attributes:
        name: The preset it started from, or that of its file.
        loss_reduction: How the images' losses (each a mean over pixels) become the batch's:
            their ``sum`` or their ``mean``.
        schedule: ``constant``, or ``polynomial``: (1 - step / total)^0.9 (DeepLab, section 4.1).
        momentum: In PyTorch's form: buffer = momentum * buffer + gradient; below 1.
        weight_decay: L2 coefficient, added to the gradient before momentum ("coupled").
        decay_scope: Decay ``all`` parameters, or only the ``weights`` of convolutions.
        init: With ``xavier`` the bias is zero.
        batch_size: Over all devices and workers.
        void: Pixels with the label 255: the chapter counts them as background.
        flip: Mirror half of the training crops.
        evaluation: Of the crops, as in the chapter, the last batch is dropped if it is incomplete.
        tile: VOC's images, of at most 500x500, are predicted whole with the presets' 512x512.
        classes: What the network tells apart; how many there are sets the size of its head.
        random_scale: Of each training image, drawn evenly; 1 and 1 leave it as it is.
        warmup_steps: Step k of them, from 0, has (k + 1) / steps of the schedule's step size.
        test_flip, test_scales: An image's classes are the largest of its softmax probabilities,
            averaged over these views (DeepLab v3, section 4.1).
    """

    name: str
    backbone: str = option(
        "resnet18_v1 (torchvision's) or resnet18_v2 (Gluon's)", choices=BACKBONES
    )
    loss_reduction: str = option(choices=LOSS_REDUCTIONS)
    learning_rate: float = option(
        "step size of SGD at the first step", metavar="LR", above=0, most=LARGEST
    )
    schedule: str = option(choices=("constant", "polynomial"))
    momentum: float = option(least=0)
    weight_decay: float = option(least=0, most=LARGEST)
    decay_scope: str = option(choices=("all", "weights"))
    init: str = option(
        "first values of the last map's 1x1 convolution, and the biases of all upsamplings: "
        "PyTorch's default, or xavier",
        choices=("torch", "xavier"),
    )
    upsample_init: str = option(
        "first kernels of the upsamplings; with bilinear-frozen neither they nor the biases beside "
        "them are ever updated",
        choices=("bilinear", "xavier", "bilinear-frozen"),
    )
    batch_size: int = option("images per step", metavar="N", least=1)
    crop: tuple[int, int] = option("training crop, in pixels, multiples of 32", metavar="H W")
    epochs: int = option("passes over the data", metavar="N", least=1)
    void: str = option("count void pixels as background, or ignore them", choices=VOID_READINGS)
    flip: bool = option()
    evaluation: str = option(
        "crops (one of each validation image) or tiles (every pixel)", choices=("crops", "tiles")
    )
    tile: tuple[int, int] = option(
        "largest part of an image that is predicted at once, in pixels, multiples of 32",
        metavar="H W",
    )
    head: str = option(
        "which maps are scored: the last one alone, that of stride 16 too, or that of stride 8 too",
        default="fcn32s",
        choices=tuple(HEADS),
    )
    classes: Classes = option(
        "names and colours of your own classes instead of VOC's 21, a TOML file; `fcn data check "
        "--write-classes` makes one of a data set's label maps",
        default=VOC,
        metavar="FILE",
    )
    random_scale: tuple[float, float] = option(
        "scale each training image by a random factor from A to B before it is cropped",
        default=(1.0, 1.0),
        metavar="A B",
        least=SCALES[0],
        most=SCALES[1],
    )
    warmup_steps: int = option(
        "first steps, over which the step size grows in a straight line",
        default=0,
        metavar="N",
        least=0,
    )
    test_flip: bool = option("predict each whole image and its mirror image", default=False)
    test_scales: tuple[float, ...] = option(
        "predict each whole image at these scales",
        default=(1.0,),
        metavar="A[,B]",
        least=SCALES[0],
        most=SCALES[1],
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("crop", "tile"):
            height, width = getattr(self, name)
            if height % STRIDE or width % STRIDE or min(height, width) <= 0:
                raise InputError(
                    f"--{name} {height}x{width}: both sides must be positive multiples of {STRIDE}"
                )
        if not self.momentum < 1:
            raise InputError(f"momentum {self.momentum} is too large: it must be below 1")
        self._check_scales()

    def _check_scales(self) -> None:
        least, most = self.random_scale
        if least > most:
            raise InputError(f"--random-scale {least:g} {most:g}: the first must be the smaller")
        if not self.test_scales:
            raise InputError("--test-scales is empty: it must have a scale, such as 1")
        for scale in self.test_scales:
            if self.test_scales.count(scale) > 1:
                listed = ",".join(f"{scale:g}" for scale in self.test_scales)
                raise InputError(
                    f"--test-scales {listed}: {scale:g} stands there twice: name each scale once"
                )
        if self.averages_views and self.evaluation != "tiles":
            raise InputError(
                "--test-flip and --test-scales are of whole images: choose --evaluation tiles"
            )

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Recipe":
        """Rebuild what a document holds; a field that it lacks, as one of before it, is off.

        Raises:
            InputError: If it is none.
        """
        try:
            stored = with_tuples(dict(values))
            if "classes" in stored:
                stored["classes"] = Classes.from_json(stored["classes"])
            return Recipe(**stored)
        except (TypeError, KeyError) as error:
            raise InputError(f"the recipe is damaged: {error}") from error

    def changed(self, **changes: Any) -> "Recipe":
        """Return the recipe with those ``changes`` that are not None."""
        return replace(self, **{k: v for k, v in changes.items() if v is not None})

    @property
    def num_classes(self) -> int:
        """Return how many classes the network tells apart, the background included."""
        return len(self.classes.names)

    @property
    def scales_images(self) -> bool:
        """Return whether training images are scaled at random."""
        return self.random_scale != (1.0, 1.0)

    @property
    def views(self) -> tuple[tuple[float, bool], ...]:
        """Return the scale of each view of a whole image, and whether it is mirrored."""
        flips = (False, True) if self.test_flip else (False,)
        return tuple((scale, flip) for scale in self.test_scales for flip in flips)

    @property
    def averages_views(self) -> bool:
        """Return whether a whole image is predicted from more than itself as it is."""
        return self.views != ONE_VIEW

    @property
    def plain(self) -> "Recipe":
        """Return the recipe with a whole image predicted as it is."""
        return replace(self, test_flip=False, test_scales=(1.0,))

    @property
    def in_words(self) -> str:
        """Return its name, and what of it depends on a data set most."""
        height, width = self.crop
        return f"the recipe {self.name} (crop {height}x{width}, batch size {self.batch_size})"

    @property
    def network(self) -> Network:
        """Return which network it trains."""
        return Network(self.backbone, self.head, self.num_classes)


SENTENCES = {
    "chapter-torch": "the chapter's PyTorch tab",
    "chapter-mxnet": "the chapter's MXNet tab",
    "modern": "as one would train it today",
    "generated": "modern for generated images, which it learns from scratch in 100 steps",
}
"""What each preset is: their names, in an order in which each comes after the one it changes."""

PRESETS = Path(__file__).with_name("presets")
"""Their files, of the form that ``--recipe`` takes."""
PRESET = "preset"
"""Key in a file of the preset that has the fields which it leaves out."""
RECIPES: dict[str, Recipe] = {}


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a file states: all its fields, or a preset and those that differ.

    Raises:
        InputError: If there is no such preset, a field is missing, or has a value that it may not.
    """
    stated = {name: value for name, value in values.items() if name != PRESET}
    if PRESET in values:
        if values[PRESET] not in RECIPES:
            raise unknown(PRESET, values[PRESET], RECIPES)
        return replace(RECIPES[values[PRESET]], **stated)
    missing = [f.name for f in fields(Recipe) if f.default is MISSING and f.name not in stated]
    if missing:
        raise InputError(
            f"lacks {', '.join(missing)}: name all fields, or a {PRESET} that has the others, "
            f'such as {PRESET} = "modern"'
        )
    return Recipe(**stated)


for _name in SENTENCES:
    _values = tomllib.loads((PRESETS / f"{_name}.toml").read_text(encoding="utf-8"))
    RECIPES[_name] = recipe_of({"name": _name, **with_tuples(_values)})


def make_recipe(preset: str, **changes: Any) -> Recipe:
    """Return the ``preset`` with those ``changes`` that are not None.

    Raises:
        InputError: For an unknown preset, or a value that a field does not allow.
    """
    if preset not in RECIPES:
        raise unknown("--recipe", preset, RECIPES)
    return RECIPES[preset].changed(**changes)
