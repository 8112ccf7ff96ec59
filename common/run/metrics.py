"""The confusion matrix, and the scores that follow from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.voc import VOID
from common.parameters.names import NUM_CLASSES


def empty_confusion() -> NDArray[np.int64]:
    """Return zero counts [22, 21]: a row for each true class and a last one for void pixels."""
    return np.zeros((NUM_CLASSES + 1, NUM_CLASSES), np.int64)


def confusion_matrix(predictions: NDArray, labels: NDArray) -> NDArray[np.int64]:
    """Count pixels by true class (rows; the last is void) and predicted class (columns).

    Args:
        predictions: Classes 0..20, any shape.
        labels: Classes 0..20 or 255 for void, the same shape.

    Returns:
        int64 [22, 21].
    """
    rows = np.where(labels == VOID, NUM_CLASSES, labels).astype(np.int64)
    cells = rows.ravel() * NUM_CLASSES + predictions.ravel()
    counts = np.bincount(cells, minlength=(NUM_CLASSES + 1) * NUM_CLASSES)
    return counts.reshape(NUM_CLASSES + 1, NUM_CLASSES)


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1], after Long et al., "Fully Convolutional Networks", section 5.

    The means are over the classes present in the truth, so that a model and the constant predictor
    beside it are compared over the same classes. In the paper's validation set all are present.

    Attributes:
        pixel_accuracy: Correct pixels over all pixels.
        mean_class_accuracy: Mean over classes of correct pixels over the class's pixels.
        mean_iou: Mean over classes of intersection over union.
        frequency_weighted_iou: The classes' IoU weighted with their share of the pixels.
        class_iou: IoU of each of the 21 classes, None where absent from the truth.
        classes_present: How many classes the truth has.
        background_pixel_accuracy, background_mean_iou: Of a predictor that always says background.
    """

    pixel_accuracy: float
    mean_class_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    class_iou: tuple[float | None, ...]
    classes_present: int
    background_pixel_accuracy: float
    background_mean_iou: float


def scores(confusion: NDArray[np.int64], void: str) -> Scores:
    """Return the scores of a confusion matrix [22, 21].

    Args:
        confusion: As ``confusion_matrix`` counts it; at least one pixel must count.
        void: ``background`` adds the void row to class 0, as the chapter does; ``ignore`` drops it.
    """
    matrix = confusion[:NUM_CLASSES].astype(np.float64)
    if void == "background":
        matrix[0] += confusion[NUM_CLASSES]
    truth, predicted, correct = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    present = truth > 0
    iou = correct[present] / (truth + predicted - correct)[present]
    class_iou: list[float | None] = [None] * NUM_CLASSES
    for index, value in zip(np.flatnonzero(present), iou, strict=True):
        class_iou[index] = float(value)
    background = float(truth[0] / truth.sum())
    return Scores(
        pixel_accuracy=float(correct.sum() / truth.sum()),
        mean_class_accuracy=float((correct[present] / truth[present]).mean()),
        mean_iou=float(iou.mean()),
        frequency_weighted_iou=float((truth[present] * iou).sum() / truth.sum()),
        class_iou=tuple(class_iou),
        classes_present=int(present.sum()),
        background_pixel_accuracy=background,
        background_mean_iou=background / int(present.sum()),
    )
