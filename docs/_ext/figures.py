"""Measured figures for a page of one file: errors against the reference, and times, as stored."""

import json
from pathlib import Path

from symbols import PROJECT

from benchmarks.pages.format import DASH, significant

PARITY = "docs/parity/full-cpu.json"
SPEED = "benchmarks/results/cpu-amd-epyc/all/bench.json"
BACKENDS = {"torch": "PyTorch", "mxnet": "MXNet", "jax": "JAX", "tf": "TensorFlow"}
QUANTITIES = {
    "model": ("layer, evaluation", "layer, training", "logits"),
    "loss": ("loss",),
    "state": ("parameters", "momentum"),
    "step": ("gradient", "parameters", "momentum", "statistics"),
    "weights": ("round trip",),
    "predict": ("labels",),
    "train": ("trace",),
    "probe": ("layer, evaluation", "gradient"),
}
"""File of the mirror -> the quantities of the proof that its code computes."""
CASES = {
    "model": ("upsample",),
    "loss": ("loss",),
    "step": ("train", "predict"),
    "predict": ("predict",),
}
"""File of the mirror -> the cases of the benchmark that time its code."""
WORDS = {
    "layer, evaluation": "layers, in evaluation",
    "layer, training": "layers, in training",
    "gradient": "gradients",
    "parameters": "parameters after an update",
    "momentum": "momentum after an update",
    "statistics": "running statistics",
    "round trip": "parameters there and back",
    "labels": "label maps: pixels that differ",
    "trace": "loss of each step of a training",
}
FILES = (PARITY, SPEED)


def read(path: str) -> dict:
    """Return a stored file of the repository."""
    return json.loads((PROJECT / path).read_text(encoding="utf-8"))


def errors(stem: str) -> list[list[str]]:
    """Return rows: a quantity, and its largest error against the reference in each backend."""
    network = next(b for b in read(PARITY)["backbones"] if b["backbone"] == "resnet18_v1")
    of_backend = {row["backend"]: row["errors"] for row in network["rows"]}
    return [
        [
            WORDS.get(quantity, quantity),
            *(f"{max(of_backend[name][quantity].values()):.1e}" for name in BACKENDS),
        ]
        for quantity in QUANTITIES.get(stem, ())
    ]


def times(stem: str) -> list[list[str]]:
    """Return rows: a case, and the median of its milliseconds in each backend."""
    rows = []
    for case in CASES.get(stem, ()):
        seconds: dict[str, float] = {}
        for row in read(SPEED)["rows"]:
            if row["case"] == case and row["track"] == "default" and row["figures"]:
                seconds.setdefault(row["backend"], row["figures"]["step_seconds"]["median"])
        cells = (significant(1000 * seconds[b]) if b in seconds else DASH for b in BACKENDS)
        rows.append([case, *cells])
    return rows


def table(stem: str) -> str:
    """Return the figures of a file as a table in HTML; nothing where there are none."""
    heads = "".join(f'<th scope="col">{title}</th>' for title in BACKENDS.values())
    parts = []
    for caption, rows in (
        ("Largest error relative to the float64 reference", errors(stem)),
        ("Milliseconds of a call, the median", times(stem)),
    ):
        if rows:
            parts.append(f'<tr><th scope="col">{caption}</th>{heads}</tr>')
        for head, *cells in rows:
            values = "".join(f"<td>{cell}</td>" for cell in cells)
            parts.append(f'<tr><th scope="row">{head}</th>{values}</tr>')
    if not parts:
        return ""
    return f'<div class="figures" tabindex="0"><table class="table">{"".join(parts)}</table></div>'


def sources(stem: str) -> str:
    """Return a sentence with the files that the figures stand in, and what was measured where."""
    parity, speed = read(PARITY), read(SPEED)
    words = []
    if errors(stem):
        height, width = parity["crop"]
        words.append(
            f"Errors: {parity['batch']} images of {height}×{width}, ResNet-18 v1, "
            f"{parity['precision']} (`{PARITY}`)."
        )
    if times(stem):
        machine, (batch,) = speed["hardware"], speed["settings"]["batch_sizes"]
        height, width = speed["settings"]["crop"]
        words.append(
            f"Times: {batch} images of {height}×{width}, {machine['cpus']} CPUs of an "
            f"{machine['processor']} (`{SPEED}`)."
        )
    return " ".join(words)


def paths() -> list[Path]:
    """Return the files that the figures are read from."""
    return [PROJECT / path for path in FILES]
