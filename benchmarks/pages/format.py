"""How pages and terminals write numbers, sizes, times, lists and tables: one spelling of each."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite

from benchmarks.records.documents import Row, Settings
from benchmarks.records.statistics import Interval, TimeRatio
from common.documents import RecipeRecord
from common.recipes import Network

DASH = "–"
"""Stands where there is no value."""
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def count_word(count: int) -> str:
    """Return a small number as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def counted(count: int, noun: str) -> str:
    """Return "1 round", "5 rounds" or "5 processes"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def out_of(part: int, count: int, noun: str, verb: str) -> str:
    """Return "2 of 5 tests find" or "1 of 1 test finds"; of ``have``, too."""
    one = {"have": "has"}.get(verb, f"{verb}s")
    return f"{part} of {counted(count, noun)} {one if count == 1 else verb}"


def join(names: Sequence[str]) -> str:
    """Return "A", "A and B" or "A, B and C"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def number(value: float | None, digits: int = 4) -> str:
    """Return ``value`` with so many decimals."""
    return DASH if value is None else f"{value:.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Return ``value`` to so many digits, without an exponent."""
    if value is None:
        return DASH
    rounded = float(f"{value:.{digits}g}")
    if not isfinite(rounded):  # Of a file that was edited by hand.
        return str(rounded)
    whole = len(str(int(abs(rounded)))) if abs(rounded) >= 1 else 0
    return f"{rounded:,.{max(0, digits - max(1, whole))}f}" if whole else f"{rounded:g}"


def span(interval: Interval) -> str:
    """Return the ends of an interval in words."""
    return f"{significant(interval['low'])} to {significant(interval['high'])}"


def with_interval(interval: Interval) -> str:
    """Return a median and its interval: ``5.15 [5.11, 5.17]``."""
    low, high = significant(interval["low"]), significant(interval["high"])
    return f"{significant(interval['median'])} [{low}, {high}]"


def ratio_text(ratio: TimeRatio) -> str:
    """Return a ratio and its interval: ``1.052 [1.048, 1.057]``."""
    return f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def error_text(error: float | None) -> str:
    """Return a relative error; None, a dash, stands for no finite number."""
    return DASH if error is None else "0" if error == 0 else f"{error:.1e}"


def bound_text(bound: float) -> str:
    """Return the bound of an error to two digits; a bound of 0 asks for equal values."""
    return f"{bound:.1e}".replace(".0e", "e") if bound else "equal"


def seconds(value: float | None) -> str:
    """Return a time in seconds."""
    return DASH if value is None else f"{value:.2f} s"


def percent(share: float | None) -> str:
    """Return a share in whole percent."""
    return DASH if share is None else f"{share:.0%}"


def small_percent(share: float | None) -> str:
    """Return a share in percent to two digits: one below 1 % is not 0 %."""
    return DASH if share is None else f"{significant(100 * share, 2)} %"


def size(count: float | None) -> str:
    """Return bytes in the unit that fits."""
    if count is None:
        return DASH
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def crop_text(crop: Sequence[int]) -> str:
    """Return height and width in pixels, in few letters: ``320×480``."""
    return "×".join(map(str, crop))


def moment(text: str) -> str:
    """Return an ISO 8601 time as a reader writes it."""
    time = datetime.fromisoformat(text).astimezone(UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def setting(value: object) -> str:
    """Return the value of a setting as a reader says it."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return str(value)


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers as ranges, each once: ``0-3, 8``."""
    numbers = sorted(set(numbers))
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text, each column as wide as its widest cell."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as a table in Markdown; the first line is its head."""
    head, *rows = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def network_name(of: Row | RecipeRecord | Settings) -> str:
    """Return the name of a row's or a recipe's network; the chapter's head goes unsaid."""
    return Network(of["backbone"], of.get("head", "fcn32s")).title


def recipe_words(recipe: RecipeRecord, seeds: int) -> str:
    """Return what was trained from so many seeds."""
    return ", ".join([*recipe_parts(recipe), counted(seeds, "seed")])


def recipe_parts(recipe: RecipeRecord) -> list[str]:
    """Return network, recipe, batch and crop."""
    batch = f"batch {recipe['batch_size']}"
    return [network_name(recipe), recipe["name"], batch, crop_text(recipe["crop"])]


WORDS: dict[str, Callable[..., str]] = {
    words.__name__: words
    for words in (
        *(bound_text, counted, error_text, moment, network_name, number, percent, seconds),
        *(significant, size, small_percent, span),
    )
}
"""How one value is written, by name: the templates' filters."""
