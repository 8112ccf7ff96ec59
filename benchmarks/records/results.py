"""The results of a benchmark: one JSON file, written after every sample, held to a schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases.images import predicted_pixels
from benchmarks.cases.tracks import is_of
from benchmarks.pages.bench_text import row_name
from benchmarks.records.statistics import LEVEL, PAIRED_TEST, interval, paired
from benchmarks.timing.limits import limit_of, reached, step_costs
from benchmarks.timing.machine import gpu_count
from common.backends import BACKENDS
from common.config import Config
from common.errors import InputError
from common.machine.files import read_json, write_json
from common.machine.provenance import git_commit, hardware
from common.machine.threads import available_cpus
from common.recipes import make_recipe

VERSION = 1
RESULTS = "bench.json"
SCHEMA = Path(__file__).with_name("schemas") / "bench.json"


class Results:
    """A benchmark's folder and the document in it."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder, self.document = folder, document

    def save(self) -> None:
        """Write the document as a whole; the previous one stays until it is complete."""
        write_json(self.folder / RESULTS, self.document)


def new_document(settings: dict[str, Any]) -> dict[str, Any]:
    """Return a document with all rows that the settings ask for, none of them measured."""
    return {
        "version": VERSION,
        "kind": "bench",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "schema_checked": can_check_schema(),
        "hardware": hardware(),
        "gpu": None,
        "settings": settings,
        "limits": {},
        "test": {"name": PAIRED_TEST, "level": LEVEL},
        "rows": planned_rows(settings),
        "comparisons": [],
    }


def planned_rows(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each case, batch, precision, track and backend, in this order.

    A backend that computes a case no otherwise on a track than by default has no row there.
    """
    recipe = make_recipe(settings["recipe"], backbone=settings["backbone"])
    rows = []
    for case in settings["cases"]:
        if case == "accuracy":  # Whole trainings: a part of the document of its own.
            continue
        tracks, precisions = settings["tracks"], settings["precisions"]
        if case == "load":
            # Ours against each framework's own; bytes have no precision.
            tracks, precisions = ["default", "chapter"], precisions[:1]
        for batch, variant, precision, track, backend in product(
            settings["batch_sizes"],
            variants_of(case, settings),
            precisions,
            tracks,
            settings["backends"],
        ):
            if not is_of(track, backend, case, settings):
                continue
            if case == "first_step" and variant and not keeps_compiled(track, backend, settings):
                continue
            row = {
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
            rows.append({"key": row_name(row), **row})
    return rows


def keeps_compiled(track: str, backend: str, settings: dict[str, Any]) -> bool:
    """Tell whether a process finds what another one compiled: in JAX, and on a GPU in PyTorch.

    The others compile nothing that lasts: on a CPU PyTorch's steps are eager, TensorFlow's do
    without a compiler, MXNet's graphs are their process's.
    """
    on_gpu = settings["device"] != "cpu" and gpu_count() > 0
    return track == "default" and (backend == "jax" or (backend == "torch" and on_gpu))


def variants_of(case: str, settings: dict[str, Any]) -> list[str | None]:
    """Return the ways in which a case is measured, each with rows of its own.

    Loading: with files decoded each time, and once for all. First step: with nothing compiled, and
    with what another process kept. Scaling: with 1, 2, 4... and all devices, or CPU threads where
    there is no GPU.
    """
    if case == "load":
        return ["cold", "cached"]
    if case == "first_step":
        return [None, "cached"]
    if case != "scale":
        return [None]
    devices = 0 if settings["device"] == "cpu" else gpu_count()
    most = devices or settings["threads"] or len(available_cpus())
    counts = [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
    return [f"{'devices' if devices else 'threads'}-{count}" for count in counts]


def kept_seconds(row: dict[str, Any]) -> dict[tuple[int, int], float]:
    """Return (round, turn) -> seconds a step of the samples that were not dropped."""
    return {
        (sample["round"], sample["turn"]): sample["seconds"]
        for sample in row["samples"]
        if sample["dropped"] is None
    }


def summarize(document: dict[str, Any], row: dict[str, Any]) -> None:
    """Fill in the figures of a row that has been measured, and what is odd about it."""
    kept = kept_seconds(row)
    if not kept:
        row["status"], row["reason"] = "invalid", "every sample was taken while throttled"
        return
    seconds = list(kept.values())
    rates = [row["batch_size"] / value for value in seconds]
    first, second = ({n: v for (n, t), v in kept.items() if t == turn} for turn in (0, 1))
    rounds = sorted(first.keys() & second.keys())
    process = row["processes"][-1]
    recipe = make_recipe(
        row["recipe"],
        backbone=row["backbone"],
        batch_size=row["batch_size"],
        crop=tuple(row["crop"]),
    )
    costs = step_costs(row["case"], Config(recipe, precision=row["precision"]))
    found = interval(seconds)
    step, first_seconds = found["median"], process["first_seconds"]
    special: dict[str, float] = {}
    if row["case"] == "first_step":
        measured = [row["processes"][sample["process"]] for sample in row["samples"]]
        first_seconds = float(np.median([p["first_seconds"] for p in measured]))
        step = float(np.median([p["step_seconds"] for p in measured]))
        special["steady_seconds"] = step
    if row["case"] == "images":
        special["pixels_per_second"] = predicted_pixels(row["track"], recipe) / step
    row["figures"] = {
        "step_seconds": found,
        "examples_per_second": interval(rates),
        "self_ratio": paired([first[n] for n in rounds], [second[n] for n in rounds]),
        "first_step_seconds": first_seconds,
        "compile_seconds": max(0.0, first_seconds - step),
        "break_even": None,
        "create_seconds": process["create_seconds"],
        "host_memory_peak_bytes": process["host_memory_peak_bytes"],
        "device_memory_peak_bytes": process["device_memory_peak_bytes"],
        "flops": costs["flops"],
        "bytes": costs["bytes"],
        "limit": reached(costs, limit_of(row, document["limits"]), step),
        "dropped_samples": len(row["samples"]) - len(kept),
        **special,
    }
    row["warnings"] = warnings_of(row)


def warnings_of(row: dict[str, Any]) -> list[str]:
    """Return what a reader has to know about a row's samples, a line each."""
    found = []
    # What a turn leaves to be tidied up takes some milliseconds: no measure of a short wait.
    waits = [s["asleep_cpu_share"] for s in row["samples"] if s["slept_seconds"] > 0.5]
    asleep = max(waits, default=0.0)
    if asleep > 0.05:
        found.append(f"took {asleep:.0%} of a CPU while it should have slept")
    others = [s["other_cpu_share"] for s in row["samples"] if s["other_cpu_share"] is not None]
    if others and (share := float(np.median(others))) > 0.05:
        found.append(f"other processes took {share:.0%} of the CPUs while it was timed")
    processes = {sample["process"] for sample in row["samples"]}
    if len(processes) > 1 and row["case"] != "first_step":
        found.append("measured in several processes, after an interruption")
    ratio = row["figures"]["self_ratio"]
    if ratio and max(ratio["high"] - 1, 1 - ratio["low"]) > 0.05:
        found.append(f"against itself {ratio['low']:.2f} to {ratio['high']:.2f}")
    return found


def can_check_schema() -> bool:
    """Tell whether the package that checks a schema is here; a bare container has it not."""
    return find_spec("jsonschema") is not None


def check_schema(document: Any, path: Path) -> None:
    """Raise InputError, naming the place, unless ``document`` follows the published schema.

    A schema cannot say that lists are of one length, nor which dates there are.
    """
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = sorted(Draft202012Validator(schema).iter_errors(document), key=lambda e: list(e.path))
    if errors:
        place = "/".join(map(str, errors[0].path)) or "the document"
        said = errors[0].message
        if errors[0].validator == "type":  # Its message would begin with all that stands there.
            said = f"must be of type {errors[0].validator_value}"
        raise InputError(f"{path}: {place}: {said[:200]}")
    try:
        datetime.fromisoformat(document["created"])
    except ValueError:
        raise InputError(f"{path}: created: {document['created']!r} is no time") from None
    trained = document.get("accuracy", {"rows": []})["rows"]
    if len({len(run["epochs"]) for row in trained for run in row["runs"]}) > 1:
        raise InputError(f"{path}: accuracy: its trainings have different numbers of epochs")


def read_results(path: Path) -> dict[str, Any]:
    """Read and check a results file, or the one in a folder.

    Raises:
        InputError: If it is absent, no JSON, of another version, or against the schema.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        document = read_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such results file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(document, dict) or document.get("kind") != "bench":
        raise InputError(f"{file}: these are no results of fcn bench")
    if document.get("version") != VERSION:
        raise InputError(
            f"{file}: results of version {document.get('version')}; this fcn reads {VERSION}"
        )
    if can_check_schema():
        check_schema(document, file)
    return document
