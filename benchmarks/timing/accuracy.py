"""Do the backends learn equally well? Several trainings each, from several seeds on the same data.

A seed is a pair: the same first parameters and the same batches in every backend. So the scores of
two backends are compared by their differences seed by seed.
"""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.records.documents import Settings
from benchmarks.records.equivalence import LEVEL, MARGINS, TARGET_ABOVE_BACKGROUND, equivalences
from benchmarks.records.results import Results
from benchmarks.records.runs import copy_predictions, training_row, write_examples
from benchmarks.records.training_documents import AccuracyRow, Trace
from benchmarks.timing.plan import config_with
from benchmarks.workers.scripts import train_backend
from common.backends import BACKENDS
from common.config import Config
from common.data.synthetic import default_dataset
from common.machine.files import write_json
from common.recipes import make_recipe
from common.run.metrics import in_reading
from common.run.runs import read_metrics
from common.run.training import TrainingData


def measure_accuracy(results: Results) -> None:
    """Train every backend from as many seeds as there are rounds, on a generated data set."""
    folder, settings = results.folder, results.document["settings"]
    recipe = make_recipe("generated", backbone=settings["backbone"])
    config = config_with(settings, recipe, settings["precisions"][0])
    data = default_dataset(folder / "data")
    rows = train_all(settings, config, data, folder / "accuracy")
    gallery = write_examples(folder, TrainingData(data, config))
    for row in rows:
        if row["status"] == "ok":  # The first seed is one that every finished backend has.
            run = folder / "accuracy" / row["backend"] / f"seed-{config.seed}"
            copy_predictions(folder, gallery, row["backend"], run / "predictions")
    results.document["accuracy"] = {
        "config": config.to_json(),
        "seeds": settings["rounds"],
        "margins": MARGINS,
        "level": LEVEL,
        "rows": rows,
        "equivalence": equivalences(rows, recipe.void),
        "gallery": gallery,
    }
    results.save()


def train_all(settings: Settings, config: Config, data: Path, out: Path) -> list[AccuracyRow]:
    """Train every backend from every seed and return a row for each backend.

    Seeds are the outer loop, so that a machine that slows down slows every backend. A training that
    ``out`` holds already is not repeated: an interrupted measurement goes on.

    A score needs proof of equal work. So a row ends when the first losses of a training leave the
    float64 trace of its seed, when a seed has no trace, and when a training hangs or fails. The
    finished trainings of such a row stay in ``out``; they are neither shown nor tested.

    Args:
        settings: Of the benchmark.
        config: Of the first seed.
        data: The data set.
        out: Gets a folder and a file for each training.
    """
    rows: list[AccuracyRow] = [
        {"backend": name, "title": BACKENDS[name], "status": "ok", "reason": None, "runs": []}
        for name in settings["backends"]
    ]
    traces: dict[int, Trace | None] = {}
    seeds = range(config.seed, config.seed + settings["rounds"])
    for number, (seed, row) in enumerate(product(seeds, rows), start=1):
        if row["status"] != "ok":
            continue
        seeded, folder = replace(config, seed=seed), out / row["backend"] / f"seed-{seed}"
        run = stored_run(folder.with_suffix(".json"), seeded)
        if run is None:
            if seed not in traces:
                steps = TrainingData(data, seeded).total_steps
                log, pythons = out / "trace.log", settings["pythons"]
                traces[seed] = reference_trace(seeded, data, None, steps, log, pythons)
            heading = f"[{number}/{len(seeds) * len(rows)}] {row['title']}, seed {seed}"
            run = train_one(settings, row, seeded, data, folder, traces[seed], heading)
        if run is not None:
            row["runs"].append(run)
    return rows


def stored_run(path: Path, config: Config) -> Any | None:
    """Return the run that is stored of a training, None unless it has the same configuration."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    same = stored["config"] == json.loads(json.dumps(config.to_json()))
    return stored["run"] if same else None


def train_one(
    settings: Settings,
    row: AccuracyRow,
    config: Config,
    data: Path,
    folder: Path,
    trace: Trace | None,
    heading: str,
) -> Any | None:
    """Train a row's backend from one seed; store and return its run, or end the row."""
    if trace is None:
        row["status"], row["reason"] = "failed", NO_TRACE
        return None
    name = row["backend"]
    python, silence = settings["pythons"].get(name), settings["timeout"]
    outcome = train_backend(name, config, data, folder, heading, python=python, silence=silence)
    trained = training_row(name, outcome, folder)
    check_agreement([trained], trace)
    row["status"], row["reason"] = trained["status"], trained["reason"]
    if row["status"] != "ok":
        return None
    fields = ("agreement", "scores", "train_loss", "epochs", "versions", "device", "threads")
    run = {
        "seed": config.seed,
        **{field: trained.get(field) for field in (*fields, "precision")},
        "seconds_to_target": seconds_to_target(folder, config.recipe.void),
    }
    write_json(folder.with_suffix(".json"), {"config": config.to_json(), "run": run})
    return run


def seconds_to_target(folder: Path, void: str) -> float | None:
    """Return the seconds of training steps until an epoch ended above the target, else None."""
    total = 0.0
    for line in read_metrics(folder / "metrics.jsonl"):
        if line["kind"] == "step":
            total += line["seconds"]
            continue
        scores = in_reading(line["scores"], void)
        reached, background = scores["pixel_accuracy"], scores["background_pixel_accuracy"]
        if reached is None or background is None:
            continue
        if reached >= background + TARGET_ABOVE_BACKGROUND:
            return total
    return None
