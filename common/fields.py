"""Options of a command as fields of a dataclass: help and limits stand where the field does."""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from common.errors import InputError
from common.suggestions import unknown


def option(
    help: str = "",
    *,
    default: Any = dataclasses.MISSING,
    flag: str = "",
    metavar: str = "",
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> Any:
    """Return a dataclass field with its option on a command line and its limits.

    Args:
        help: What the option does; a field without help has no option.
        default: The field's default, also without the option.
        flag: The option's name without its dashes; by default the field's.
        metavar: What stands for the value in the help; by default the choices.
        choices: The values allowed, of each item where the field is a tuple of them.
        least, most: The smallest and the largest value allowed.
        above: The value must be finite and greater than this.
    """
    described = {"help": help, "flag": flag, "metavar": metavar or "|".join(choices)}
    limits = {"choices": choices, "least": least, "most": most, "above": above}
    return dataclasses.field(default=default, metadata=described | limits)


def like(cls: type, name: str) -> Any:
    """Return a field with the default, the option and the limits of another dataclass's field."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def add_field_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    cls: type,
    names: Iterable[str] | None = None,
    unset: str | None = None,
) -> None:
    """Add the options of a dataclass's fields to a parser or a group of one.

    The field's type says how the text is read: ``bool`` makes a switch, ``tuple[int, int]`` takes
    two values, ``tuple[str, ...]`` one list whose items are separated by commas. A class with a
    function ``read`` takes a file that it reads.

    Args:
        parser: The parser or the group.
        cls: The dataclass, its fields made by ``option``.
        names: The fields, in the order of the help; by default all that have an option.
        unset: What holds without the option, for the help, where that is not the field's default;
            the parsed value is then None.
    """
    described = {field.name: field for field in option_fields(cls)}
    for name in described if names is None else names:
        field = described[name]
        arguments = _reading(get_type_hints(cls)[name], field.metadata["metavar"])
        help = "; ".join(filter(None, (field.metadata["help"], unset)))
        default = field.default if unset is None else None
        parser.add_argument(_flag(field), dest=name, default=default, help=help, **arguments)


def _reading(kind: Any, metavar: str) -> dict[str, Any]:
    """Return the arguments of ``add_argument`` that read a value of the type ``kind``."""
    if kind is bool:
        return {"action": "store_true"}
    shown = {"metavar": metavar} if metavar else {}
    items = get_args(kind)
    if hasattr(kind, "read"):
        return {"type": from_file(lambda text: kind.read(Path(text))), **shown}
    if get_origin(kind) is not tuple:
        return {"type": next((item for item in items if item is not NoneType), kind), **shown}
    if items[-1] is Ellipsis:
        return {"type": _comma_separated(items[0]), **shown}
    return {"type": items[0], "nargs": len(items), "metavar": tuple(metavar.split())}


def from_file(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return ``read``, of what an option names, with its errors as those of the option."""

    def read_file(text: str) -> Any:
        try:
            return read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_file


def _comma_separated(kind: type) -> Callable[[str], tuple[Any, ...]]:
    """Return the function that reads a list such as "a,b", each item once."""
    word = "whole numbers" if kind is int else "numbers"

    def read(text: str) -> tuple[Any, ...]:
        items = [item.strip() for item in text.split(",") if item.strip()]
        try:
            return tuple(dict.fromkeys(kind(item) for item in items or [text]))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected {word}, separated by commas"
            ) from None

    return read


def option_fields(cls: type) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass that have an option."""
    return [field for field in dataclasses.fields(cls) if field.metadata.get("help")]


def field_values(args: argparse.Namespace, cls: type) -> dict[str, Any]:
    """Return the values of a dataclass's fields that parsed options state, without the unset."""
    values = {field.name: getattr(args, field.name, None) for field in option_fields(cls)}
    return with_tuples({name: value for name, value in values.items() if value is not None})


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of JSON, TOML or a command line as fields hold them: lists become tuples."""
    pairs = values.items()
    return {name: tuple(value) if isinstance(value, list) else value for name, value in pairs}


def field_arguments(instance: Any) -> list[str]:
    """Return the options, as a command line, that state the values of a dataclass's fields.

    Default values are left out: not every command that takes the others has their options. So is a
    field that is read from a file: where that file is now, the caller must know.
    """
    return arguments_of(type(instance), vars(instance))


def arguments_of(
    cls: type, values: Mapping[str, Any], implied: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the options of a dataclass that state ``values``, by the names of its fields.

    Args:
        cls: The dataclass.
        values: By the names of its fields.
        implied: Values that hold without an option, in place of the fields' defaults.
    """
    arguments: list[str] = []
    hints = get_type_hints(cls)
    for field in option_fields(cls):
        value = values.get(field.name)
        if value is None or value is False or value == () or hasattr(value, "read"):
            continue
        if value == (implied or {}).get(field.name, field.default):
            continue
        arguments.append(_flag(field))
        if isinstance(value, tuple) and get_args(hints[field.name])[-1] is Ellipsis:
            arguments.append(",".join(map(str, value)))
        elif value is not True:
            arguments += map(str, value if isinstance(value, tuple) else (value,))
    return arguments


def check_fields(instance: Any) -> None:
    """Raise InputError unless each field of a dataclass has its type and is within its limits.

    The limits are those of its ``option``. A file may give a field a value of any type.
    """
    hints = get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value, limits = getattr(instance, field.name), field.metadata
        name = title(field)
        if not is_of(value, hints[field.name]):
            raise InputError(f"{name} {value!r}: has the wrong type")
        if value is None or not limits:
            continue
        for item in value if isinstance(value, tuple) else (value,):
            if limits["choices"] and item not in limits["choices"]:
                raise unknown(name, item, limits["choices"])
            if limits["least"] is not None and not item >= limits["least"]:
                raise InputError(f"{name} {item} is too small: at least {limits['least']}")
            if limits["above"] is not None and not limits["above"] < item < math.inf:
                raise InputError(
                    f"{name} {item}: expected a finite number greater than {limits['above']}"
                )
            if limits["most"] is not None and not item <= limits["most"]:
                raise InputError(f"{name} {item} is too large: at most {limits['most']:g}")


def is_of(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a field's type; a whole number is of the type float too."""
    items = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = items[:1] * len(value) if items[-1] is Ellipsis else items
        return len(value) == len(kinds) and all(map(is_of, value, kinds))
    if get_origin(kind) in (Union, UnionType):
        return any(is_of(value, item) for item in items)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else get_origin(kind) or kind)


def title(field: dataclasses.Field[Any]) -> str:
    """Return what a user calls a field: its option, or its name where it has none."""
    return _flag(field) if field.metadata.get("help") else field.name


def _flag(field: dataclasses.Field[Any]) -> str:
    return f"--{field.metadata['flag'] or field.name.replace('_', '-')}"
