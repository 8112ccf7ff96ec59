"""A study's results without a training: a folder as `fcn study` leaves it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records.equivalence import LEVEL, MARGINS, effects, equivalences
from common.backends import BACKENDS
from common.config import Config
from common.recipes import make_recipe
from common.run.metrics import confusion_matrix, scores
from tests.support.report_sample import sample_compare

EPOCHS = 3
RECIPE = make_recipe("generated")


def run(seed: int, mean_iou: float) -> dict[str, Any]:
    """Return a finished training with this score after its last epoch."""
    truth = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    reading = scores(confusion_matrix(truth, truth, 21), "ignore")
    epochs = []
    for epoch in range(EPOCHS):
        value = mean_iou * (epoch + 1) / EPOCHS
        own = {**reading, "mean_iou": value, "pixel_accuracy": min(1.0, value + 0.5)}
        both = {"background": own, "ignore": own}
        epochs.append({"epoch": epoch, "train_loss": 2.0, "val_loss": None, "scores": both})
    return {
        "seed": seed,
        "agreement": 0.3,
        "scores": epochs[-1]["scores"],
        "train_loss": 1.0,
        "epochs": epochs,
        "seconds_to_target": 12.0 if seed else None,
        "versions": {"numpy": "2.4.6"},
        "device": "cpu",
        "threads": 2,
        "precision": "float32",
    }


def variant(name: str, value: str, by_backend: Mapping[str, Mapping[int, float]]) -> Any:
    """Return a variant of a study: mean IoU by backend and seed.

    Args:
        value: Of its one varied field.
    """
    rows: list[Any] = [
        {
            "backend": backend,
            "title": BACKENDS[backend],
            "status": "ok",
            "reason": None,
            "runs": [run(seed, score) for seed, score in values.items()],
        }
        for backend, values in by_backend.items()
    ]
    return {
        "name": name,
        "changes": {"upsample_init": value},
        "config": Config(RECIPE).to_json(),
        "seeds": len(next(iter(by_backend.values()))),
        "margins": MARGINS,
        "level": LEVEL,
        "rows": rows,
        "equivalence": equivalences(rows, "ignore"),
    }


def sample_study(folder: Path, images: int = 1) -> Any:
    """Write a study of two variants in two backends from three seeds to ``folder``; return it."""
    compare = sample_compare(folder, images=images)
    (folder / "compare.json").unlink()
    generator = np.random.default_rng(5)
    variants = [
        variant(
            name,
            name,
            {
                backend: {seed: 0.3 + shift + 0.004 * generator.normal() for seed in range(3)}
                for backend in ("torch", "jax")
            },
        )
        for name, shift in (("bilinear", 0.0), ("xavier", 0.05))
    ]
    for entry in compare["gallery"]:
        entry["predictions"] = {
            each["name"]: entry["predictions"][backend]
            for each, backend in zip(variants, ("torch", "jax"), strict=True)
        }
    study = {
        "version": 1,
        "kind": "study",
        **{name: compare[name] for name in ("created", "commit", "hardware", "dataset", "weights")},
        "config": Config(RECIPE).to_json(),
        "varied": {"upsample_init": ["bilinear", "xavier"]},
        "variants": variants,
        "effects": effects(variants, "ignore"),
        "gallery": compare["gallery"],
        "gallery_backend": "torch",
    }
    study = json.loads(json.dumps(study))
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return study
