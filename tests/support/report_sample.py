"""A comparison's or a study's results without a training: a folder as its command leaves it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.records.equivalence import LEVEL, MARGINS, effects, equivalences
from common.backends import BACKENDS
from common.config import Config
from common.data.images import write_image
from common.data.masks import write_label
from common.data.synthetic import draw_pair
from common.machine.provenance import hardware
from common.recipes import make_recipe
from common.run.metrics import confusion_matrix, scores

SIZE = (96, 128)
EPOCHS, STEPS_PER_EPOCH = 4, 20
STUDY_EPOCHS, STUDIED = 3, make_recipe("generated")
RATES = {"torch": 9.1, "mxnet": 6.2, "jax": 7.4, "tf": 7.6}


def sample_compare(folder: Path, seed: int = 0, images: int = 3) -> dict[str, Any]:
    """Write a comparison of four finished backends to ``folder`` and return it."""
    generator = np.random.default_rng(seed)
    pairs = [draw_pair(SIZE, np.random.default_rng([seed, index])) for index in range(images)]
    recipe = make_recipe("chapter-torch", batch_size=8, crop=(96, 128), epochs=EPOCHS)
    losses = 24 * np.exp(-np.arange(EPOCHS * STEPS_PER_EPOCH) / 25) + 3
    losses += generator.normal(0, 0.6, len(losses))
    rows, predictions = [], {}
    for backend, title in BACKENDS.items():
        predictions[backend] = [_predict(truth, generator, 0.04) for _, truth in pairs]
        rows.append(_row(backend, title, losses, pairs, predictions[backend], generator))
    gallery = []
    for index, (image, truth) in enumerate(pairs):
        name = f"val_{index:06d}"
        write_image(folder / "gallery" / f"{name}.png", image)
        write_label(folder / "gallery" / f"{name}-truth.png", truth)
        paths = {b: f"runs/{b}/predictions/{name}.png" for b in BACKENDS}
        for backend, path in paths.items():
            write_label(folder / path, predictions[backend][index])
        gallery.append(
            {
                "name": name,
                "image": f"gallery/{name}.png",
                "truth": f"gallery/{name}-truth.png",
                "predictions": paths,
            }
        )
    compare = {
        "version": 2,
        "kind": "compare",
        "created": "2026-11-24T05:00:00+00:00",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "config": Config(recipe=recipe, device="cpu", threads=2).to_json(),
        "hardware": {
            "processor": "A processor of the sample",
            "cpus": 2,
            "memory_bytes": 8 * 2**30,
            "system": "Linux x86_64",
            "python": "3.11.2",
        },
        "dataset": {
            "generated": True,
            "root": "data",
            "digest": "8e" * 32,
            "train_images": 160,
            "train_dropped": 0,
            "val_digest": "24" * 32,
            "val_images": 24,
            "val_dropped": 0,
            "steps_per_epoch": STEPS_PER_EPOCH,
        },
        "weights": {"name": "sample.safetensors", "sha256": "5c" * 32},
        "agreement": {
            "reference": "PyTorch",
            "losses": losses[:20].tolist(),
            "drift": [1e-7] * 20,
            "bounds": [5e-6] * 18 + [None] * 2,
        },
        "rows": rows,
        "gallery": gallery,
    }
    # As a reader meets it: lists for tuples.
    compare = json.loads(json.dumps(compare))
    write_compare(folder, compare)
    return compare


def sample_accuracy(folder: Path) -> dict[str, Any]:
    """Write pictures to ``folder`` and return the case accuracy of a benchmark that has them."""
    compare = sample_compare(folder)
    keep = ("agreement", "scores", "train_loss", "epochs", "versions", "device", "threads")
    rows = []
    for row in compare["rows"]:
        run = {"seed": 0, "seconds_to_target": 12.0, "precision": "float32"}
        run |= {name: row[name] for name in keep}
        rows.append({k: row[k] for k in ("backend", "title", "status", "reason")} | {"runs": [run]})
    for entry in compare["gallery"]:
        for backend, path in entry["predictions"].items():
            entry["predictions"][backend] = f"gallery/{entry['name']}-{backend}.png"
            (folder / path).rename(folder / entry["predictions"][backend])
    return {
        "config": compare["config"],
        "seeds": 1,
        "margins": {"pixel_accuracy": 0.01, "mean_iou": 0.02},
        "level": 0.05,
        "rows": rows,
        "equivalence": [],
        "gallery": compare["gallery"],
    }


def write_compare(folder: Path, compare: dict[str, Any]) -> None:
    """Write ``compare`` as ``folder/compare.json``."""
    (folder / "compare.json").write_text(json.dumps(compare), encoding="utf-8")


def row(compare: dict[str, Any], backend: str) -> dict[str, Any]:
    """Return a backend's row."""
    return next(row for row in compare["rows"] if row["backend"] == backend)


def withhold(row: dict[str, Any], status: str, reason: str) -> None:
    """Turn a finished row into one that is missing, failed or, its figures left, differs."""
    row.update(status=status, reason=reason)
    if status != "differs":
        for key in row.keys() - {"backend", "title", "note", "status", "reason"}:
            del row[key]


def _predict(
    truth: NDArray[np.uint8], generator: np.random.Generator, wrong: float
) -> NDArray[np.uint8]:
    """Return the truth, void read as background, its edges moved and some blocks wrong."""
    labels = np.where(truth == 255, 0, truth).astype(np.uint8)
    labels = np.roll(labels, tuple(generator.integers(-2, 3, 2)), (0, 1))
    blocks = generator.random((SIZE[0] // 8, SIZE[1] // 8)) < wrong
    labels[np.kron(blocks, np.ones((8, 8), bool))] = generator.integers(1, 21)
    return labels


def _row(
    backend: str,
    title: str,
    losses: NDArray[np.float64],
    pairs: list[Any],
    predictions: list[NDArray[np.uint8]],
    generator: np.random.Generator,
) -> dict[str, Any]:
    drift = 1e-7 * np.exp(np.arange(len(losses)) / 12)
    own = losses * (1 + generator.normal(0, 1, len(losses)) * drift)
    matrix = sum(
        confusion_matrix(prediction, truth, 21)
        for prediction, (_, truth) in zip(predictions, pairs, strict=True)
    )
    final = {void: scores(matrix, void) for void in ("background", "ignore")}
    epochs = []
    for epoch in range(EPOCHS):
        share = 1 - 0.5 ** (epoch + 1)
        scored = {
            void: {
                **values,
                "pixel_accuracy": values["pixel_accuracy"] * (0.7 + 0.3 * share),
                "mean_iou": values["mean_iou"] * share,
            }
            for void, values in final.items()
        }
        mean = own[epoch * STEPS_PER_EPOCH :][:STEPS_PER_EPOCH].mean()
        epochs.append(
            {"epoch": epoch, "train_loss": mean, "val_loss": mean * 1.1, "scores": scored}
        )
    samples = list(RATES[backend] * generator.normal(1, 0.02, 9))
    return {
        "backend": backend,
        "title": title,
        "status": "ok",
        "reason": None,
        "note": "retired upstream: no fixes" if backend == "mxnet" else None,
        "versions": {backend: "1.2.3", "numpy": "2.4.6"},
        "device": "cpu",
        "threads": 2,
        "precision": "float32",
        "deterministic": False,
        "agreement": float(generator.uniform(0.1, 0.6)),
        "train_loss": epochs[-1]["train_loss"],
        "val_loss": epochs[-1]["val_loss"],
        "scores": epochs[-1]["scores"],
        "examples_per_second": {
            "median": float(np.median(samples)),
            "low": float(np.quantile(samples, 0.2)),
            "high": float(np.quantile(samples, 0.8)),
            "samples": samples,
        },
        "first_step_seconds": 1.5,
        "host_memory_peak_bytes": int(1.4 * 2**30),
        "device_memory_peak_bytes": None,
        "total_seconds": 61.0,
        "steps": [[step, float(loss)] for step, loss in enumerate(own)],
        "epochs": epochs,
    }


def study_run(seed: int, mean_iou: float) -> dict[str, Any]:
    """Return a finished training with this score after its last epoch."""
    truth = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    reading = scores(confusion_matrix(truth, truth, 21), "ignore")
    epochs = []
    for epoch in range(STUDY_EPOCHS):
        value = mean_iou * (epoch + 1) / STUDY_EPOCHS
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
            "runs": [study_run(seed, score) for seed, score in values.items()],
        }
        for backend, values in by_backend.items()
    ]
    return {
        "name": name,
        "changes": {"upsample_init": value},
        "config": Config(STUDIED).to_json(),
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
        "config": Config(STUDIED).to_json(),
        "varied": {"upsample_init": ["bilinear", "xavier"]},
        "variants": variants,
        "effects": effects(variants, "ignore"),
        "gallery": compare["gallery"],
        "gallery_backend": "torch",
    }
    study = json.loads(json.dumps(study))
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return study


def sample_tune(folder: Path) -> Any:
    """Write a search of four trials to ``folder``; return it."""
    states = ("finished", "pruned", "diverged", "finished")
    scores = (0.31, None, 0.0, 0.42)
    trials = [
        {
            "number": number,
            "state": state,
            "values": {"learning_rate": 0.01 * (number + 1), "head": f"fcn{8 * (1 + number % 2)}s"},
            "score": score,
            "epochs": [0.1, score],
            "seconds": 12.5,
            "reason": None if state == "finished" else "it was no good",
        }
        for number, (state, score) in enumerate(zip(states, scores, strict=True))
    ]
    tune = {
        "version": 1,
        "kind": "tune",
        "created": "2026-01-31T12:00:00+00:00",
        "commit": None,
        "hardware": hardware(),
        "backend": "torch",
        "config": Config(STUDIED).to_json(),
        "dataset": {
            "generated": True,
            "rule": "a fifth",
            "train_images": 32,
            "tuning_images": 8,
            "digest": "0" * 64,
        },
        "space": {
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
            "head": {"choices": ["fcn8s", "fcn16s"]},
        },
        "start": {"learning_rate": 0.01, "head": "fcn8s"},
        "sampler": "tpe",
        "pruner": "median",
        "trials": trials,
        "best": 3,
        "recipe": Config(replace(STUDIED, name="best", **trials[3]["values"])).to_json()["recipe"],
        "importance": {"learning_rate": 0.7, "head": 0.3},
        "optuna": "5.0.0",
    }
    (folder / "tune.json").write_text(json.dumps(tune), encoding="utf-8")
    return tune
