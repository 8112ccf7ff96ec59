"""Do the backends learn equally well? Several trainings each, from several seeds on the same data.

A seed is a pair: the same first parameters and the same batches in every backend. So the scores of
two backends are compared by their differences seed by seed, with two one-sided tests.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.equal_work.drift import NO_TRACE, check_agreement, reference_trace, trace_steps
from benchmarks.records.gallery import copy_predictions, write_examples
from benchmarks.records.runs import training_row
from benchmarks.workers.environment import COMPILED_ANEW, backend_environment
from benchmarks.workers.scripts import train_backend
from common.backends import BACKENDS
from common.config import Config
from common.machine.files import write_json
from common.options import config_arguments
from common.run.runs import read_metrics
from common.run.training import TrainingData

MARGINS = {"pixel_accuracy": 0.01, "mean_iou": 0.02}
"""Differences of a score that would not matter to whoever chooses a framework."""
LEVEL = 0.05
TARGET_ABOVE_BACKGROUND = 0.10
"""Time is measured to this pixel accuracy above always saying background."""


def equivalence(differences: list[float], margin: float) -> dict[str, Any]:
    """Test whether paired differences have a mean within ``margin`` of zero.

    Two one-sided t-tests, each at ``LEVEL``; equivalent if both reject, which is if the mean's
    90 % interval lies within the margins.

    Source:
        Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power
        approach for assessing the equivalence of average bioavailability".
    """
    from scipy import stats

    count = len(differences)
    mean = math.fsum(differences) / count
    error = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (count - 1) / count)
    if error == 0:
        p, half = float(abs(mean) >= margin), 0.0
    else:
        lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        p, half = float(max(lower, upper)), float(stats.t.ppf(1 - LEVEL, count - 1)) * error
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "margin": margin,
        "p": p,
        "equivalent": p < LEVEL,
        "differences": differences,
    }


def finished_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with figures: those whose every seed was trained and proved its work."""
    return [row for row in rows if row["status"] == "ok"]


def equivalences(rows: list[dict[str, Any]], void: str) -> list[dict[str, Any]]:
    """Return the test of every score of every pair of backends that finished all their seeds.

    One seed alone has no spread, and so no test.
    """
    found = []
    for first, second in itertools.combinations(finished_rows(rows), 2):
        pairs = list(zip(first["runs"], second["runs"], strict=True))
        if len(pairs) < 2:
            continue
        for score, margin in MARGINS.items():
            finals = [
                [run["scores"][void][score] for run in runs] for runs in zip(*pairs, strict=True)
            ]
            differences = [a - b for a, b in zip(*finals, strict=True)]
            pair = {"backends": [first["backend"], second["backend"]], "score": score}
            found.append({**pair, **equivalence(differences, margin)})
    return found


def run_accuracy(
    backends: list[str],
    config: Config,
    data: Path,
    out: Path,
    seeds: int,
    pythons: Mapping[str, str] | None = None,
    silence: float | None = None,
) -> dict[str, Any]:
    """Train every backend from every seed and return the curves, times and tests.

    Seeds are the outer loop, so that a machine that slows down slows every backend. A run that
    ``out`` holds already is not repeated: an interrupted measurement goes on. No score without
    proof of equal work: a run whose first losses leave the float64 trace of its seed ends its row,
    as does a seed without a trace, and a run that gives no message for ``silence`` seconds. Of a
    row that has ended the finished runs are kept, and neither shown nor tested. ``pythons`` are
    interpreters by backend, where one has its own.
    """
    environment = backend_environment(config.threads, config.device) | COMPILED_ANEW
    steps = trace_steps(config, TrainingData(data, config).total_steps)
    traces: dict[int, dict[str, Any] | None] = {}
    rows: dict[str, dict[str, Any]] = {
        name: {"backend": name, "title": BACKENDS[name], "status": "ok", "reason": None, "runs": []}
        for name in backends
    }
    number = 0
    for seed in range(config.seed, config.seed + seeds):
        for name in backends:
            number += 1
            row = rows[name]
            if row["status"] != "ok":
                continue
            run = _finished(out / name / f"seed-{seed}.json", replace(config, seed=seed))
            if run is None:
                heading = f"[{number}/{seeds * len(backends)}] {BACKENDS[name]}, seed {seed}"
                seeded = replace(config, seed=seed)
                if seed not in traces:
                    out.mkdir(parents=True, exist_ok=True)
                    log = out / "trace.log"
                    traces[seed] = reference_trace(seeded, data, None, steps, log, pythons)
                if (trace := traces[seed]) is None:
                    row.update(status="failed", reason=NO_TRACE)
                    continue
                python = (pythons or {}).get(name)
                run = _train(
                    *(name, seeded, data, out, environment, heading, trace), python, silence
                )
            if "scores" not in run:
                row.update(status=run["status"], reason=run["reason"])
                continue
            row["runs"].append(run)
    return {
        "config": config.to_json(),
        "seeds": seeds,
        "margins": MARGINS,
        "level": LEVEL,
        "rows": list(rows.values()),
        "equivalence": equivalences(list(rows.values()), config.recipe.void),
    }


def write_gallery(
    folder: Path, data: Path, config: Config, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Leave pictures of the first seed, which every finished backend has, in ``folder/gallery``.

    Args:
        folder: Of the results; the runs lie in its ``accuracy``.
        data: What they were trained on.
        config: Of the first seed.
        rows: Of ``run_accuracy``; those that did not finish show no predictions.

    Returns:
        An entry for each image, with paths relative to ``folder``.
    """
    entries = write_examples(folder, TrainingData(data, config))
    for row in rows:
        if row["status"] == "ok":
            run = folder / "accuracy" / row["backend"] / f"seed-{config.seed}"
            copy_predictions(folder, entries, row["backend"], run / "predictions")
    return entries


def _finished(path: Path, config: Config) -> dict[str, Any] | None:
    """Return the run that a file holds, if it is of the same training."""
    if not path.is_file():
        return None
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = stored["config"] == json.loads(json.dumps(config.to_json()))
    return stored["run"] if same else None


def _train(
    name: str,
    config: Config,
    data: Path,
    out: Path,
    environment: dict[str, str],
    heading: str,
    trace: dict[str, Any],
    python: str | None,
    silence: float | None,
) -> dict[str, Any]:
    folder = out / name / f"seed-{config.seed}"
    options = config_arguments(config)
    outcome = train_backend(name, options, data, folder, environment, heading, python, silence)
    row = training_row(name, outcome, folder)
    check_agreement([row], trace)
    if row["status"] != "ok":
        return {"status": row["status"], "reason": row["reason"]}
    void = config.recipe.void
    run = {
        "seed": config.seed,
        "agreement": row["agreement"],
        "scores": row["scores"],
        "train_loss": row["train_loss"],
        "epochs": row["epochs"],
        "seconds_to_target": seconds_to_target(folder, void),
        "versions": row["versions"],
        "device": row["device"],
        "threads": row["threads"],
        "precision": row["precision"],
    }
    write_json(out / name / f"seed-{config.seed}.json", {"config": config.to_json(), "run": run})
    return run


def seconds_to_target(folder: Path, void: str) -> float | None:
    """Return the seconds of training steps until an epoch ended above the target, else None."""
    total = 0.0
    for line in read_metrics(folder / "metrics.jsonl"):
        if line["kind"] == "step":
            total += line["seconds"]
        else:
            scores = line["scores"][void]
            target = scores["background_pixel_accuracy"] + TARGET_ABOVE_BACKGROUND
            if scores["pixel_accuracy"] >= target:
                return total
    return None
