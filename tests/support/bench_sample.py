"""Documents as `fcn bench` and `fcn bench calibrate` write them, from a simulated clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.pages.bench import render_page
from benchmarks.records.calibration.documents import PLAIN_ROWS
from benchmarks.records.comparisons import compare_rows
from benchmarks.records.documents import Bench, Process, Sample, Settings
from benchmarks.records.figures import summarize
from benchmarks.records.results import new_document
from benchmarks.timing.calibration import new_calibration
from benchmarks.timing.plan import planned_rows
from benchmarks.timing.settings import Settings as BenchSettings
from common.machine.files import write_text
from common.reference.tolerances import row_limits

SETTINGS: Settings = {
    "backends": ["torch", "mxnet", "jax", "tf"],
    "cases": ["train", "predict"],
    "tracks": ["default", "chapter"],
    "batch_sizes": [1, 8],
    "crop": [320, 480],
    "recipe": "chapter-torch",
    "backbone": "resnet18_v1",
    "precisions": ["float32"],
    "upsampling": "auto",
    "processes": 5,
    "rounds": 2,
    "seconds": 1.0,
    "least_steps": 2,
    "seed": 0,
    "device": "cpu",
    "threads": None,
    "timeout": 900.0,
    "pythons": {},
    "profile": False,
    "quick": False,
}
READING = {
    "pixel_accuracy": 0.8,
    "mean_class_accuracy": 0.5,
    "mean_iou": 0.4,
    "frequency_weighted_iou": 0.7,
    "class_iou": [0.8, 0.0] + 19 * [None],
    "classes_present": 2,
    "background_pixel_accuracy": 0.7,
    "background_mean_iou": 0.35,
}
"""Scores in one reading of the void pixels."""
SPEEDS = {"torch": 3.9, "mxnet": 3.6, "jax": 2.6, "tf": 3.8}


def planned(**changes: Any) -> Any:
    """Return a document of which nothing is measured; ``changes`` are settings of its own."""
    settings: Any = {**SETTINGS, **changes}
    return new_document(settings, planned_rows(settings))


def sample_bench(**changes: Any) -> Any:
    """Return a document in which one row is invalid, one unsupported and all others measured.

    ``changes`` are settings of its own.
    """
    return json.loads(_measured(json.dumps(changes)))


@cache
def _measured(changes: str) -> str:
    document = planned(**json.loads(changes))
    processes, rounds = document["settings"]["processes"], document["settings"]["rounds"]
    generator = np.random.default_rng(5)
    rates = {"flops_per_second": 161e9, "bytes_per_second": 20e9}
    document["limits"] = {"float32": {**rates, "by_backend": [{"backend": "torch", **rates}]}}
    drift = 1 + 0.05 * np.sin(np.arange(processes * rounds))
    for row in document["rows"]:
        name, track = row["backend"], row["track"]
        if (name, track, row["case"]) == ("jax", "chapter", "train"):
            row["status"], row["reason"] = "invalid", "loss is off by 0.04, bound <1e-5>"
            continue
        if (name, track) == ("mxnet", "chapter"):
            row["status"], row["reason"] = "unsupported", "the chapter's network is the other one"
            continue
        rate = SPEEDS[name] * (1 if track == "default" else 0.8)
        rate *= 3 if row["case"] == "predict" else 1
        row["processes"] = [process(name) for _ in range(processes)]
        row["samples"] = [
            sample(n, turn, row["batch_size"] / rate * drift[n] * generator.normal(1, 0.01), rounds)
            for n in range(processes * rounds)
            for turn in (0, 1)
        ]
        checks = {
            quantity: {"error": 1e-7, "bound": limit}
            for quantity, limit in row_limits(
                CASES[row["case"]].bounds, row["precision"], track, name
            ).items()
        }
        row["gate"] = {"passed": True, "reason": None, "checks": checks}
        row["status"] = "ok"
        summarize(document, row)
    compare_rows(document)
    return json.dumps(document)


def process(name: str) -> Process:
    return {
        "backend": {
            "name": name,
            "versions": {name: "1.0"},
            "device": "cpu",
            "threads": 2,
            "precision": "float32",
            "deterministic": False,
        },
        "switches": {"compile": "none", "layout": "NHWC", "upsampling": "subpixel"},
        "environment": {},
        "cpus": [0, 1],
        "create_seconds": 1.0,
        "first_seconds": 3.0 + 4 * (name == "jax"),
        "steps": 2,
        "step_seconds": 2.0,
        "late_seconds": 0.0,
        "host_memory_peak_bytes": 2**31,
        "device_memory_peak_bytes": None,
    }


def sample(number: int, turn: int, seconds: float, rounds: int = 100) -> Sample:
    """Return the sample of a row's round with this number; a process has so many."""
    return {
        "seconds": float(seconds),
        "steps": 2,
        "turn_seconds": 2 * float(seconds),
        "turn_cpu_seconds": 4 * float(seconds),
        "slept_seconds": 1.0,
        "asleep_cpu_share": 0.0,
        "round": number % rounds,
        "turn": turn,
        "position": 0,
        "process": number // rounds,
        "other_cpu_share": None,
        "gpu": None,
        "dropped": None,
    }


def sample_calibration(groups: int, processes: float, turns: float, drift: float = 0.0) -> Any:
    """Return a calibration from a simulated clock.

    Args:
        groups: How many.
        processes, turns: Standard deviations of log times from process to process, and from turn
            to turn of one process.
        drift: That of a step of the walk that all processes of all groups share, a step a group.
    """
    settings = BenchSettings(
        *(("torch",), ("train",)), batch_sizes=(2,), crop=(64, 96), rounds=5, seconds=0.2
    )
    document = new_calibration(settings, {"minutes": 60.0, "comparisons": None})
    document["process"] = process("torch")
    generator = np.random.default_rng(1)
    shared = np.cumsum(generator.normal(0, drift, groups))
    slowdowns = [0.0] * PLAIN_ROWS + document["slowdowns"]
    for number in range(groups):
        meanwhile = np.cumsum(generator.normal(0, 0.01, 2 * settings.rounds))
        began = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(minutes=number)
        rows: Any = []
        for slowdown in slowdowns:
            own = generator.normal(0, processes) + generator.normal(0, turns, len(meanwhile))
            seconds = 0.03 * (1 + slowdown) * np.exp(shared[number] + meanwhile + own)
            row = {"slowdown": slowdown, "seconds": seconds.tolist()}
            rows.append({**row, "other_cpu_share": 0.01, "reason": None})
        group: Any = {"started": began.isoformat(), "minutes": 0.7, "rows": rows}
        document["groups"].append(group)
    return json.loads(json.dumps(document))


def write_page(document: Bench, path: Path, beside: Sequence[Bench] = ()) -> Path:
    """Write the page of a benchmark, whose folder is that of the page."""
    write_text(path, render_page(document, path.parent, beside))
    return path
