"""Pictures of one training: its curves, and rows of image, prediction and truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from common.classes import Classes
from common.documents import EpochLine, StepLine
from common.machine.files import write_file
from common.run.metrics import in_reading

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

TRAIN_COLOR, VAL_COLOR, IOU_COLOR = "#0067b0", "#c84c00", "#007a5a"
LOSSES: tuple[tuple[Literal["train_loss", "val_loss"], str, str, str], ...] = (
    ("train_loss", TRAIN_COLOR, "o-", "training, mean of the epoch"),
    ("val_loss", VAL_COLOR, "s-", "validation, after the epoch"),
)
Score = Literal["pixel_accuracy", "background_pixel_accuracy", "mean_iou", "background_mean_iou"]
SCORES: tuple[tuple[Score, str, str, str], ...] = (
    ("pixel_accuracy", TRAIN_COLOR, "o-", "pixel accuracy"),
    ("background_pixel_accuracy", TRAIN_COLOR, "o--", "pixel accuracy, always background"),
    ("mean_iou", IOU_COLOR, "^-", "mean IoU"),
    ("background_mean_iou", IOU_COLOR, "^--", "mean IoU, always background"),
)
"""What a line shows, its colour, its style and its name."""


def draw_curves(metrics: Sequence[StepLine | EpochLine], path: Path, title: str, void: str) -> None:
    """Draw the loss by step and the scores by epoch, with the always-background predictor's.

    Args:
        metrics: The lines of a ``metrics.jsonl``, as ``common.run.runs.read_metrics`` returns them.
        path: The PNG, replaced as a whole.
        title: Of the picture: the recipe and the backend.
        void: Which reading of the void pixels to draw: ``background`` or ``ignore``.
    """
    from matplotlib.figure import Figure

    steps = [line for line in metrics if line["kind"] == "step"]
    last = {line["epoch"]: line["step"] for line in steps}
    epochs = [line for line in metrics if line["kind"] == "epoch"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    x, y = [line["step"] for line in steps], [line["loss"] for line in steps]
    loss_axes.plot(x, y, color=TRAIN_COLOR, alpha=0.45, linewidth=1, label="training, each step")
    for loss, color, style, label in LOSSES:
        by_step = {last[line["epoch"]]: line[loss] for line in epochs if line["epoch"] in last}
        points = [(step, value) for step, value in by_step.items() if value is not None]
        if points:
            loss_axes.plot(*zip(*points, strict=True), style, color=color, label=label)
    loss_axes.set(xlabel="step", ylabel="loss of a batch", title="Loss")
    numbers = [line["epoch"] + 1 for line in epochs]
    readings = [in_reading(line["scores"], void) for line in epochs]
    for score, color, style, label in SCORES:
        size, width = (3, 1) if style.endswith("--") else (6, 1.5)
        values = [reading[score] for reading in readings]
        score_axes.plot(
            numbers, values, style, color=color, markersize=size, linewidth=width, label=label
        )
    words = "void counts as background" if void == "background" else "void ignored"
    score_axes.set(xlabel="epoch", title=f"Validation scores ({words})", ylim=(0, 1))
    for axes in figure.axes:
        axes.xaxis.set_major_locator(whole_numbers())
        axes.grid(color="#d5dae0", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title, parse_math=False)
    _save(figure, path)


def draw_examples(
    rows: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], str]],
    path: Path,
    classes: Classes,
) -> None:
    """Draw a row of image, prediction and truth for each example, and name the colours.

    Args:
        rows: At least one (image uint8 [H, W, 3], prediction uint8 [H, W] of classes,
            truth uint8 [H, W] of classes and 255, name).
        path: The PNG, replaced as a whole.
        classes: Their names and colours.
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
        pictures = (image, classes.to_rgb(prediction), classes.to_rgb(truth))
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize="small", parse_math=False)
    for axes, title in zip(figure.axes, ("image", "prediction", "truth"), strict=False):
        axes.set_title(title, fontsize="medium")
    names = [classes.name_of(label) for label in present]
    patches = [Patch(facecolor=classes.hex_color(i), edgecolor="black") for i in present]
    legend = figure.legend(
        patches,
        # Matplotlib leaves out a label that begins with _, and reads formulas between $.
        [f"-{name}" for name in names],
        loc="outside lower center",
        ncols=6,
        frameon=False,
        fontsize="small",
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
    _save(figure, path)


def whole_numbers() -> MaxNLocator:
    """Return what places an axis's ticks at whole numbers: of steps, epochs or rounds.

    Without ``min_n_ticks`` an axis with room for one of them has fractions all the same.
    """
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)


def _save(figure: Figure, path: Path) -> None:
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110))
