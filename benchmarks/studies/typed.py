"""The values of a recipe's fields as they are typed: ``--vary FIELD=A,B``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from common.errors import InputError
from common.recipe_files import named_recipe
from common.recipes import Recipe
from common.suggestions import unknown

WHOLE = "recipe"
"""Stands for all fields at once: ``--vary recipe=modern,mine.toml``."""
REFUSED = {
    "name": "it is the preset's name and changes nothing",
    "classes": "scores over other classes do not compare",
}
"""Field -> why it cannot be varied."""
BOOLEANS = {"true": True, "false": False}
KINDS = {int: "a whole number", float: "a finite number", bool: "true or false"}
EXAMPLES = {int: "96x96", float: "0.5x2"}


def read_variations(
    texts: Sequence[str], base: Recipe, begun: Mapping[str, Recipe] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the values of each varied field, by how they are typed.

    Args:
        texts: Of the form FIELD=A,B.
        base: The recipe that is varied.
        begun: As ``varied_recipes``.

    Raises:
        InputError: For a field that does not exist, cannot be varied or stands there twice, and for
            values that are not of its type, are fewer than two, or stand there twice.
    """
    kinds = get_type_hints(Recipe)
    variations: dict[str, dict[str, Any]] = {}
    for text in texts:
        typed, _, listed = text.partition("=")
        field = typed.strip().replace("-", "_")
        if field == WHOLE:
            variations[field] = varied_recipes([text], begun)
            continue
        if field in REFUSED:
            raise InputError(f"--vary {field}: {REFUSED[field]}; vary another field")
        if field not in kinds:
            raise unknown("--vary", typed, (name for name in kinds if name not in REFUSED))
        if field in variations:
            raise InputError(f"--vary {field} stands there twice: name all its values in one")
        if not listed:
            raise InputError(f"--vary {text}: expected {field}=A,B, the values to compare")
        values: dict[str, Any] = {}
        for item in map(str.strip, listed.split(",")):
            value = read_value(item, kinds[field], f"--vary {field}={item}")
            for other, known in values.items():
                if value == known:
                    raise InputError(f"--vary {field}={listed}: {item} is {other} again")
            replace(base, **{field: value})  # Raises for what the field does not allow.
            values[item] = value
        if len(values) < 2:
            raise InputError(f"--vary {text}: one value is nothing to compare; name two or more")
        variations[field] = values
    return variations


def varied_recipes(
    texts: Sequence[str], begun: Mapping[str, Recipe] | None = None
) -> dict[str, Recipe]:
    """Return the recipes that ``--vary recipe=A,B`` compares, by their names; often none.

    Args:
        texts: As ``read_variations``.
        begun: By path, the recipes that a study began with: each holds where its file is gone.

    Raises:
        InputError: For what is no recipe, fewer than two, or two of one name or other classes.
    """
    recipes: dict[str, Recipe] = {}
    for text in texts:
        items = whole_items(text)
        if items and recipes:
            raise InputError(f"--vary {WHOLE} stands there twice: name all its values in one")
        for item in items:
            known = None if Path(item).exists() else (begun or {}).get(item)
            try:
                recipe = known or named_recipe(item)
            except InputError as error:
                raise InputError(f"--vary {text}: {error}") from None
            if recipe.name in recipes:
                raise InputError(f"--vary {text}: {recipe.name} stands there twice")
            recipes[recipe.name] = recipe
        if len(recipes) == 1:
            raise InputError(f"--vary {text}: one recipe is nothing to compare; name two or more")
        if len({recipe.classes for recipe in recipes.values()}) > 1:
            raise InputError(f"--vary {text}: {REFUSED['classes']}; name recipes of one class list")
    return recipes


def whole_items(text: str) -> list[str]:
    """Return what ``--vary recipe=A,B`` names; nothing of the text of another field."""
    typed, _, listed = text.partition("=")
    return [item.strip() for item in listed.split(",")] if typed.strip() == WHOLE else []


def read_value(text: str, kind: Any, what: str) -> Any:
    """Return the value of the type ``kind`` that a text states.

    Args:
        what: The option with the text, for the message.

    Raises:
        InputError: If it states none.
    """
    items = get_args(kind)
    if get_origin(kind) is tuple:
        parts = text.split("x")
        of_parts = items[:1] * len(parts) if items[-1] is Ellipsis else items
        if len(parts) != len(of_parts):
            example = EXAMPLES[items[0]]
            raise InputError(f"{what}: expected {len(of_parts)} numbers such as {example}")
        return tuple(read_value(*each, what) for each in zip(parts, of_parts, strict=True))
    if NoneType in items:
        (kind,) = (item for item in items if item is not NoneType)
        return None if text == "none" else read_value(text, kind, what)
    try:
        value = BOOLEANS[text] if kind is bool else kind(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
    except (KeyError, ValueError):
        raise InputError(f"{what}: expected {KINDS[kind]}") from None
    return value
