"""The commands that train again what a document tells of, from what it states.

Paths are of one machine, and no document has them: DIR stands for the data, FILE for the weights,
CLASSES for the file of classes that are not VOC's, and NAME.toml for a recipe that is no preset.
"""

from collections.abc import Iterable
from shlex import join

from benchmarks.records.training_documents import Compared, Study
from benchmarks.records.tuning_documents import Searched, Tune, Value
from common.classes import Classes
from common.config import Config
from common.documents import ConfigRecord
from common.fields import arguments_of, with_tuples
from common.recipes import RECIPES, Recipe

WHOLE = "recipe"
"""Stands for all fields where a study varies whole recipes."""


def compare_command(compare: Compared) -> str:
    """Return the `fcn compare` that a comparison states."""
    words = ["fcn", "compare", "--backends", ",".join(row["backend"] for row in compare["rows"])]
    words += recipe_options(compare["config"])
    is_generated = compare["dataset"].get("generated", False)
    return join([*words, *other_options(compare, is_generated, compare.get("weights") is not None)])


def study_command(study: Study) -> str:
    """Return the `fcn study` that a study states."""
    words, first = ["fcn", "study"], study["variants"][0]
    for field, values in study["varied"].items():
        listed = map(recipe_name, values) if field == WHOLE else values
        words += ["--vary", f"{field}={','.join(listed)}"]
    words += ["--seeds", str(first["seeds"])]
    words += ["--backends", ",".join(row["backend"] for row in first["rows"])]
    if WHOLE not in study["varied"]:
        words += recipe_options(study["config"])
    is_generated = study["dataset"].get("generated", False)
    return join([*words, *other_options(study, is_generated, study["weights"] is not None)])


def tune_command(tune: Tune) -> str:
    """Return the `fcn tune` that a search states; its budget is the trials that count."""
    words = ["fcn", "tune", "--backend", tune["backend"]]
    for field, values in tune["space"].items():
        words += ["--search", f"{field}={searched(values)}"]
    counted = [trial for trial in tune["trials"] if trial["state"] != "killed"]
    words += ["--trials", str(max(1, len(counted)))]
    words += ["--sampler", tune["sampler"], "--pruner", tune["pruner"]]
    words += recipe_options(tune["config"])
    is_generated = tune["dataset"]["generated"]
    return join([*words, *other_options(tune, is_generated, tune.get("weights") is not None)])


def recipe_options(config: ConfigRecord) -> list[str]:
    """Return the options that state a configuration's recipe."""
    recipe, classes = with_tuples(config["recipe"]), config["recipe"].get("classes")
    words = ["--recipe", recipe_name(recipe["name"])]
    if recipe["name"] not in RECIPES:
        return words
    preset = RECIPES[recipe["name"]]
    if classes is not None and Classes.from_json(classes) != preset.classes:
        words += ["--classes", "CLASSES"]
    changed = {
        name: recipe[name]
        for name, value in vars(preset).items()
        if name != "classes" and recipe.get(name, value) != value
    }
    return [*words, *arguments_of(Recipe, changed)]


def recipe_name(name: str) -> str:
    """Return what `--recipe` takes for the recipe of a name."""
    return name if name in RECIPES else f"{name}.toml"


def other_options(
    document: Compared | Study | Tune, is_generated: bool, has_weights: bool
) -> Iterable[str]:
    """Return the options of the data, the weights, the machine and the run."""
    words = [] if is_generated else ["--data", "DIR"]
    words += ["--weights", "FILE"] if has_weights else []
    return [*words, *arguments_of(Config, with_tuples(document["config"]))]


def searched(values: Searched) -> str:
    """Return the values of a field as `--search` takes them."""
    if "choices" in values:
        return ",".join(map(as_typed, values["choices"]))
    return f"{values['low']}:{values['high']}"


def as_typed(value: Value) -> str:
    """Return a value as an option takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
