"""What comparisons and studies take from the folders of trainings."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.equivalence import reaches_target
from benchmarks.records.statistics import interval
from benchmarks.records.training_documents import AccuracyRun, GalleryEntry, TrainedRow
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS, NOTES
from common.config import Config
from common.data.images import write_image
from common.data.masks import write_label
from common.documents import Manifest, Summary
from common.errors import InputError
from common.machine.files import reading_json, write_bytes
from common.run.folders import SUMMARY
from common.run.log import LOG, Line, read_metrics
from common.run.metrics import in_reading
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
    with reading_json(folder / "manifest.json", "a run's manifest") as manifest:
        _add_manifest(row, manifest)
    with reading_json(folder / SUMMARY, "a run's summary") as summary:
        _add_summary(row, summary)
    row["agreement"], row["other_cpu_share"] = None, outcome.other_cpu_share
    try:
        _add_lines(row, read_metrics(folder / LOG))
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / LOG}: not a training's log ({error!r})") from error
    return row


def _add_manifest(row: TrainedRow, manifest: Manifest) -> None:
    described = manifest["backend"]
    row["versions"] = described["versions"]
    row["device"] = described["device"]
    row["threads"] = described["threads"]
    row["precision"] = described["precision"]
    row["deterministic"] = described["deterministic"]


def _add_summary(row: TrainedRow, summary: Summary) -> None:
    final = summary["final"]
    row["train_loss"] = final["train_loss"]
    row["val_loss"] = final["val_loss"]
    row["scores"] = final["scores"]
    if min(summary["step_seconds"], default=1) <= 0:
        raise ValueError("a step took no time")
    rates = [summary["batch_size"] / seconds for seconds in summary["step_seconds"]]
    # A training of one step has no rate: the first is timed apart.
    row["examples_per_second"] = {**interval(rates), "samples": rates} if rates else None
    row["first_step_seconds"] = summary["first_step_seconds"]
    row["host_memory_peak_bytes"] = summary["host_memory_peak_bytes"]
    row["device_memory_peak_bytes"] = summary["device_memory_peak_bytes"]
    row["total_seconds"] = summary["total_seconds"]


def _add_lines(row: TrainedRow, lines: Sequence[Line]) -> None:
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


def accuracy_run(row: TrainedRow, config: Config, folder: Path) -> AccuracyRun:
    """Return the run of a training whose row is ``ok``, which left ``folder``."""
    agreement, scores, train_loss = row["agreement"], row["scores"], row["train_loss"]
    assert agreement is not None and scores is not None and train_loss is not None
    return {
        "seed": config.seed,
        "agreement": agreement,
        "scores": scores,
        "train_loss": train_loss,
        "epochs": row["epochs"],
        "seconds_to_target": seconds_to_target(folder, config.recipe.void),
        "versions": row["versions"],
        "device": row["device"],
        "threads": row["threads"],
        "precision": row["precision"],
    }


def seconds_to_target(folder: Path, void: str) -> float | None:
    """Return the seconds of training steps until an epoch ended above the target, else None."""
    total = 0.0
    for line in read_metrics(folder / LOG):
        if line["kind"] == "step":
            total += line["seconds"]
            continue
        if reaches_target(in_reading(line["scores"], void)):
            return total
    return None


def write_examples(folder: Path, dataset: TrainingData) -> list[GalleryEntry]:
    """Write the gallery's images and truths below ``folder``; return an entry for each.

    Paths in an entry are relative to ``folder``; it has no predictions yet. Images, truths and each
    training's predictions have folders of their own, so that no name is that of another picture.
    """
    entries: list[GalleryEntry] = []
    for image, (name, truth) in dataset.examples():
        of_image, of_truth = f"gallery/images/{name}.png", f"gallery/truths/{name}.png"
        write_image(folder / of_image, image)
        write_label(folder / of_truth, truth, dataset.train.classes)
        entries.append({"name": name, "image": of_image, "truth": of_truth, "predictions": {}})
    return entries


def copy_predictions(folder: Path, entries: list[GalleryEntry], owner: str, source: Path) -> None:
    """Copy the predictions in ``source`` below ``folder``; name them in the entries.

    Args:
        owner: The backend or the variant that they are of.
    """
    for entry in entries:
        prediction = source / f"{entry['name']}.png"
        # A resumed measurement may find a finished training's scores without its folder.
        if prediction.is_file():
            path = f"gallery/predictions/{owner}/{entry['name']}.png"
            write_bytes(folder / path, prediction.read_bytes())
            entry["predictions"][owner] = path
