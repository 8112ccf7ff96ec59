"""What a study varies: fields of a recipe, each with the values that `--vary` names."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.studies.typed import BOOLEANS, WHOLE
from common.config import Config
from common.data.crops import scaled_size, tile_for
from common.data.masks import any_void
from common.errors import InputError
from common.parameters.files import starting_parameters
from common.recipes import Recipe
from common.run.training import TrainingData

WITHOUT_EFFECT: dict[str, tuple[Callable[[Recipe], bool], str]] = {
    "tile": (lambda recipe: recipe.evaluation == "crops", "an evaluation of crops has no tiles"),
    "decay_scope": (lambda recipe: recipe.weight_decay == 0, "without weight_decay nothing decays"),
    "loss_reduction": (lambda recipe: recipe.batch_size == 1, "of one image the sum is the mean"),
}
"""Field -> in which recipes it changes nothing, and why."""
ALSO = {
    "epochs": "both end at the same step",
    "warmup_steps": "over one step nothing grows",
    "tile": "every image has the same tiles in both",
    "test_scales": "they are the same views",
    "momentum": "over one step nothing is carried on",
    "schedule": "one step has the whole step size in both",
    "void": "no label map of the data has a void pixel, and no crop is padded",
}
"""Field -> why it may change nothing with the data and the options at hand."""
LONGEST = 200
"""Bytes of a variant's name: a folder's may have 255, and files beside it end in more."""


class Variant(NamedTuple):
    """A recipe with one value of each varied field.

    Attributes:
        name: The values in words; it is also the name of a folder.
        changes: The values by field, as they are typed.
    """

    name: str
    changes: dict[str, str]
    recipe: Recipe


@dataclass(frozen=True)
class Circumstances:
    """What decides, beside the recipe, whether a field changes anything.

    Attributes:
        head_is_drawn: The first values of the head are drawn, and not read from a file.
        steps: Of the training, which ``--max-steps`` may end early; None if the data are not there.
        sides: The largest height and the largest width that are predicted; None as before.
        has_void: Some label map has a void pixel, as far as it is known.
    """

    head_is_drawn: bool = True
    steps: int | None = None
    sides: tuple[int, int] | None = None
    has_void: bool = True


def variants_of(base: Recipe, variations: Mapping[str, Mapping[str, Any]]) -> list[Variant]:
    """Return the grid of all values; without a variation it is the recipe itself.

    Raises:
        InputError: For values that do not go together, or whose words cannot name a folder.
    """
    variants = []
    for texts in product(*variations.values()):
        changes = dict(zip(variations, texts, strict=True))
        values = {field: variations[field][text] for field, text in changes.items()}
        recipe, name = values.pop(WHOLE, base), name_of(changes)
        if len(name.encode()) > LONGEST:
            raise InputError(
                f"--vary: {name[:20]}… would be the folder of a variant, of {len(name.encode())} "
                f"bytes: at most {LONGEST}; vary fewer fields, or shorten a recipe's name"
            )
        is_plain = Path(name).name == name and name != ".." and "\\" not in name
        if not is_plain or not name.isprintable():
            raise InputError(
                f"--vary {WHOLE}: {name!r} cannot name a folder; give the recipe another name"
            )
        variants.append(Variant(name, changes, replace(recipe, **values)))
    return variants


def name_of(changes: Mapping[str, str]) -> str:
    """Return the name of a variant: a word by itself, a number with the name of its field."""
    words = [
        text
        if len(changes) == 1 and text[:1].isalpha() and text not in BOOLEANS
        else f"{field}={text}"
        for field, text in changes.items()
    ]
    return ",".join(words) or "unchanged"


def circumstances_of(
    config: Config, data: Path | None, weights: Path | None, varied: Collection[str] = ()
) -> Circumstances:
    """Return what decides about a training's fields.

    Args:
        config: The training.
        data: Its data set; None if it is not there yet.
        weights: Where it starts.
        varied: Fields that are varied. Label maps are read where void may be one of them.

    Raises:
        InputError: If data or weights do not fit.
    """
    is_drawn, steps, sides, void = True, None, None, True
    if weights is not None:
        one, other = (starting_parameters(config.recipe, seed, weights) for seed in (0, 1))
        is_drawn = any((one[name] != other[name]).any() for name in one)
    if data is not None:
        training = TrainingData(data, config)
        steps = training.total_steps
        heights, widths = zip(*training.val.sizes, strict=True)
        sides = scaled_size((max(heights), max(widths)), max(config.recipe.test_scales))
        void = {"void", WHOLE}.isdisjoint(varied) or has_void(training)
    return Circumstances(is_drawn, steps, sides, void)


def has_void(training: TrainingData) -> bool:
    """Return whether a training or its evaluation meets a void pixel; a padded crop has some."""
    recipe = training.config.recipe
    smallest = (scaled_size(size, recipe.random_scale[0]) for size in training.train.sizes)
    is_padded = any(h < recipe.crop[0] or w < recipe.crop[1] for h, w in smallest)
    return is_padded or any(
        any_void(tuple(pair.label for pair in split.pairs), split.classes, split.largest)
        for split in (training.train, training.val)
    )


def check_effects(variants: Sequence[Variant], circumstances: Sequence[Circumstances]) -> None:
    """Raise InputError if two variants are the same training, and say which field has no effect.

    Args:
        circumstances: Of each variant.
    """
    for (a, of_a), (b, of_b) in combinations(zip(variants, circumstances, strict=True), 2):
        if effective(a.recipe, of_a) != effective(b.recipe, of_b):
            continue
        field = next(name for name, text in a.changes.items() if b.changes[name] != text)
        raise InputError(
            f"--vary {field}: changes nothing between {a.name} and {b.name}: "
            f"{why_without_effect(a.recipe, field)}"
        )


def why_without_effect(recipe: Recipe, field: str) -> str:
    """Return why a field changes nothing in a recipe."""
    if field in WITHOUT_EFFECT and WITHOUT_EFFECT[field][0](recipe):
        return WITHOUT_EFFECT[field][1]
    if field in ALSO:
        return ALSO[field]
    if field == WHOLE:
        return "they differ in their names alone, or in what has no effect"
    return "--weights has the values of the head"


def effective(recipe: Recipe, circumstances: Circumstances) -> dict[str, Any]:
    """Return the fields that have an effect: recipes with equal ones are the same training."""
    idle = {name for name, (is_idle, _) in WITHOUT_EFFECT.items() if is_idle(recipe)} | {"name"}
    is_single = circumstances.steps == 1
    values: dict[str, Any] = {
        "warmup_steps": max(recipe.warmup_steps, 1),  # One warms nothing.
        "test_scales": sorted(recipe.test_scales),
    }
    if circumstances.steps is not None and (is_single or recipe.schedule == "constant"):
        values["epochs"] = circumstances.steps
    if is_single:
        idle |= {"momentum", "schedule"}
    if not circumstances.has_void:
        idle.add("void")
    if circumstances.sides is not None:
        values["tile"] = tile_for(circumstances.sides, recipe.tile)
    if not circumstances.head_is_drawn:
        idle.add("init")
        if recipe.upsample_init != "bilinear-frozen":
            idle.add("upsample_init")
    names = {field.name for field in fields(Recipe)} - idle
    return {name: values.get(name, getattr(recipe, name)) for name in names}
