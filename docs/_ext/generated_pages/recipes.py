"""The presets of recipes, from their files."""

from dataclasses import fields

from benchmarks.records.schema import described
from common.recipe_files import to_toml
from common.recipes import PRESETS, RECIPES, SENTENCES, Recipe

from .markdown import code, fenced, page, prose, table

INTRODUCTION = """\
A recipe is everything about a training but where and how it is computed. These are the presets, \
which `--recipe` takes by name. A value that differs from the first preset's is bold. \
[Recipes](../RECIPES.md) says how to write one of your own, and the files below are of its form."""


def pages() -> dict[str, str]:
    """Return the page of the recipes: all fields side by side, and the files."""
    columns = {name: stated_values(recipe) for name, recipe in RECIPES.items()}
    first = next(iter(columns.values()))
    heads = ["field", *map(code, columns), "what it is"]
    lines = [
        [code(name), *(shown(column[name], first[name]) for column in columns.values()), about]
        for name, about in meanings().items()
        if name in first
    ]
    files = [
        f"### `{name}`: {sentence}\n\n" + fenced(source_of(name), "toml")
        for name, sentence in SENTENCES.items()
    ]
    blocks = ["# Recipes", INTRODUCTION, table([heads, *lines]), "## The files", *files]
    return {"reference/recipes.md": page(*blocks)}


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
        text = ". ".join(prose(part.rstrip(".")) for part in said if part)
        choices = ", ".join(map(code, field.metadata.get("choices", ())))
        texts[field.name] = f"{text[:1].upper()}{text[1:]}. " if text else ""
        texts[field.name] += f"One of {choices}." if choices else ""
    return texts


def source_of(preset: str) -> str:
    """Return the file of a preset."""
    return (PRESETS / f"{preset}.toml").read_text(encoding="utf-8")
