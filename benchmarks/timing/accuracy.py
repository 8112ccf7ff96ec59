"""Do the backends learn equally well? Several trainings each, from several seeds on the same data.

A seed is a pair: the same first parameters and the same batches in every backend. So the scores of
two backends are compared by their differences seed by seed.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace
from benchmarks.records.equivalence import (
    LEVEL,
    MARGINS,
    TARGET_ABOVE_BACKGROUND,
    equivalences,
)
from benchmarks.records.results import Results
from benchmarks.records.runs import copy_predictions, training_row, write_examples
from benchmarks.records.training_documents import AccuracyRow, Trace
from benchmarks.timing.settings import Settings
from benchmarks.workers.scripts import train_backend
from common.backends import BACKENDS
from common.config import Config
from common.data.synthetic import default_dataset
from common.machine.files import write_json
from common.run.metrics import in_reading
from common.run.runs import read_metrics
from common.run.training import TrainingData


@dataclass(frozen=True)
class Trainings:
    """What the trainings of all backends and seeds share.

    Attributes:
        config: Of the first seed.
        data: The data set.
        out: Gets a folder and a file for each training.
        pythons: Backend -> its interpreter, where it has one of its own.
        silence: Seconds without a message after which a training counts as hanging.
    """

    config: Config
    data: Path
    out: Path
    pythons: dict[str, str]
    silence: float

    def seeded(self, seed: int) -> Config:
        """Return the configuration of one seed."""
        return replace(self.config, seed=seed)


def measure_accuracy(results: Results, settings: Settings) -> None:
    """Train every backend from as many seeds as there are rounds, on a generated data set."""
    folder = results.folder
    trainings = Trainings(
        settings.accuracy_config(),
        default_dataset(folder / "data"),
        folder / "accuracy",
        settings.pythons,
        settings.timeout,
    )
    rows = train_all(list(settings.backends), trainings, settings.rounds)
    config, data = trainings.config, trainings.data
    gallery = write_examples(folder, TrainingData(data, config))
    for row in rows:
        if row["status"] == "ok":  # Of the first seed, which every finished backend has.
            run = trainings.out / row["backend"] / f"seed-{config.seed}"
            copy_predictions(folder, gallery, row["backend"], run / "predictions")
    results.document["accuracy"] = {
        "config": config.to_json(),
        "seeds": settings.rounds,
        "margins": MARGINS,
        "level": LEVEL,
        "rows": rows,
        "equivalence": equivalences(rows, config.recipe.void),
        "gallery": gallery,
    }
    results.save()


def train_all(backends: list[str], trainings: Trainings, seeds: int) -> list[AccuracyRow]:
    """Train every backend from every seed and return a row for each backend.

    Seeds are the outer loop, so that a machine that slows down slows every backend. A training that
    ``trainings.out`` holds already is not repeated: an interrupted measurement goes on. No score
    without proof of equal work: a row ends with a training whose first losses leave the float64
    trace of its seed, with a seed without a trace, or with a training that hangs or fails. The
    finished trainings of such a row are kept, and neither shown nor tested.
    """
    first = trainings.config.seed
    rows: dict[str, AccuracyRow] = {
        name: {"backend": name, "title": BACKENDS[name], "status": "ok", "reason": None, "runs": []}
        for name in backends
    }
    for seed in range(first, first + seeds):
        trace: Trace | None = None
        for position, (name, row) in enumerate(rows.items(), start=1):
            if row["status"] != "ok":
                continue
            run = finished_training(trainings, name, seed)
            if run is None:
                trace = trace or trace_of(trainings, seed)
                if trace is None:
                    row["status"], row["reason"] = "failed", NO_TRACE
                    continue
                number = (seed - first) * len(backends) + position
                heading = f"[{number}/{seeds * len(backends)}] {BACKENDS[name]}, seed {seed}"
                run = train_one(trainings, name, seed, trace, heading)
            if "scores" in run:
                row["runs"].append(run)
            else:
                row["status"], row["reason"] = run["status"], run["reason"]
    return list(rows.values())


def trace_of(trainings: Trainings, seed: int) -> Trace | None:
    """Return the first losses of a seed in float64, or None if no backend computes them."""
    config, data, out = trainings.seeded(seed), trainings.data, trainings.out
    steps = TrainingData(data, config).total_steps
    return reference_trace(config, data, None, steps, out / "trace.log", trainings.pythons)


def finished_training(trainings: Trainings, name: str, seed: int) -> Any:
    """Return what is stored of a training, None unless it is of the same configuration."""
    path = trainings.out / name / f"seed-{seed}.json"
    if not path.is_file():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    same = stored["config"] == json.loads(json.dumps(trainings.seeded(seed).to_json()))
    return stored["run"] if same else None


def train_one(trainings: Trainings, name: str, seed: int, trace: Trace, heading: str) -> Any:
    """Train a backend from one seed, store and return what came of it.

    Returns:
        The run, or ``status`` and ``reason`` where it has no scores.
    """
    config = trainings.seeded(seed)
    folder = trainings.out / name / f"seed-{seed}"
    python, silence = trainings.pythons.get(name), trainings.silence
    outcome = train_backend(
        name, config, trainings.data, folder, heading, python=python, silence=silence
    )
    row = training_row(name, outcome, folder)
    check_agreement([row], trace)
    if row["status"] != "ok":
        return {"status": row["status"], "reason": row["reason"]}
    kept = ("agreement", "scores", "train_loss", "epochs", "versions", "device", "threads")
    run = {
        "seed": seed,
        **{name: row.get(name) for name in (*kept, "precision")},
        "seconds_to_target": seconds_to_target(folder, config.recipe.void),
    }
    path = folder.with_name(f"seed-{seed}.json")
    write_json(path, {"config": config.to_json(), "run": run})
    return run


def seconds_to_target(folder: Path, void: str) -> float | None:
    """Return the seconds of training steps until an epoch ended above the target, else None."""
    total = 0.0
    for line in read_metrics(folder / "metrics.jsonl"):
        if line["kind"] == "step":
            total += line["seconds"]
            continue
        scores = in_reading(line["scores"], void)
        target = scores["background_pixel_accuracy"] + TARGET_ABOVE_BACKGROUND
        if scores["pixel_accuracy"] >= target:
            return total
    return None
