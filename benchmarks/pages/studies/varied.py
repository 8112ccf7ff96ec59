"""What a study varies and what it leaves alone, in words.

Whole recipes may differ in any field: of those none is stated for all, and each has its values.
"""

from benchmarks.pages.format import counted, join, network_name, recipe_parts
from benchmarks.pages.studies.command import WHOLE
from benchmarks.records.training_documents import Study
from common.recipe_files import differences
from common.recipes import Recipe


def common_words(study: Study) -> str:
    """Return what was trained: network, recipe, batch and crop, as far as all have them, and seeds.

    A field that is varied by its own name is stated as it is without the change.
    """
    parts = recipe_parts(study["config"]["recipe"])
    if WHOLE in study["varied"]:
        trained = [recipe_parts(variant["config"]["recipe"]) for variant in study["variants"]]
        columns = zip(*trained, strict=True)
        parts = [part for part, own in zip(parts, columns, strict=True) if {*own} == {part}]
    return ", ".join([*parts, counted(study["variants"][0]["seeds"], "seed")])


def conditions(study: Study) -> str:
    """Return the network and the recipe, or the recipes and the network that they share."""
    recipe = study["config"]["recipe"]
    if WHOLE not in study["varied"]:
        return f"{network_name(recipe)}, recipe {recipe['name']}"
    networks = {network_name(variant["config"]["recipe"]) for variant in study["variants"]}
    shared = networks if len(networks) == 1 else ()
    return ", ".join([*shared, f"recipes {join(study['varied'][WHOLE])}"])


def recipe_cells(study: Study) -> list[list[str]]:
    """Return a table of the fields in which whole recipes differ, and its head; often nothing."""
    recipes: dict[str, Recipe] = {}
    for variant in study["variants"]:
        if WHOLE in variant["changes"]:
            recipe = Recipe.from_json(variant["config"]["recipe"])
            recipes.setdefault(variant["changes"][WHOLE], recipe)
    if not recipes:
        return []
    first, *_ = recipes.values()
    changes = [
        {name: pair for name, *pair in differences(first, each)} for each in recipes.values()
    ]
    old = {name: before for each in changes for name, (before, _) in each.items()}
    rows = [
        [name, *(each.get(name, (before, before))[1].strip('"') for each in changes)]
        for name, before in old.items()
        if name not in study["varied"]
    ]
    return [["field", *recipes], *rows]


def varied_facts(study: Study) -> dict[str, str]:
    """Return the values of each varied field, and those of the fields in which recipes differ."""
    facts = {field: ", ".join(texts) for field, texts in study["varied"].items()}
    head, *rows = recipe_cells(study) or [[]]
    for field, *values in rows:
        pairs = zip(values, head[1:], strict=True)
        facts[field] = ", ".join(f"{value} in {recipe}" for value, recipe in pairs)
    return facts
