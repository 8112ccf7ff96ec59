"""Recipes: everything about a training that is not the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from common.errors import InputError

BACKBONES = ("resnet18_v1", "resnet18_v2")
STRIDE = 32
"""Input pixels per side for one pixel of the backbone's last feature map."""

CHOICES = {
    "backbone": BACKBONES,
    "loss_reduction": ("sum", "mean"),
    "schedule": ("constant", "polynomial"),
    "decay_scope": ("all", "weights"),
    "init": ("torch", "xavier"),
    "upsample_init": ("bilinear", "xavier", "bilinear-frozen"),
    "void": ("background", "ignore"),
    "evaluation": ("crops", "tiles"),
}


@dataclass(frozen=True)
class Recipe:
    """One experiment, the same in every backend.

    Attributes:
        name: The preset it started from.
        backbone: ``resnet18_v1`` (torchvision's) or ``resnet18_v2`` (Gluon's pre-activation one).
        loss_reduction: How the images' losses (each a mean over pixels) become the batch's:
            their ``sum`` or their ``mean``.
        learning_rate: Step size of SGD at step 0, for that reduction.
        schedule: ``constant``, or ``polynomial``: (1 - step / total)^0.9 (DeepLab, section 4.1).
        momentum: In PyTorch's form: buffer = momentum * buffer + gradient.
        weight_decay: L2 coefficient, added to the gradient before momentum ("coupled").
        decay_scope: Decay ``all`` parameters, or only the ``weights`` of convolutions.
        init: Of the 1x1 convolution: ``torch``'s default, or ``xavier`` with a zero bias.
        upsample_init: Of the transposed convolution.
        batch_size: Images per step, over all devices.
        crop: Height and width of the training crop in pixels, multiples of 32.
        epochs: Passes over the training set.
        void: Count void pixels (255) as ``background``, as the chapter does, or ``ignore`` them.
        flip: Mirror half of the training crops.
        evaluation: ``crops`` (one random crop an image, the last batch dropped, as the chapter
            does) or ``tiles`` (every pixel of every validation image).
        tile: Height and width in pixels, multiples of 32, of the largest part of an image that is
            predicted at once; VOC's images, of at most 500x500, are predicted whole.
    """

    name: str
    backbone: str
    loss_reduction: str
    learning_rate: float
    schedule: str
    momentum: float
    weight_decay: float
    decay_scope: str
    init: str
    upsample_init: str
    batch_size: int
    crop: tuple[int, int]
    epochs: int
    void: str
    flip: bool
    evaluation: str
    tile: tuple[int, int]

    def __post_init__(self) -> None:
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise InputError(
                    f"{field} {getattr(self, field)!r} is unknown: choose {', '.join(allowed)}"
                )
        for field in ("crop", "tile"):
            height, width = getattr(self, field)
            if height % STRIDE or width % STRIDE or height <= 0 or width <= 0:
                raise InputError(
                    f"{field} {height}x{width}: both sides must be positive multiples of {STRIDE}"
                )
        for field, least in {
            "batch_size": 1,
            "epochs": 1,
            "weight_decay": 0,
            "momentum": 0,
        }.items():
            if not getattr(self, field) >= least:
                raise InputError(f"{field} {getattr(self, field)} is too small: at least {least}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate {self.learning_rate} must be positive")
        if not self.momentum < 1:
            raise InputError(f"momentum {self.momentum} must be below 1")


CHAPTER_TORCH = Recipe(
    # Dive into Deep Learning, "Fully Convolutional Networks", PyTorch tab.
    name="chapter-torch",
    backbone="resnet18_v1",
    loss_reduction="sum",
    learning_rate=0.001,
    schedule="constant",
    momentum=0.0,
    weight_decay=1e-3,
    decay_scope="all",
    init="torch",
    upsample_init="bilinear",
    batch_size=32,
    crop=(320, 480),
    epochs=5,
    void="background",
    flip=False,
    evaluation="crops",
    tile=(512, 512),
)

# How one would train it today.
MODERN = replace(
    CHAPTER_TORCH,
    name="modern",
    loss_reduction="mean",
    learning_rate=0.02,
    schedule="polynomial",
    momentum=0.9,
    weight_decay=1e-4,
    decay_scope="weights",
    void="ignore",
    flip=True,
    evaluation="tiles",
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        CHAPTER_TORCH,
        # The same chapter's MXNet tab: step(batch) divides the gradient by the batch size.
        replace(
            CHAPTER_TORCH,
            name="chapter-mxnet",
            backbone="resnet18_v2",
            loss_reduction="mean",
            learning_rate=0.1,
            init="xavier",
        ),
        MODERN,
        # For the generated data set: learnt from scratch in 100 steps, pixel accuracy 0.88 to 0.91
        # where always-background has 0.67 to 0.70 (three seeds).
        replace(
            MODERN,
            name="generated",
            learning_rate=0.03,
            batch_size=16,
            crop=(96, 96),
            epochs=5,
            tile=(96, 96),
        ),
    )
}


def make_recipe(name: str, **changes: Any) -> Recipe:
    """Return the preset ``name`` with those ``changes`` that are not None.

    Raises:
        InputError: For an unknown preset, or a value that a field does not allow.
    """
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is unknown: choose one of {', '.join(RECIPES)}")
    known = {field.name for field in fields(Recipe)}
    assert changes.keys() <= known, changes.keys() - known
    return replace(RECIPES[name], **{k: v for k, v in changes.items() if v is not None})


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the step size at ``step``, from 0; a schedule ends with the recipe's last epoch."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (1 - step / (recipe.epochs * steps_per_epoch)) ** 0.9
