"""The presets of recipes, from their files."""

from collections.abc import Collection
from dataclasses import fields

from benchmarks.records.schema import described
from common.recipe_files import to_toml
from common.recipes import PRESETS, RECIPES, SENTENCES, Recipe

from .markdown import code, escaped, fenced, page, prose, table

INTRODUCTION = """\
A recipe is everything about a training but where and how it is computed. These are the presets, \
which `--recipe` takes by name. A value that differs from the first preset's is bold. \
[Recipes](../RECIPES.md) says how to write one of your own, and the files below are of its form."""


def pages() -> dict[str, str]:
    """Return the page of the recipes: all fields side by side, and the files."""
    columns = {name: stated_values(recipe) for name, recipe in RECIPES.items()}
    first = next(iter(columns.values()))
    lines = [["field", *map(code, columns)]]
    for name, value in first.items():
        lines.append([code(name), *(shown(column[name], value) for column in columns.values())])
    about = [["field", "what it is"]]
    about += [[code(name), text] for name, text in meanings().items() if text]
    files = [
        f"### `{name}`: {sentence}\n\n" + fenced(source_of(name), "toml")
        for name, sentence in SENTENCES.items()
    ]
    return {
        "reference/recipes.md": page(
            "# Recipes",
            INTRODUCTION,
            table(lines),
            "## What each field is",
            table(about),
            "## The files",
            *files,
        )
    }


def stated_values(recipe: Recipe) -> dict[str, str]:
    """Return the value of each field as a file states it."""
    lines = to_toml(recipe, named=False).splitlines()
    pairs = (line.split("  #")[0].split(" = ", 1) for line in lines)
    return {name: value.strip('"') for name, value in pairs}


def shown(value: str, first: str) -> str:
    """Return a value, bold where it is not that of the first preset."""
    return code(value) if value == first else f"**{code(value)}**"


def meanings() -> dict[str, str]:
    """Return what each field is, from its option's help and the docstring, and its choices."""
    _, abouts = described(Recipe)
    texts = {}
    for field in fields(Recipe):
        said = [field.metadata.get("help", ""), abouts.get(field.name, "")]
        allowed = field.metadata.get("choices", ())
        sentences = [f"{sentence(part, allowed)}." for part in said if part]
        if allowed:
            sentences.append(f"One of {', '.join(map(code, allowed))}.")
        texts[field.name] = " ".join(sentences)
    return texts


def sentence(text: str, values: Collection[str]) -> str:
    """Return text with a capital letter, unless it begins with one of a field's values."""
    text = prose(text.rstrip("."))
    return text if text.startswith(tuple(map(escaped, values))) else f"{text[:1].upper()}{text[1:]}"


def source_of(preset: str) -> str:
    """Return the file of a preset."""
    return (PRESETS / f"{preset}.toml").read_text(encoding="utf-8")
