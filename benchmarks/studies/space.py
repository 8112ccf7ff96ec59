"""What a search tries: for each field of a recipe a range of numbers or a list of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from benchmarks.records.tuning_documents import Searched, Value
from common.errors import InputError
from common.recipes import Recipe
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
}
"""Field -> why its values cannot be compared by their score."""


def default_space(recipe: Recipe) -> Space:
    """Return what is searched where nothing else is said, around the values of ``recipe``."""
    rate, batch = recipe.learning_rate, recipe.batch_size
    return {
        "learning_rate": distribution("learning_rate", [rate / FACTOR, rate * FACTOR]),
        "momentum": distribution("momentum", [0.0, 0.99]),
        "weight_decay": distribution("weight_decay", [1e-6, 1e-2]),
        **{name: choices(sorted(CHOICES[name])) for name in ("schedule", "loss_reduction")},
        "batch_size": choices(sorted({max(1, batch // 2), batch, 2 * batch})),
    }


def read_space(texts: Sequence[str], recipe: Recipe) -> Space:
    """Return the space that ``--search`` states, each field once.

    Args:
        texts: FIELD, which has its default values, FIELD=LOW:HIGH or FIELD=A,B,C; none for the
            default space.
        recipe: Where the search begins.

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
            raise unknown("--search", name, TYPES.keys() - NOT_SEARCHED.keys())
        if name in space:
            raise InputError(f"--search {name}: is named twice; name it once")
        if has_values:
            space[name] = read_values(name, values)
        elif name in default:
            space[name] = default[name]
        elif name in CHOICES:
            space[name] = choices(CHOICES[name])
        else:
            raise InputError(f"--search {name}: has no default values; write {name}=A,B,C")
        check_values(name, space[name], recipe)
    return space or default


def read_values(name: str, text: str) -> BaseDistribution:
    """Return the values that follow the ``=`` of ``--search``."""
    separator = ":" if ":" in text else ","
    kind = TYPES[name]
    try:
        values = [read_value(part.strip(), kind) for part in text.split(separator)]
    except ValueError as error:
        raise InputError(f"--search {name}={text}: {error}") from None
    if separator == ",":
        if len(set(values)) < max(2, len(values)):
            raise InputError(f"--search {name}={text}: name two or more values, each once")
        return choices(values)
    is_range = len(values) == 2 and kind in (int, float) and values[0] < values[1]
    if not is_range or (name in LOGARITHMIC and values[0] <= 0):
        least = "more than 0" if name in LOGARITHMIC else "a number"
        raise InputError(f"--search {name}={text}: expected LOW:HIGH, LOW {least}, HIGH above it")
    return distribution(name, values)


def read_value(text: str, kind: type) -> Any:
    """Return a value of a field's type that is written as text.

    Raises:
        ValueError: If it is not of the type.
    """
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {what}") from None


def check_values(name: str, distribution: BaseDistribution, recipe: Recipe) -> None:
    """Raise InputError for a value that the recipe does not allow."""
    described = searched(distribution)
    values: list[Any] = described.get("choices") or [described["low"], described["high"]]
    for value in values:
        try:
            replace(recipe, **{name: value})
        except InputError as error:
            raise InputError(f"--search {name}: {error}") from None


def distribution(name: str, ends: Sequence[float]) -> BaseDistribution:
    """Return the range of a field between two numbers."""
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = ends
    if TYPES[name] is int:
        return IntDistribution(int(low), int(high))
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


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a value is one of those that are searched."""
    described = searched(distribution)
    if "choices" in described:
        return value in described["choices"]
    return described["low"] <= float(value) <= described["high"]


TYPES: dict[str, type] = {
    name: kind
    for name, kind in get_type_hints(Recipe).items()
    if kind in (int, float, str, bool) or name in NOT_SEARCHED
}
CHOICES: dict[str, tuple[str, ...]] = {
    field.name: field.metadata["choices"]
    for field in fields(Recipe)
    if field.metadata.get("choices")
} | {"flip": (False, True)}
