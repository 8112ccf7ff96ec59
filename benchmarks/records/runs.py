"""What `fcn compare` and the case accuracy take from the folders of trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.statistics import interval
from benchmarks.records.training_documents import GalleryEntry, Manifest, Rate, Summary, TrainedRow
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS, NOTES
from common.data.images import write_image, write_label
from common.machine.files import read_json, write_bytes
from common.run.runs import read_metrics
from common.run.training import TrainingData


def training_row(backend: str, outcome: Outcome, folder: Path) -> TrainedRow:
    """Return a comparison's row of one training, which left ``folder`` if it finished."""
    row: TrainedRow = {
        "backend": backend,
        "title": BACKENDS[backend],
        "note": NOTES.get(backend),
        "status": outcome.status,
        "reason": outcome.reason,
    }
    if outcome.status == "ok":
        add_figures(row, folder)
    return row


def add_figures(row: TrainedRow, folder: Path) -> None:
    """Add to a row the figures of the finished training in ``folder``."""
    summary: Summary = read_json((folder / "summary.json").read_text(encoding="utf-8"))
    manifest: Manifest = read_json((folder / "manifest.json").read_text(encoding="utf-8"))
    lines = read_metrics(folder / "metrics.jsonl")
    backend, final = manifest["backend"], summary["final"]
    row["versions"] = backend["versions"]
    row["device"] = backend["device"]
    row["threads"] = backend["threads"]
    row["precision"] = backend["precision"]
    row["deterministic"] = backend["deterministic"]
    row["agreement"] = None
    row["train_loss"] = final["train_loss"]
    row["val_loss"] = final["val_loss"]
    row["scores"] = final["scores"]
    row["examples_per_second"] = rate_of(summary)
    row["first_step_seconds"] = summary["first_step_seconds"]
    row["host_memory_peak_bytes"] = summary["host_memory_peak_bytes"]
    row["device_memory_peak_bytes"] = summary["device_memory_peak_bytes"]
    row["total_seconds"] = summary["total_seconds"]
    row["steps"] = [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
    row["epochs"] = [
        {
            "epoch": line["epoch"],
            "train_loss": line["train_loss"],
            "val_loss": line["val_loss"],
            "scores": line["scores"],
        }
        for line in lines
        if line["kind"] == "epoch"
    ]


def rate_of(summary: Summary) -> Rate | None:
    """Return a training's examples a second; None if it has no step beside the first."""
    rates = [summary["batch_size"] / seconds for seconds in summary["step_seconds"]]
    return {**interval(rates), "samples": rates} if rates else None


def write_examples(folder: Path, dataset: TrainingData) -> list[GalleryEntry]:
    """Write the gallery's images and truths below ``folder``; return an entry for each.

    Paths in an entry are relative to ``folder``; it has no predictions yet.
    """
    (folder / "gallery").mkdir(exist_ok=True)
    entries = []
    for image, (name, truth) in dataset.examples():
        entry: GalleryEntry = {
            "name": name,
            "image": f"gallery/{name}.png",
            "truth": f"gallery/{name}-truth.png",
            "predictions": {},
        }
        write_image(folder / entry["image"], image)
        write_label(folder / entry["truth"], truth)
        entries.append(entry)
    return entries


def copy_predictions(
    folder: Path, entries: Sequence[GalleryEntry], backend: str, predictions: Path
) -> None:
    """Copy a training's predictions beside the images below ``folder`` and name them there."""
    for entry in entries:
        source = predictions / f"{entry['name']}.png"
        # A resumed measurement may find a finished training's scores without its folder.
        if source.is_file():
            path = f"gallery/{entry['name']}-{backend}.png"
            write_bytes(folder / path, source.read_bytes())
            entry["predictions"][backend] = path
