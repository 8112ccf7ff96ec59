"""A generated data set in VOC layout that a short training can learn.

Each class has its own colour, outline and texture. Place, size, brightness and angle of an object,
the order of the objects and the background are drawn at random. The objects are large beside the
network's stride of 32 pixels.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.classes import VOC, VOID
from common.config import Config
from common.data.dataset import RECIPE
from common.data.lists import LISTS, list_path
from common.data.masks import label_image
from common.data.shards.files import IMAGES, LABELS
from common.errors import InputError
from common.machine.files import write_text, writing
from common.machine.locks import LOCK, only_writer
from common.machine.progress import tracked
from common.recipe_files import to_toml
from common.recipes import RECIPES, STRIDE, Recipe

LEAST_SIDE = 64
"""Pixels; objects in smaller images would be smaller than one cell of the network's grid."""


@dataclass(frozen=True)
class Look:
    """How one class looks.

    Attributes:
        color: Mean RGB, 0..255.
        aspect: Width over height.
        exponent: Of the outline |u|^e + |v|^e = 1: 1 a diamond, 2 an ellipse, 6 nearly a rectangle.
        lobes, lobe_depth: Waves of the outline round the object, and their height.
        texture: Waves per object (across, down) of a pattern that darkens and brightens it.
    """

    color: tuple[int, int, int]
    aspect: float
    exponent: float
    lobes: int
    lobe_depth: float
    texture: tuple[float, float]


LOOKS = {
    "aeroplane": Look((205, 215, 235), 1.5, 1.2, 4, 0.15, (0.0, 2.0)),
    "bird": Look((70, 130, 225), 1.2, 1.5, 3, 0.25, (3.0, 3.0)),
    "boat": Look((235, 235, 90), 1.8, 1.5, 0, 0.0, (0.0, 4.0)),
    "bottle": Look((30, 120, 50), 0.55, 4.0, 0, 0.0, (0.0, 1.0)),
    "bus": Look((215, 45, 40), 1.6, 8.0, 0, 0.0, (5.0, 0.0)),
    "cat": Look((240, 150, 40), 1.0, 2.0, 5, 0.12, (6.0, 1.0)),
    "cow": Look((120, 65, 35), 1.4, 3.0, 0, 0.0, (2.5, 2.5)),
    "person": Look((225, 120, 190), 0.6, 2.0, 2, 0.15, (1.0, 4.0)),
    "tvmonitor": Look((35, 25, 70), 1.3, 8.0, 0, 0.0, (0.0, 8.0)),
}
BACKGROUND_COLORS = ((120, 150, 120), (150, 150, 150), (140, 125, 110), (110, 130, 150))


def make_dataset(root: Path, *, train: int, val: int, size: tuple[int, int], seed: int) -> None:
    """Write a generated data set under ``root``, byte for byte the same for the same arguments.

    Image ``i`` of a split depends only on ``seed``, the split, ``i`` and ``size``, so a larger set
    begins with the smaller one. The lists are written last: without them the folder is no data set.

    Args:
        root: A folder that is absent or empty.
        train, val: Images of each split, at least 1.
        size: Height and width of every image in pixels, each at least ``LEAST_SIDE``.
        seed: Not negative.

    Raises:
        InputError: For a folder that is not empty, or a value outside its range.
    """
    if train < 1 or val < 1:
        raise InputError(f"--train {train} --val {val}: each must be at least 1")
    if min(size) < LEAST_SIDE:
        raise InputError(f"--size {size[0]}x{size[1]}: each side must be at least {LEAST_SIDE}")
    if size[0] * size[1] > Config.max_pixels:
        raise InputError(
            f"--size {size[0]}x{size[1]}: has more than {Config.max_pixels:,} pixels, the largest "
            "image that is read by default"
        )
    if seed < 0:
        raise InputError(f"--seed {seed} is too small: at least 0")
    from PIL import Image

    with only_writer(root), writing(root):
        if {path.name for path in root.iterdir()} - {LOCK}:
            raise InputError(f"{root}: is not empty: name a new folder for the generated data set")
        for folder in (IMAGES, LABELS, LISTS):
            (root / folder).mkdir(parents=True)
        names = {
            split: [f"{split}_{index:06d}" for index in range(count)]
            for split, count in (("train", train), ("val", val))
        }
        scenes = [
            (name, [seed, number, index])
            for number, listed in enumerate(names.values())
            for index, name in enumerate(listed)
        ]
        for name, scene_seed in tracked(scenes, len(scenes), "image", "drawing", delay=5):
            image, label = draw_pair(size, np.random.default_rng(scene_seed))
            # To sync each file would take longer than to draw it: the lists are, at the end.
            Image.fromarray(image).save(root / IMAGES / f"{name}.jpg", quality=92)
            label_image(label, VOC).save(root / LABELS / f"{name}.png")
        write_text(root / RECIPE, to_toml(fitting_recipe(train, size)))
        for split, listed in names.items():
            write_text(list_path(root, split), "".join(f"{name}\n" for name in listed))


def fitting_recipe(train: int, size: tuple[int, int]) -> Recipe:
    """Return the recipe that fits so many training images of a size, height and width in pixels."""
    recipe = RECIPES["generated"]
    height, width = (
        min(side, own // STRIDE * STRIDE) for side, own in zip(recipe.crop, size, strict=True)
    )
    return replace(recipe, crop=(height, width), batch_size=min(recipe.batch_size, train))


def default_dataset(root: Path) -> Path:
    """Generate the data set that a comparison trains on by default, unless ``root`` is there."""
    if not root.exists():
        print(f"making a generated data set in {root}", file=sys.stderr)
        partial = root.with_name(f"{root.name}.partial")  # An unfinished one is made anew.
        shutil.rmtree(partial, ignore_errors=True)
        make_dataset(partial, train=320, val=64, size=(96, 128), seed=0)
        partial.rename(root)
    return root


@contextmanager
def dataset_or_default(data: Path | None, root: Path) -> Iterator[Path]:
    """Yield ``data`` for a block that checks it; without it, the default data set at ``root``.

    What was made for the block goes if the block refuses it or is interrupted.
    """
    is_made = data is None and not root.exists()
    try:
        yield data or default_dataset(root)
    except (InputError, KeyboardInterrupt):
        if is_made:
            shutil.rmtree(root, ignore_errors=True)
        raise


def draw_pair(
    size: tuple[int, int], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one scene of one to three objects, the later ones in front.

    Returns:
        image: uint8 [H, W, 3], RGB.
        label: uint8 [H, W]: 0 background, else the class; 255 a border around every object,
            a few pixels wide, as in VOC.
    """
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    image = _background(y, x, generator)
    label = np.zeros(size, np.uint8)
    names = list(LOOKS)
    for name in generator.choice(names, generator.integers(1, 4), replace=False):
        _paint_object(image, label, y, x, str(name), generator)
    image += generator.normal(0, 6, image.shape).astype(np.float32)
    border = _boundary(label, radius=max(1, min(size) // 80))
    label[border] = VOID
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), label


def _background(
    y: NDArray[np.float32], x: NDArray[np.float32], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return float32 [H, W, 3]: a dull colour under three waves of random direction and length."""
    color = np.asarray(BACKGROUND_COLORS[generator.integers(len(BACKGROUND_COLORS))], np.float32)
    waves = np.zeros(y.shape, np.float32)
    for _ in range(3):
        angle, phase = generator.uniform(0, 2 * np.pi, 2)
        frequency = 2 * np.pi / generator.uniform(6, 60)
        waves += np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    tint = generator.uniform(-15, 15, 3) + generator.uniform(-25, 25)
    return (color + tint + 9 * waves[..., None]).astype(np.float32)


def _paint_object(
    image: NDArray[np.float32],
    label: NDArray[np.uint8],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    name: str,
    generator: np.random.Generator,
) -> None:
    """Draw one object of class ``name`` over ``image`` and ``label``."""
    look = LOOKS[name]
    height, width = label.shape
    # Half sides of the box around the outline, from the share of the picture it is to cover.
    share = generator.uniform(0.15, 0.35) * height * width
    aspect = look.aspect * generator.uniform(0.85, 1.18)
    half_height = np.sqrt(share / aspect) / 2
    half_width = half_height * aspect
    center_y = generator.uniform(0.2, 0.8) * height
    center_x = generator.uniform(0.2, 0.8) * width
    angle = generator.uniform(-0.3, 0.3)

    dy, dx = y - center_y, x - center_x
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / half_width
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / half_height
    reach = (np.abs(u) ** look.exponent + np.abs(v) ** look.exponent) ** (1 / look.exponent)
    if look.lobes:
        reach /= 1 + look.lobe_depth * np.cos(look.lobes * np.arctan2(v, u))
    inside = reach < 1

    across, down = look.texture
    phase = generator.uniform(0, 2 * np.pi)
    pattern = np.cos(np.pi * across * u + phase) * np.cos(np.pi * down * v + phase)
    brightness = generator.uniform(0.75, 1.2) * (1 + 0.18 * pattern - 0.12 * v)
    color = np.asarray(look.color) + generator.uniform(-15, 15, 3)
    image[inside] = brightness[inside, None] * color
    label[inside] = VOC.names.index(name)


def _boundary(label: NDArray[np.uint8], radius: int) -> NDArray[np.bool_]:
    """Return where another label lies within ``radius`` pixels: 2 ``radius`` wide along an edge."""
    border = np.zeros(label.shape, np.bool_)
    for shift in range(1, radius + 1):
        down = label[shift:] != label[:-shift]
        border[shift:] |= down
        border[:-shift] |= down
        across = label[:, shift:] != label[:, :-shift]
        border[:, shift:] |= across
        border[:, :-shift] |= across
    return border
