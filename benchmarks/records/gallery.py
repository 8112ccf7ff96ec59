"""The pictures of a gallery as files: what `fcn compare` and the case accuracy leave for a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.data.images import write_image, write_label
from common.machine.files import write_bytes
from common.run.training import TrainingData


def write_examples(folder: Path, dataset: TrainingData) -> list[dict[str, Any]]:
    """Write the gallery's images and truths below ``folder``; return an entry for each.

    Paths in an entry are relative to ``folder``; it has no predictions yet.
    """
    (folder / "gallery").mkdir(exist_ok=True)
    entries = []
    for image, (name, truth) in dataset.examples():
        entry: dict[str, Any] = {
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
    folder: Path, entries: list[dict[str, Any]], backend: str, predictions: Path
) -> None:
    """Copy a run's predictions beside the images below ``folder`` and name them in ``entries``."""
    for entry in entries:
        source = predictions / f"{entry['name']}.png"
        # Whoever resumes may have deleted a finished run's folder: its scores are kept elsewhere.
        if source.is_file():
            path = f"gallery/{entry['name']}-{backend}.png"
            write_bytes(folder / path, source.read_bytes())
            entry["predictions"][backend] = path
