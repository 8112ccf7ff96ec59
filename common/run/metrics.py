"""The confusion matrix, and the scores that follow from it."""

import numpy as np
from numpy.typing import NDArray

from common.classes import VOID
from common.documents import Evaluation, Reading, Scores


def empty_confusion(num_classes: int) -> NDArray[np.int64]:
    """Return zero counts [C + 1, C]: a row for each true class and a last one for void pixels."""
    return np.zeros((num_classes + 1, num_classes), np.int64)


def confusion_matrix(predictions: NDArray, labels: NDArray, num_classes: int) -> NDArray[np.int64]:
    """Count pixels by true class (rows; the last is void) and predicted class (columns).

    Args:
        predictions: Classes 0..C-1, any shape.
        labels: Classes 0..C-1 or 255 for void, the same shape.
        num_classes: C.

    Returns:
        int64 [C + 1, C].
    """
    rows = np.where(labels == VOID, num_classes, labels).astype(np.int64)
    cells = rows.ravel() * num_classes + predictions.ravel()
    counts = np.bincount(cells, minlength=(num_classes + 1) * num_classes)
    return counts.reshape(num_classes + 1, num_classes)


def scores(confusion: NDArray[np.int64], void: str) -> Reading:
    """Return the scores of a confusion matrix [C + 1, C].

    Args:
        confusion: As ``confusion_matrix`` counts it.
        void: ``background`` adds the void row to class 0, as the chapter does; ``ignore`` drops it.
    """
    num_classes = confusion.shape[1]
    matrix = confusion[:num_classes].astype(np.float64)
    if void == "background":
        matrix[0] += confusion[num_classes]
    truth, predicted, correct = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    present = truth > 0
    iou = correct[present] / (truth + predicted - correct)[present]
    iou_of = dict(zip(np.flatnonzero(present).tolist(), iou.tolist(), strict=True))

    def share(part: np.float64, whole: np.float64 | int) -> float | None:
        return float(part / whole) if whole else None

    pixels, classes = truth.sum(), len(iou)
    background = share(truth[0], pixels)
    return {
        "pixel_accuracy": share(correct.sum(), pixels),
        "mean_class_accuracy": share((correct[present] / truth[present]).sum(), classes),
        "mean_iou": share(iou.sum(), classes),
        "frequency_weighted_iou": share((truth[present] * iou).sum(), pixels),
        "class_iou": [iou_of.get(index) for index in range(num_classes)],
        "classes_present": classes,
        "background_pixel_accuracy": background,
        "background_mean_iou": None if background is None else background / classes,
        "pixels": int(pixels),
    }


def evaluation_record(confusion: NDArray[np.int64], losses: list[float]) -> Evaluation:
    """Return an evaluation's mean batch loss, its matrix and the scores in both readings of void.

    Args:
        confusion: As ``confusion_matrix`` counts it.
        losses: One a batch; none where whole images are tiled.
    """
    background, ignore = scores(confusion, "background"), scores(confusion, "ignore")
    return {
        "val_loss": sum(losses) / len(losses) if losses else None,
        "scores": {"background": background, "ignore": ignore},
        "confusion": confusion.tolist(),
    }


def in_reading(scores: Scores, void: str) -> Reading:
    """Return the scores in the recipe's reading of the void pixels."""
    return scores["ignore" if void == "ignore" else "background"]
