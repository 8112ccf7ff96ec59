"""Options derived from the fields of a dataclass: read, checked and written again."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from common.errors import InputError
from common.fields import (
    add_field_options,
    check_fields,
    field_arguments,
    field_values,
    like,
    option,
)
from common.options import Parser


@dataclass(frozen=True)
class Sample:
    """A field of each kind."""

    hidden: str = option(default="x", choices=("x", "y"))
    plain: int = 5
    count: int | None = option("how many", default=None, metavar="N", least=1)
    rate: float = option("how fast", default=0.5, above=0)
    kinds: tuple[str, ...] = option(
        "which", default=("a", "b"), flag="kind", choices=("a", "b", "c")
    )
    sizes: tuple[int, ...] = option("how large", default=(8,), metavar="N,M")
    crop: tuple[int, int] = option("sides", default=(3, 4), metavar="H W")
    quick: bool = option("a first look", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


def read(*arguments: str, unset: str | None = None) -> Sample:
    """Return what the options make."""
    parser = Parser(prog="sample")
    add_field_options(parser, Sample, unset=unset)
    return Sample(**field_values(parser.parse_args(arguments), Sample))


CHANGED = replace(
    Sample(), count=2, rate=1.5, kinds=("c", "a"), sizes=(8, 2), crop=(5, 6), quick=True
)


@pytest.mark.parametrize("unset", [None, "by default the sample's"])
def test_without_options_the_defaults_hold(unset: str | None) -> None:
    assert read(unset=unset) == Sample()


def test_every_kind_of_field_is_read() -> None:
    options = ["--count", "2", "--rate", "1.5", "--kind", "c,a,c", "--sizes", "8,2"]
    assert read(*options, "--crop", "5", "6", "--quick") == CHANGED


@pytest.mark.parametrize("sample", [Sample(), CHANGED])
def test_written_options_make_the_same_again(sample: Sample) -> None:
    assert read(*field_arguments(sample)) == sample


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--count 0", "--count 0 is too small: at least 1"),
        ("--count two", "--count 'two': expected a whole number (see sample --help)"),
        ("--rate 0", "--rate 0.0: expected a finite number greater than 0"),
        ("--rate inf", "--rate inf: expected a finite number greater than 0"),
        ("--rate nan", "--rate nan: expected a finite number greater than 0"),
        ("--kind a,d", "--kind 'd' is unknown: choose from a, b, c"),
        ("--kind=", "--kind '' is unknown: choose from a, b, c"),
        (
            "--sizes 8,x",
            "--sizes: '8,x': expected whole numbers, separated by commas",
        ),
        ("--hidden y", "no such option or argument: --hidden y"),
        ("--plain 6", "no such option or argument: --plain 6"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_option(arguments: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(*arguments.split())
    assert str(caught.value).startswith(message)


def test_a_field_without_an_option_is_checked_by_its_own_name() -> None:
    with pytest.raises(InputError, match="^hidden 'z' is unknown: choose from x, y$"):
        Sample(hidden="z")


def test_the_help_shows_defaults_as_they_are_typed() -> None:
    parser = Parser(prog="sample")
    add_field_options(parser, Sample)
    shown = " ".join(parser.format_help().split())
    for text in ("--kind a|b|c which (default: a,b)", "--crop H W sides (default: 3 4)"):
        assert text in shown
    assert "--count N how many --" in shown


def test_a_field_like_another_has_its_default_and_its_limits() -> None:
    @dataclass(frozen=True)
    class Other:
        count: float = like(Sample, "rate")

        def __post_init__(self) -> None:
            check_fields(self)

    assert Other().count == Sample().rate
    with pytest.raises(InputError, match="^--count 0: expected a finite number greater than 0$"):
        Other(count=0)


@pytest.mark.parametrize(
    "field, value",
    [
        ("count", 1.5),
        ("count", True),
        ("count", "2"),
        ("rate", "fast"),
        ("rate", None),
        ("kinds", "a"),
        ("kinds", ["a"]),
        ("kinds", ("a", 1)),
        ("crop", (3,)),
        ("crop", (3, 4, 5)),
        ("quick", 1),
        ("plain", None),
    ],
)
def test_a_value_of_another_type_is_refused(field: str, value: Any) -> None:
    check_fields(Sample(rate=1, count=None))
    with pytest.raises(InputError, match="has the wrong type"):
        check_fields(replace(Sample(), **{field: value}))
