"""What `fcn compare` and the case accuracy take from the folders of trainings."""

from pathlib import Path

from benchmarks.records.statistics import interval
from benchmarks.records.training_documents import GalleryEntry, TrainedRow
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS, NOTES
from common.data.images import write_image
from common.data.masks import write_label
from common.documents import Manifest, Summary
from common.machine.files import read_json, write_bytes
from common.run.log import read_metrics
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
    if outcome.status != "ok":
        return row
    summary: Summary = read_json((folder / "summary.json").read_text(encoding="utf-8"))
    manifest: Manifest = read_json((folder / "manifest.json").read_text(encoding="utf-8"))
    lines = read_metrics(folder / "metrics.jsonl")
    described, final = manifest["backend"], summary["final"]
    row["versions"] = described["versions"]
    row["device"] = described["device"]
    row["threads"] = described["threads"]
    row["precision"] = described["precision"]
    row["deterministic"] = described["deterministic"]
    row["agreement"] = None
    row["train_loss"] = final["train_loss"]
    row["val_loss"] = final["val_loss"]
    row["scores"] = final["scores"]
    rates = [summary["batch_size"] / seconds for seconds in summary["step_seconds"]]
    # A training of one step has no rate: the first is timed apart.
    row["examples_per_second"] = {**interval(rates), "samples": rates} if rates else None
    row["other_cpu_share"] = outcome.other_cpu_share
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
    return row


def write_examples(folder: Path, dataset: TrainingData) -> list[GalleryEntry]:
    """Write the gallery's images and truths below ``folder``; return an entry for each.

    Paths in an entry are relative to ``folder``; it has no predictions yet.
    """
    (folder / "gallery").mkdir(exist_ok=True)
    entries: list[GalleryEntry] = []
    for image, (name, truth) in dataset.examples():
        of_image, of_truth = f"gallery/{name}.png", f"gallery/{name}-truth.png"
        write_image(folder / of_image, image)
        write_label(folder / of_truth, truth, dataset.train.classes)
        entries.append({"name": name, "image": of_image, "truth": of_truth, "predictions": {}})
    return entries


def copy_predictions(folder: Path, entries: list[GalleryEntry], backend: str, source: Path) -> None:
    """Copy a training's predictions in ``source`` beside the images below ``folder``; name them."""
    for entry in entries:
        prediction = source / f"{entry['name']}.png"
        # A resumed measurement may find a finished training's scores without its folder.
        if prediction.is_file():
            path = f"gallery/{entry['name']}-{backend}.png"
            write_bytes(folder / path, prediction.read_bytes())
            entry["predictions"][backend] = path
