"""The figures of the README and the guides, from stored files.

A block that begins with ``<!-- figures NAME -->`` has what ``FIGURES[NAME]`` returns.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.commands.bench.replay import found_again
from benchmarks.pages.format import significant
from common.backends import BACKENDS

ROOT = Path(__file__).parents[2]
PARITY = "docs/parity/full-cpu.json"
PARITY_OF_HEADS = {
    "FCN-16s": "docs/parity/fcn16s-cpu.json",
    "FCN-8s": "docs/parity/fcn8s-cpu.json",
}
FIRST_RUN = "docs/first-run.json"
ACCURACY = "benchmarks/results/cpu-amd-epyc/accuracy/bench.json"
SPEED = "benchmarks/results/cpu-amd-epyc-zen5/tracks/bench.json"
SPEED_ELSEWHERE = (
    "benchmarks/results/cpu-intel-xeon/tracks/bench.json",
    "benchmarks/results/gpu-nvidia-h200/bfloat16/bench.json",
)

REPLAYED = (
    "benchmarks/results/cpu-amd-epyc-zen3/small/bench.json",
    "benchmarks/results/cpu-amd-epyc-zen3/small-replayed/bench.json",
)


def read(path: str) -> Any:
    """Return a stored file of the repository."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def scientific(number: float, digits: int) -> str:
    """Return ``1.3e-5``: the exponent without a leading zero."""
    return f"{number:.{digits}e}".replace("e-0", "e-")


def largest_errors(row: dict[str, Any]) -> float:
    """Return a backend's largest relative error, of everything but the losses of a training."""
    return max(
        error
        for quantity, errors in row["errors"].items()
        if quantity != "trace"
        for error in errors.values()
    )


def markdown(head: str, rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, re.sub(r"[^|]+", " --- ", head), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def summary() -> list[list[str]]:
    """Return a row a backend: scores, examples a second, those of the chapter's code, error."""
    speeds = {key: rate_of(figures) for key, figures in training_steps(SPEED).items()}
    network = next(b for b in read(PARITY)["backbones"] if b["backbone"] == "resnet18_v1")
    errors = {row["backend"]: largest_errors(row) for row in network["rows"]}
    rows = []
    for row in read(ACCURACY)["accuracy"]["rows"]:
        backend = row["backend"]
        scores = [run["scores"]["ignore"] for run in row["runs"]]
        rows.append(
            [
                row["title"],
                f"{mean([s['pixel_accuracy'] for s in scores]):.3f}",
                f"{mean([s['mean_iou'] for s in scores]):.3f}",
                speeds[backend, "default"],
                speeds[backend, "chapter"],
                scientific(errors[backend], 1),
            ]
        )
    return rows


def training_steps(path: str) -> dict[tuple[str, str], Any]:
    """Return (backend, track) -> the figures of the training step that a file measured first."""
    steps: dict[tuple[str, str], Any] = {}
    for row in read(path)["rows"]:
        if row["case"] == "train" and row["figures"]:
            steps.setdefault((row["backend"], row["track"]), row["figures"])
    return steps


def rate_of(figures: Any) -> str:
    """Return examples a second with three digits; a dash where there are none."""
    return significant(figures["examples_per_second"]["median"]) if figures else "–"


def choose() -> list[list[str]]:
    """Return a row a backend: rate, first step and memory here, and its rates elsewhere."""
    elsewhere = [training_steps(path) for path in SPEED_ELSEWHERE]
    return [
        [
            BACKENDS[backend],
            rate_of(figures),
            f"{figures['first_step_seconds']:.1f} s",
            f"{figures['host_memory_peak_bytes'] / 2**30:.1f} GiB",
            *(rate_of(steps.get((backend, track))) for steps in elsewhere),
        ]
        for (backend, track), figures in training_steps(SPEED).items()
        if track == "default"
    ]


def agreement(path: str) -> list[list[str]]:
    """Return a row a backend: its largest relative errors with ResNet-18 v1 and v2."""
    networks = [backbone["rows"] for backbone in read(path)["backbones"]]
    return [
        [
            rows[0]["title"],
            *(" / ".join(column) for column in zip(*map(errors_of, rows), strict=True)),
        ]
        for rows in zip(*networks, strict=True)
    ]


def agreement_of_heads() -> list[list[str]]:
    """Return the rows of each finer head, named by the head and the backend."""
    return [
        [f"{head}, {backend}", *errors]
        for head, path in PARITY_OF_HEADS.items()
        for backend, *errors in agreement(path)
    ]


def errors_of(row: dict[str, Any]) -> list[str]:
    """Return a backend's largest relative errors with one backbone, and its drift in float64."""
    worst = {quantity: max(errors.values()) for quantity, errors in row["errors"].items()}
    shown = ("logits", "layer, training", "gradient", "loss")
    drift = row["drift_float64"]
    return [
        *(scientific(worst[quantity], 1) for quantity in shown),
        scientific(max(drift), 0) if drift else "–",
    ]


def first_run() -> dict[str, str]:
    """Return what the first command takes, in rounded words."""
    measured = read(FIRST_RUN)
    runs = measured["runs"]
    shortest, longest = (of(runs, key=lambda run: run["seconds"]) for of in (min, max))
    last = runs[-1]
    return {
        "minutes": f"{shortest['seconds'] / 60:.0f}",
        "longest": f"{longest['seconds'] / 60:.0f}",
        "tests": f"{measured['tests']['seconds'] / 60:.0f}",
        "others": f"{longest['other_cpu_share']:.0%}",
        "cpus": f"{last['hardware']['cpus']}",
        "processor": last["hardware"]["processor"],
        "memory": f"{last['largest_process_bytes'] / 2**30:.1f} GiB",
        "left": f"{last['left_bytes'] / 2**20:.0f} MiB",
        "download": f"{last['packages_bytes'] / 2**30:.1f} GiB",
        "environment": f"{last['environment_bytes'] / 2**30:.1f} GiB",
    }


FIRST_RUN_EN = """\
The first command downloads {download} of packages, which take {environment} of disk. Proof,
trainings and page then take {minutes} minutes on {cpus} CPUs ({processor}), or {longest} where
other processes have {others} of them, and {memory} of memory in the largest process.
They leave {left} in `runs/`: the page `report.html`, every number in `compare.json`,
and each training with its weights. The tests take {tests} minutes and leave nothing
(`docs/first-run.json`).
"""
FIRST_RUN_JA = (
    "最初のコマンドは {download} のパッケージを取得し、ディスクを {environment} 使います。"
    "証明、学習、ページの作成は {cpus} CPU（{processor}）で {minutes} 分、"
    "他のプロセスが CPU の {others} を使っているときは {longest} 分かかります。"
    "最大のプロセスのメモリは {memory} です。"
    "`runs/` には {left} が残ります。ページ `report.html`、すべての数値を収めた `compare.json`、"
    "各学習とその重みです。テストには {tests} 分かかり、後には何も残りません"
    "（`docs/first-run.json`）。\n"
)
SUMMARY_EN = (
    "| framework | pixel accuracy | mean IoU | examples/s | examples/s, the chapter's code "
    "| largest error |"
)
SUMMARY_JA = (
    "| フレームワーク | ピクセル精度 | 平均 IoU | 画像/秒 | 章のコード（画像/秒） | 最大誤差 |"
)
AGREEMENT = (
    "| v1 / v2 | logits, evaluation | worst layer, training | worst gradient | loss "
    "| 20 steps, float64 |"
)

CHOOSE = (
    "| framework | examples/s, EPYC | first step, EPYC | memory, EPYC | examples/s, Xeon "
    "| examples/s, H200, bfloat16 |"
)

FIGURES: dict[str, Callable[[], str]] = {
    "summary": lambda: markdown(SUMMARY_EN, summary()),
    "summary ja": lambda: markdown(SUMMARY_JA, summary()),
    "first run": lambda: FIRST_RUN_EN.format(**first_run()),
    "first run ja": lambda: FIRST_RUN_JA.format(**first_run()),
    "choose": lambda: markdown(CHOOSE, choose()),
    "agreement": lambda: markdown(AGREEMENT, agreement(PARITY)),
    "agreement of heads": lambda: markdown(
        AGREEMENT.replace("20 steps", "8 steps"), agreement_of_heads()
    ),
    "replay": lambda: f"```text\n{found_again(*map(read, REPLAYED))}\n```\n",
}
"""What a block of that name shows."""
