"""What a search tries: for each field of a recipe a range of numbers or a list of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_origin, get_type_hints

from benchmarks.records.tuning_documents import Searched, Value
from benchmarks.studies.typed import read_value
from benchmarks.studies.variants import WITHOUT_EFFECT
from common.config import Config
from common.errors import InputError, notice
from common.parameters.files import starting_parameters
from common.recipes import LARGEST, Recipe
from common.run.training import TrainingData
from common.suggestions import unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = dict[str, "BaseDistribution"]
FACTOR = 30.0
"""By which the learning rate may be larger or smaller than the recipe's."""
LOGARITHMIC = ("learning_rate", "weight_decay")
"""Fields whose values matter by their ratio."""
NOT_SEARCHED = {
    "name": "it is what the recipe is called",
    "classes": "other classes are another task",
    "crop": "it decides which images are large enough to be trained on",
    "tile": "it changes what a prediction costs, not what is learnt",
    "void": "it changes what a score counts",
    "evaluation": "it changes what a score counts",
    "test_flip": "it changes how an image is predicted, not what is learnt",
    "test_scales": "it changes how an image is predicted, not what is learnt",
}
"""Field -> why its values cannot be compared by their score."""


def default_space(recipe: Recipe) -> Space:
    """Return what is searched where nothing else is said, around the values of ``recipe``.

    It holds these values themselves, but for a weight decay of 0: its scale is logarithmic.
    """
    rate, batch, momentum = recipe.learning_rate, recipe.batch_size, recipe.momentum
    low, high = 1e-6, 1e-2
    # Thirty times 0.03 is not 0.9 in binary.
    rates = [float(f"{r:.6g}") for r in (rate / FACTOR, min(rate * FACTOR, LARGEST))]
    decay = recipe.weight_decay or low
    scales = {(1.0, 1.0): "1x1", (0.5, 2.0): "0.5x2"}
    scales.setdefault(recipe.random_scale, in_one_text(recipe.random_scale))
    # Of crops the last batch is left out where it is not full: other sizes, other scored images.
    batches = {"batch_size": choices(sorted({max(1, batch // 2), batch, 2 * batch}))}
    return {
        "learning_rate": distribution("learning_rate", rates),
        "momentum": distribution("momentum", [0.0, max(0.99, momentum)]),
        "weight_decay": distribution("weight_decay", [min(low, decay), max(high, decay)]),
        **{name: choices(sorted(CHOICES[name])) for name in ("head", "schedule", "loss_reduction")},
        "random_scale": choices(list(scales.values())),
        **(batches if recipe.evaluation == "tiles" else {}),
    }


def in_one_text(value: Any) -> str:
    """Return a value as ``--search`` has it: several numbers are one text, 0.5x2."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read_space(texts: Sequence[str], recipe: Recipe, replicas: int = 1) -> Space:
    """Return the space that ``--search`` states, each field once.

    Args:
        texts: FIELD, which has its default values, FIELD=LOW:HIGH or FIELD=A,B,C; none for the
            default space.
        recipe: Where the search begins.
        replicas: Over which each batch is split.

    Raises:
        InputError: For a field that cannot be searched, one that is named twice, or bad values.
    """
    default = default_space(recipe)
    space: Space = {}
    for text in texts:
        field, has_values, values = text.partition("=")
        name = field.strip().replace("-", "_")
        if name in NOT_SEARCHED:
            raise InputError(f"--search {name}: cannot be searched, for {NOT_SEARCHED[name]}")
        if name not in TYPES:
            raise unknown("--search", name, [field for field in TYPES if field not in NOT_SEARCHED])
        if name in space:
            raise InputError(f"--search {name}: is named twice; name it once")
        if name == "batch_size" and recipe.evaluation == "crops":
            raise InputError(
                "--search batch_size: cannot be searched with --evaluation crops, whose last batch "
                "is left out where it is not full: it changes what a score counts"
            )
        if has_values:
            space[name] = read_values(name, values, replicas)
        elif name in default:
            space[name] = default[name]
        elif name in CHOICES:
            space[name] = choices(CHOICES[name])
        else:
            raise InputError(f"--search {name}: has no default values; write {name}=A,B,C")
        check_values(name, space[name], recipe)
    check_effects(space, recipe)
    return space or default


def check_effects(space: Space, recipe: Recipe) -> None:
    """Raise InputError for a field that changes nothing, whatever the other searched ones are."""
    others = [recipe_with(recipe, {name: each}) for name in space for each in ends_of(space[name])]
    for name in space.keys() & WITHOUT_EFFECT.keys():
        is_idle, why = WITHOUT_EFFECT[name]
        if all(map(is_idle, (recipe, *others))):
            raise InputError(f"--search {name}: changes nothing: {why}")


def read_values(name: str, text: str, replicas: int) -> BaseDistribution:
    """Return the values that follow the ``=`` of ``--search``.

    A range of batch sizes has those alone that can be split over the replicas.
    """
    what, kind = f"--search {name}={text}", TYPES[name]
    if ":" not in text:
        parts = [part.strip() for part in text.split(",")]
        values = [read_value(part, kind, what) for part in parts]
        if len(set(values)) < max(2, len(values)):
            raise InputError(f"{what}: name two or more values, each once")
        return choices(parts if get_origin(kind) is tuple else values)
    if get_origin(kind) is tuple:
        raise InputError(f"{what}: a range is of one number: name values, as {name}=A,B,C")
    ends = [read_value(part.strip(), kind, what) for part in text.split(":")]
    is_range = len(ends) == 2 and kind in (int, float) and ends[0] < ends[1]
    if not is_range or (name in LOGARITHMIC and ends[0] <= 0):
        least = "more than 0" if name in LOGARITHMIC else "a number"
        raise InputError(f"{what}: expected LOW:HIGH, LOW {least}, HIGH above it")
    step = replicas if name == "batch_size" else 1
    if any(end % step for end in ends if step > 1):
        raise InputError(
            f"{what}: a batch is split over {step} replicas: expected LOW and HIGH that are "
            f"multiples of {step}"
        )
    return distribution(name, ends, step)


def recipe_with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the values of a trial, in which several numbers are one text, 0.5x2.

    Raises:
        InputError: For what a field does not allow.
    """
    changes = {
        name: read_value(value, TYPES[name], name) if get_origin(TYPES[name]) is tuple else value
        for name, value in values.items()
    }
    return replace(recipe, **changes)


def check_values(name: str, distribution: BaseDistribution, recipe: Recipe) -> None:
    """Raise InputError for a value that the recipe does not allow."""
    for value in ends_of(distribution):
        try:
            recipe_with(recipe, {name: value})
        except InputError as error:
            raise InputError(f"--search {name}: {error}") from None


def distribution(name: str, ends: Sequence[float], step: int = 1) -> BaseDistribution:
    """Return the range of a field between two numbers; a whole number moves by ``step``."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = ends
    if TYPES[name] is int:
        return IntDistribution(int(low), int(high), step=step)
    return FloatDistribution(low, high, log=name in LOGARITHMIC)


def choices(values: Sequence[Any]) -> BaseDistribution:
    """Return a list of values of which each trial takes one."""
    from optuna.distributions import CategoricalDistribution

    return CategoricalDistribution(values)


def searched(distribution: BaseDistribution) -> Searched:
    """Return a range or a list of values as it is stored."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(distribution, CategoricalDistribution):
        return {"choices": cast(list[Value], list(distribution.choices))}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return {"low": distribution.low, "high": distribution.high, "log": distribution.log}


def ends_of(distribution: BaseDistribution) -> list[Any]:
    """Return the ends of a range, or the values of a list."""
    described = searched(distribution)
    return list(described.get("choices") or [described["low"], described["high"]])


def fitting_space(space: Space, config: Config, data: Path, weights: Path | None) -> Space:
    """Return a default space with the values alone that data and weights allow.

    Raises:
        InputError: If they do not allow the values of ``config`` itself.
    """
    check_fits(config, data, weights)
    fitting: Space = {}
    for name, values in space.items():
        described = searched(values)
        if "choices" not in described:
            fitting[name] = values
            continue
        kept = [each for each in described["choices"] if fits(config, {name: each}, data, weights)]
        if len(kept) > 1:
            fitting[name] = choices(kept)
    return fitting


def fits(config: Config, values: Mapping[str, Any], data: Path, weights: Path | None) -> bool:
    """Return whether a recipe with these values can be trained on the data from the weights."""
    try:
        recipe = recipe_with(config.recipe, values)
        check_fits(replace(config, recipe=recipe), data, weights)
    except InputError:
        return False
    return True


def check_fits(config: Config, data: Path, weights: Path | None) -> None:
    """Raise InputError if the data or the weights do not fit a recipe."""
    starting_parameters(config.recipe, config.seed, weights)
    TrainingData(data, config)


def check_space(space: Space, config: Config, data: Path, weights: Path | None) -> None:
    """Raise InputError for a stated value with which no training on the data could begin."""
    for name, values in space.items():
        for value in ends_of(values):
            try:
                recipe = recipe_with(config.recipe, {name: value})
                check_fits(replace(config, recipe=recipe), data, weights)
            except InputError as error:
                raise InputError(f"--search {name}: {value}: {error}") from None


def first_values(space: Space, recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe, those that a space holds."""
    values: dict[str, Any] = {}
    for name, distribution in space.items():
        described, own = searched(distribution), getattr(recipe, name)
        if "choices" in described:
            for value in described["choices"]:
                if getattr(recipe_with(recipe, {name: value}), name) == own:
                    values[name] = value
        elif described["low"] <= own <= described["high"]:
            values[name] = own
    return values


def say_what_is_not_tried(space: Space, recipe: Recipe) -> None:
    """Say on standard error which values of the recipe that a search begins with are missing."""
    held = first_values(space, recipe)
    others = [f"{name} {in_one_text(getattr(recipe, name))}" for name in space if name not in held]
    if others:
        notice(
            "the recipe that the search begins with is not tried itself, for the values that are "
            f"searched leave out its {', '.join(others)}: the first trial draws others there"
        )


TYPES: dict[str, Any] = get_type_hints(Recipe)
CHOICES: dict[str, tuple[str, ...]] = {
    field.name: field.metadata["choices"]
    for field in fields(Recipe)
    if field.metadata.get("choices")
} | {"flip": (False, True)}
