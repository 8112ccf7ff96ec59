"""What a study varies and what it leaves alone, in words.

Nothing is stated of all trainings that some have not; whole recipes may differ in any field.
"""

from benchmarks.pages.format import counted, join, network_name, recipe_parts
from benchmarks.pages.studies.command import WHOLE
from benchmarks.records.training_documents import Study
from common.recipe_files import differences
from common.recipes import Recipe


def common_words(study: Study) -> str:
    """Return what all variants have: network, recipe, batch and crop as far as equal; the seeds."""
    trained = [recipe_parts(variant["config"]["recipe"])[1:] for variant in study["variants"]]
    parts = [own[0] for own in zip(*trained, strict=True) if len({*own}) == 1]
    return ", ".join(
        [*common_network(study), *parts, counted(study["variants"][0]["seeds"], "seed")]
    )


def common_network(study: Study) -> list[str]:
    """Return the network of all variants, or the backbone if that is all they share, or nothing."""
    recipes = [variant["config"]["recipe"] for variant in study["variants"]]
    networks = {network_name(recipe) for recipe in recipes}
    backbones = {recipe["backbone"] for recipe in recipes}
    return [*(networks if len(networks) == 1 else backbones if len(backbones) == 1 else ())]


def conditions(study: Study) -> str:
    """Return the network and the recipe, or the recipes, as far as all variants have them."""
    name = f"recipe {study['config']['recipe']['name']}"
    if WHOLE in study["varied"]:
        name = f"recipes {join(study['varied'][WHOLE])}"
    return ", ".join([*common_network(study), name])


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
