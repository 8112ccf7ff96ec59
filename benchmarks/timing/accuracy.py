"""Do the backends learn equally well? Several trainings each, from several seeds on the same data.

A seed is a pair: the same first parameters and the same batches in every backend. So the scores of
two backends are compared by their differences seed by seed.
"""

import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.equal_work.trained import (
    check_evaluations,
    evaluation_file,
    pixels_to_score,
    prove_evaluation,
)
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
from common.run.log import read_metrics
from common.run.metrics import in_reading
from common.run.training import TrainingData


class Expected(NamedTuple):
    """What the trainings from one seed are held to: first losses, and pixels to be scored."""

    trace: Trace | None
    pixels: NDArray[np.int64]


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

    A score needs proof of equal work. So a row ends when its backend does not evaluate as the
    reference does, when the first losses of a training leave the float64 trace of its seed, when a
    seed has no trace, when an evaluation leaves out pixels, and when a training hangs or fails. The
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
    expected: dict[int, Expected] = {}
    asked: set[str] = set()
    seeds = range(config.seed, config.seed + settings["rounds"])
    for number, (seed, row) in enumerate(product(seeds, rows), start=1):
        if row["status"] != "ok":
            continue
        seeded, folder = replace(config, seed=seed), out / row["backend"] / f"seed-{seed}"
        run = stored_run(folder.with_suffix(".json"), seeded)
        if run is None:
            if seed not in expected:
                expected[seed] = expect(settings, seeded, data, out)
            if row["backend"] not in asked:
                asked.add(row["backend"])
                prove_row(settings, row, seeded, out)
                if row["status"] != "ok":
                    continue
            heading = f"[{number}/{len(seeds) * len(rows)}] {row['title']}, seed {seed}"
            run = train_one(settings, row, seeded, data, folder, expected[seed], heading)
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


def expect(settings: Settings, config: Config, data: Path, out: Path) -> Expected:
    """Return what the trainings from the seed of ``config`` are held to."""
    training, log = TrainingData(data, config), out / "trace.log"
    pythons = settings["pythons"]
    trace = reference_trace(config, data, None, training.total_steps, log, pythons)
    return Expected(trace, pixels_to_score(training))


def prove_row(settings: Settings, row: AccuracyRow, config: Config, out: Path) -> None:
    """Ask a row's backend for an evaluation; the row ends if it is not the reference's."""
    name = row["backend"]
    print(f"{row['title']}: an evaluation beside the reference's", file=sys.stderr)
    outcome = prove_evaluation(
        name,
        config,
        evaluation_file(config),
        out / f"{name}-evaluation.log",
        settings["pythons"],
        settings["timeout"],
    )
    row["status"], row["reason"] = outcome.status, outcome.reason


def train_one(
    settings: Settings,
    row: AccuracyRow,
    config: Config,
    data: Path,
    folder: Path,
    expected: Expected,
    heading: str,
) -> Any | None:
    """Train a row's backend from one seed; store and return its run, or end the row."""
    if expected.trace is None:
        row["status"], row["reason"] = "failed", NO_TRACE
        return None
    name = row["backend"]
    pythons, silence = settings["pythons"], settings["timeout"]
    outcome = train_backend(name, config, data, folder, heading, pythons=pythons, silence=silence)
    trained = training_row(name, outcome, folder)
    check_evaluations(trained, folder, expected.pixels)
    check_agreement([trained], expected.trace)
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
