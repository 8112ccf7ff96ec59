"""Recipes as files: TOML with a recipe's fields, or with a preset and the fields that differ."""

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from common.classes import VOC, Classes
from common.errors import InputError
from common.fields import is_of
from common.recipes import PRESET, RECIPES, Recipe, make_recipe, recipe_of
from common.suggestions import choices, unknown
from common.toml import quoted, read_toml

TABLES = "class"
"""Key of a list of classes that stands in the file itself, as in a file of its own."""
FORM = "`fcn recipe show modern` prints one"
KINDS = {int: "whole number", float: "finite number", bool: "true or false", str: "text in quotes"}


def named_recipe(text: str) -> Recipe:
    """Return a preset by its name, or the recipe in a file by its path.

    Raises:
        InputError: If there is neither, or the file is no recipe.
    """
    path = Path(text)
    if text not in RECIPES and text and (path.suffix == ".toml" or path.exists()):
        return read_recipe(path)
    if text not in RECIPES:
        raise InputError(f"{text!r} is unknown: {choices(text, [*RECIPES, 'a TOML file'])}")
    return make_recipe(text)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe, TOML.

    Raises:
        InputError: Naming the file and the field, for anything but a recipe.
    """
    return read_toml(path, "recipe", FORM, lambda values: _from_values(values, path))


def recipe_in(text: str) -> Recipe:
    """Return the recipe whose TOML ``to_toml`` wrote, with its name.

    Raises:
        InputError: If it is no recipe.
        ValueError: If it is no TOML.
    """
    return _from_values(tomllib.loads(text), Path())


def _from_values(values: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe that the values of the file ``path`` state."""
    hints = get_type_hints(Recipe)
    known = [*hints, PRESET, TABLES]
    for name in values:
        if name not in known:
            raise unknown("field", name, known)
    stated = {
        name: _value(name, value, hints[name])
        for name, value in values.items()
        if name not in (PRESET, TABLES, "classes")
    }
    name = stated.setdefault("name", path.stem)
    if not name.strip() or not name.isprintable():
        raise InputError(f"name {name!r}: expected printable characters; set another by `name`")
    if "classes" in values or TABLES in values:
        stated["classes"] = _classes(values, path)
    try:
        if PRESET in values:
            stated[PRESET] = _value(PRESET, values[PRESET], str)
        return recipe_of(stated)
    except InputError as error:  # In a file an option has the name of its field.
        text = re.sub(r"--([a-z-]+)", lambda found: found[1].replace("-", "_"), str(error))
        raise InputError(text) from None


def _classes(values: Mapping[str, Any], path: Path) -> Classes:
    """Return the classes that stand in the file ``path``, or in the one that it names."""
    if TABLES not in values:
        return Classes.read(path.parent / _value("classes", values["classes"], str))
    if "classes" in values:
        raise InputError(f"has classes and [[{TABLES}]] tables: leave one of them out")
    return Classes.from_tables({TABLES: values[TABLES]})


def _value(name: str, value: Any, kind: Any) -> Any:
    """Return a field's value in the file as one of the type ``kind``.

    Raises:
        InputError: Naming the field, if it is of another type, or not finite.
    """
    if isinstance(value, list):
        value = tuple(value)
    items = value if isinstance(value, tuple) else (value,)
    if not is_of(value, kind) or any(isinstance(x, float) and not math.isfinite(x) for x in items):
        is_plain = all(isinstance(x, str | bool | int | float) for x in items)
        shown = _in_toml(value) if is_plain else str(value)
        raise InputError(f"{name} is {shown[:60]}: expected {_in_words(kind)}")
    return value


def _in_words(kind: Any) -> str:
    if get_origin(kind) is not tuple:
        word = KINDS[kind]
        return f"a {word}" if word.endswith("number") else word
    first, *rest = get_args(kind)
    count = "" if rest[-1] is Ellipsis else f"{1 + len(rest)} "
    return f"a list of {count}{KINDS[first]}s"


def to_toml(recipe: Recipe, named: bool = True) -> str:
    """Return all fields of a recipe as the text of a file that ``read_recipe`` reads.

    Unless ``named``, a recipe that is read from it has the file's name.
    """
    lines = [
        _line(field, getattr(recipe, field.name))
        for field in fields(recipe)
        if named or field.name != "name"
    ]
    own = f"\n{recipe.classes.to_toml()}" if recipe.classes != VOC else ""
    return "".join(f"{line}\n" for line in lines if line) + own


def _line(field: Field[Any], value: Any) -> str:
    """Return the line of a field; of classes, which are tables, none."""
    if isinstance(value, Classes):
        return ""
    allowed = field.metadata.get("choices", ())
    note = f"  # {', '.join(allowed)}" if allowed else ""
    return f"{field.name} = {_in_toml(value)}{note}"


def _in_toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_in_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)


def differences(old: Recipe, new: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield each field that differs with both values, as a file has them, but for the name."""
    for field in fields(Recipe):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if a != b and field.name != "name":
            in_words = repr if isinstance(a, Classes) else _in_toml
            yield field.name, in_words(a), in_words(b)
