"""The rows of a benchmark, the configuration of each, and the order in which they are measured."""

from collections.abc import Iterator
from itertools import product

from benchmarks.cases import CASES
from benchmarks.cases.case import Machine
from benchmarks.records.documents import Bench, Row, Settings
from benchmarks.records.results import row_name
from benchmarks.timing.machine import gpu_count
from benchmarks.timing.tracks import has_rows
from common.backends import BACKENDS
from common.config import Config
from common.machine.threads import available_cpus
from common.recipes import Recipe, make_recipe


def machine_of(settings: Settings) -> Machine:
    """Return what of this machine decides which rows there are."""
    gpus = 0 if settings["device"] == "cpu" else gpu_count()
    return Machine(gpus, settings["threads"] or len(available_cpus()))


def planned_rows(settings: Settings) -> list[Row]:
    """Return a row for each case, batch, variant, precision, track and backend, in this order.

    A backend that computes a case no otherwise on a track than by default has no row there.
    """
    recipe = make_recipe(settings["recipe"], backbone=settings["backbone"])
    machine = machine_of(settings)
    rows = []
    for name in settings["cases"]:
        if name not in CASES:
            continue
        case, precisions = CASES[name], settings["precisions"]
        for batch, variant, precision, track, backend in product(
            settings["batch_sizes"],
            case.variants(machine),
            precisions if case.heeds_precision else precisions[:1],
            case.tracks(settings["tracks"]),
            settings["backends"],
        ):
            if not case.has_row(variant, track, backend, machine):
                continue
            if has_rows(track, backend, name, settings):
                rows.append(
                    new_row(name, variant, backend, track, recipe, batch, precision, settings)
                )
    return rows


def new_row(
    case: str,
    variant: str | None,
    backend: str,
    track: str,
    recipe: Recipe,
    batch: int,
    precision: str,
    settings: Settings,
) -> Row:
    """Return a row with nothing measured."""
    row: Row = {
        "key": "",
        "case": case,
        "variant": variant,
        "backend": backend,
        "title": BACKENDS[backend],
        "track": track,
        "backbone": recipe.backbone,
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
    return row | {"key": row_name(row)}


def groups(document: Bench) -> Iterator[list[Row]]:
    """Yield the unfinished rows that are measured side by side: all but backend and track equal.

    Cases come by their place. Among those of one place the first batch size in the first precision
    is measured first, then it in the other precisions, then the other batch sizes, each in the
    order of the options: whatever ends a benchmark early leaves what is wanted most.
    """
    settings = document["settings"]
    batches, precisions = settings["batch_sizes"], settings["precisions"]
    pending: dict[tuple[str, str | None, int, str], list[Row]] = {}
    for row in document["rows"]:
        if row["status"] == "running":
            key = (row["case"], row["variant"], row["batch_size"], row["precision"])
            pending.setdefault(key, []).append(row)

    def order(key: tuple[str, str | None, int, str]) -> tuple[int, ...]:
        name, _, batch, precision = key
        case = CASES[name]
        last = list(CASES).index(name) + 1 if case.place == 2 else 0
        return last, batches.index(batch), precisions.index(precision), case.place

    for key in sorted(pending, key=order):
        yield pending[key]


def config_of(settings: Settings, row: Row) -> Config:
    """Return the configuration that a row is measured with; its track may change it further."""
    height, width = settings["crop"]
    recipe = make_recipe(
        settings["recipe"],
        backbone=settings["backbone"],
        batch_size=row["batch_size"],
        crop=(height, width),
    )
    config = Config(
        recipe,
        seed=settings["seed"],
        device=settings["device"],
        precision=row["precision"],
        upsampling=settings["upsampling"],
        threads=settings["threads"],
    )
    return CASES[row["case"]].configured(config, row["variant"])
