"""A comparison's row, read from a run folder, and the table of all rows on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.records.training_documents import TrainedRow
from benchmarks.workers.scripts import Outcome
from common.backends import BACKENDS, NOTES
from common.run.runs import read_metrics


def median_interval(samples: list[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the median of ``samples`` and the bootstrap's 95 % interval of it.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentile method).
    """
    from scipy.stats import bootstrap

    median = float(np.median(samples))
    if len(set(samples)) < 2:
        return median, median, median
    interval = bootstrap(
        (samples,), np.median, method="percentile", n_resamples=2000, rng=seed
    ).confidence_interval
    return median, float(interval.low), float(interval.high)


def training_row(backend: str, outcome: Outcome, folder: Path) -> TrainedRow:
    """Return a comparison's row of one training, which left ``folder`` if it finished."""
    row = {
        "backend": backend,
        "title": BACKENDS[backend],
        "note": NOTES.get(backend),
        "status": outcome.status,
        "reason": outcome.reason,
        **(row_of_run(folder) if outcome.status == "ok" else {}),
    }
    return cast(TrainedRow, row)


def row_of_run(folder: Path) -> dict[str, Any]:
    """Return the figures of a finished run."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    metrics = read_metrics(folder / "metrics.jsonl")
    rates = [summary["batch_size"] / seconds for seconds in summary["step_seconds"]]
    throughput = None
    if rates:
        median, low, high = median_interval(rates)
        throughput = {"median": median, "low": low, "high": high, "samples": rates}
    final = summary["final"]
    backend = manifest["backend"]
    return {
        "versions": backend["versions"],
        "device": backend["device"],
        "threads": backend["threads"],
        "precision": backend["precision"],
        "deterministic": backend["deterministic"],
        "agreement": None,
        "train_loss": final["train_loss"],
        "val_loss": final["val_loss"],
        "scores": final["scores"],
        "examples_per_second": throughput,
        "first_step_seconds": summary["first_step_seconds"],
        "host_memory_peak_bytes": summary["host_memory_peak_bytes"],
        "device_memory_peak_bytes": summary["device_memory_peak_bytes"],
        "total_seconds": summary["total_seconds"],
        "steps": [[line["step"], line["loss"]] for line in metrics if line["kind"] == "step"],
        "epochs": [
            {key: value for key, value in line.items() if key != "kind"}
            for line in metrics
            if line["kind"] == "epoch"
        ],
    }


def table(result: dict[str, Any]) -> str:
    """Return the comparison as lines of text."""
    void = result["config"]["recipe"]["void"]
    heads = (
        "backend",
        "status",
        "loss",
        "pixel acc.",
        "mean IoU",
        "examples/s",
        "first step",
        "memory",
    )
    lines = [heads]
    reasons = []
    for row in result["rows"]:
        if row["status"] != "ok":
            lines.append((row["backend"], row["status"], *["-"] * (len(heads) - 2)))
            reasons.append(f"{row['backend']}: {row['reason']}")
            continue
        scores, rate = row["scores"][void], row["examples_per_second"]
        lines.append(
            (
                row["backend"],
                row["status"],
                f"{row['train_loss']:.4f}",
                f"{scores['pixel_accuracy']:.4f}",
                f"{scores['mean_iou']:.4f}",
                f"{rate['median']:.3g} [{rate['low']:.3g}, {rate['high']:.3g}]" if rate else "-",
                f"{row['first_step_seconds']:.1f} s",
                f"{row['host_memory_peak_bytes'] / 2**30:.2f} GiB",
            )
        )
    scored = [row["scores"][void] for row in result["rows"] if row["status"] == "ok"]
    if scored:
        lines.append(
            (
                "(background)",
                "",
                "",
                f"{scored[0]['background_pixel_accuracy']:.4f}",
                f"{scored[0]['background_mean_iou']:.4f}",
                "",
                "",
                "",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join(text + reasons)
