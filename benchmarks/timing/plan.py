"""The rows of a benchmark, the configuration of each, and the order in which they are measured."""

from collections.abc import Iterator
from itertools import groupby, product
from operator import itemgetter

from benchmarks.cases import CASES
from benchmarks.cases.case import Machine
from benchmarks.records.documents import Bench, Row, Settings
from benchmarks.records.figures import recipe_of, recipe_of_row
from benchmarks.records.results import row_name
from benchmarks.timing.machine import gpu_count
from benchmarks.timing.tracks import has_rows
from common.backends import BACKENDS
from common.config import Config
from common.machine.threads import cpu_count
from common.recipes import Recipe, make_recipe


def planned_rows(settings: Settings) -> list[Row]:
    """Return a row for each case, batch, variant, precision, track and backend, in this order.

    A track on which a backend computes a case as it does by default has no row.
    """
    recipe = recipe_of(settings).changed(backbone=settings["backbone"], head=settings.get("head"))
    gpus = 0 if settings["device"] == "cpu" else gpu_count()
    machine = Machine(gpus, settings["threads"] or cpu_count())
    rows = []
    for case in (CASES[name] for name in settings["cases"] if name in CASES):
        precisions = settings["precisions"]
        for batch, variant, precision, track, backend in product(
            settings["batch_sizes"],
            case.variants(machine),
            precisions if case.heeds_precision else precisions[:1],
            case.tracks(settings["tracks"]),
            settings["backends"],
        ):
            if not case.has_row(variant, track, backend, machine):
                continue
            if not has_rows(track, backend, case.name, settings):
                continue
            row: Row = {
                "key": "",
                "case": case.name,
                "variant": variant,
                "backend": backend,
                "title": BACKENDS[backend],
                "track": track,
                "backbone": recipe.backbone,
                "head": recipe.head,
                "recipe": recipe.name,
                "batch_size": batch,
                "crop": list(settings["crop"]),
                "precision": precision,
                "device": settings["device"],
                "status": "running",
                "reason": None,
                "gate": None,
                "processes": [],
                "samples": [],
                "figures": None,
                "warnings": [],
                "profile": None,
            }
            rows.append(row | {"key": row_name(row)})
    return rows


def groups(document: Bench) -> Iterator[list[Row]]:
    """Yield the unfinished rows that are measured side by side: all but backend and track equal.

    Cases of the last place are measured last, one after the other. All other cases are measured at
    the first batch size in the first precision, in the order of their places; then in the other
    precisions; then at the other batch sizes. So a benchmark that ends early has the rows that most
    readers want.
    """
    settings = document["settings"]
    batches, precisions = settings["batch_sizes"], settings["precisions"]

    def order(row: Row) -> tuple[int, ...]:
        case = CASES[row["case"]]
        last = list(CASES).index(case.name) + 1 if case.place == 2 else 0
        batch, precision = batches.index(row["batch_size"]), precisions.index(row["precision"])
        return last, batch, precision, case.place

    rows = sorted((row for row in document["rows"] if row["status"] == "running"), key=order)
    for _, group in groupby(rows, itemgetter("case", "variant", "batch_size", "precision")):
        yield list(group)


def config_of(settings: Settings, row: Row) -> Config:
    """Return the configuration that a row is measured with; its track may change it further."""
    config = config_with(settings, recipe_of_row(settings, row), row["precision"])
    return CASES[row["case"]].configured(config, row["variant"])


def config_with(settings: Settings, recipe: Recipe, precision: str) -> Config:
    """Return the configuration of a recipe with the machine's part of the settings."""
    return Config(
        recipe,
        seed=settings["seed"],
        device=settings["device"],
        precision=precision,
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )


def accuracy_config(settings: Settings) -> Config:
    """Return the configuration of the case accuracy from its first seed."""
    recipe = make_recipe("generated", backbone=settings["backbone"], head=settings.get("head"))
    return config_with(settings, recipe, settings["precisions"][0])
