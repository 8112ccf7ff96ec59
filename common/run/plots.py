"""Pictures of one training: its curves, and rows of image, prediction and truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.data.voc import CLASSES, VOID, index_to_rgb
from common.machine.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN_COLOR, VAL_COLOR, IOU_COLOR = "#0067b0", "#c84c00", "#007a5a"


def draw_curves(metrics: Sequence[dict[str, Any]], path: Path, recipe_name: str, void: str) -> None:
    """Draw the loss by step and the scores by epoch, with the always-background predictor's.

    Args:
        metrics: The lines of a ``metrics.jsonl``, as ``common.run.runs.read_metrics`` returns them.
        path: The PNG, replaced as a whole.
        recipe_name: For the title.
        void: Which reading of the void pixels to draw: ``background`` or ``ignore``.
    """
    from matplotlib.figure import Figure

    steps = [line for line in metrics if line["kind"] == "step"]
    epochs = [line for line in metrics if line["kind"] == "epoch"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    _draw_losses(loss_axes, steps, epochs)
    _draw_scores(score_axes, epochs, void)
    figure.suptitle(recipe_name, parse_math=False)
    _save(figure, path)


def _draw_losses(
    axes: Axes, steps: Sequence[dict[str, Any]], epochs: Sequence[dict[str, Any]]
) -> None:
    axes.plot(
        [line["step"] for line in steps],
        [line["loss"] for line in steps],
        color=TRAIN_COLOR,
        alpha=0.45,
        linewidth=1,
        label="training, each step",
    )
    last = {line["epoch"]: line["step"] for line in steps}
    for key, color, marker, label in (
        ("train_loss", TRAIN_COLOR, "o", "training, mean of the epoch"),
        ("val_loss", VAL_COLOR, "s", "validation, after the epoch"),
    ):
        points = [
            (last[line["epoch"]], line[key])
            for line in epochs
            if line[key] is not None and line["epoch"] in last
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=label)
    axes.set(xlabel="step", ylabel="loss of a batch", title="Loss")
    _finish(axes)


def _draw_scores(axes: Axes, epochs: Sequence[dict[str, Any]], void: str) -> None:
    from matplotlib.ticker import MaxNLocator

    numbers = [line["epoch"] + 1 for line in epochs]
    for key, color, marker, label in (
        ("pixel_accuracy", TRAIN_COLOR, "o", "pixel accuracy"),
        ("mean_iou", IOU_COLOR, "^", "mean IoU"),
    ):
        values = [line["scores"][void][key] for line in epochs]
        constant = [line["scores"][void][f"background_{key}"] for line in epochs]
        axes.plot(numbers, values, color=color, marker=marker, label=label)
        axes.plot(
            numbers,
            constant,
            color=color,
            marker=marker,
            markersize=3,
            linestyle="--",
            linewidth=1,
            label=f"{label}, always background",
        )
    reading = "void counts as background" if void == "background" else "void ignored"
    axes.set(xlabel="epoch", title=f"Validation scores ({reading})", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.grid(color="#d5dae0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")


def draw_examples(
    rows: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], str]],
    path: Path,
) -> None:
    """Draw a row of image, prediction and truth for each example, and name the colours.

    Args:
        rows: At least one (image uint8 [H, W, 3], prediction uint8 [H, W] of classes 0..20,
            truth uint8 [H, W] of classes 0..20 and 255, name).
        path: The PNG, replaced as a whole.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    ratio = max(image.shape[0] / image.shape[1] for image, *_ in rows)
    present = sorted({int(i) for _, *maps, _ in rows for label in maps for i in np.unique(label)})
    legend_height = 0.3 * -(-len(present) // 6) + 0.2
    figure = Figure(figsize=(9, 3 * ratio * len(rows) + 0.3 + legend_height), layout="constrained")
    for line, (image, prediction, truth, name) in zip(
        figure.subplots(len(rows), 3, squeeze=False), rows, strict=True
    ):
        pictures = (image, index_to_rgb(prediction), index_to_rgb(truth))
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize="small", parse_math=False)
    for axes, title in zip(figure.axes, ("image", "prediction", "truth"), strict=False):
        axes.set_title(title, fontsize="medium")
    patches = [
        Patch(facecolor=hex_color(i), edgecolor="black", label=class_name(i)) for i in present
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize="small"
    )
    _save(figure, path)


def class_name(label: int) -> str:
    """Return the name of a class, 0..20, or of void, 255."""
    return "void" if label == VOID else CLASSES[label]


def hex_color(label: int) -> str:
    """Return the colour of a class, 0..20, or of void, 255, as "#rrggbb"."""
    return f"#{index_to_rgb(np.array(label, np.uint8)).tobytes().hex()}"


def _save(figure: Figure, path: Path) -> None:
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110))
