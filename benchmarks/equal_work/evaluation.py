"""The evaluation that a package's own training records, of data that are held to it.

Imports NumPy only: ``proof`` asks in a worker. ``trained`` counts the pixels of whole trainings.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.batches import Batch
from common.parameters.names import Parameters
from common.reference.distances import relative_error
from common.run.checkpoints import Checkpoint

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""An image, or a batch of them, and its labels."""


class HeldData:
    """What ``common.run.training.TrainingData`` is to a training, but without a step to do."""

    steps_per_epoch = 1

    def __init__(self, batches: Sequence[Pair], images: Sequence[Pair]) -> None:
        self.batches, self.images = batches, images

    def epochs(self, first_step: int) -> list[int]:
        """Return the one epoch."""
        return [0]

    def steps_after(self, epoch: int) -> int:
        """Return that no step has been done."""
        return 0

    def training(self, epoch: int, first_step: int) -> list[Batch]:
        """Return no batch."""
        return []

    def validation(self) -> Iterator[Batch]:
        """Yield the batches of crops."""
        for step, (images, labels) in enumerate(self.batches):
            yield Batch(step, np.arange(len(images)), images, labels)

    def validation_images(self) -> Iterator[Pair]:
        """Yield the whole images with their label maps."""
        return iter(self.images)


class HeldRun:
    """What ``common.run.runs.Run`` is to such a training: it keeps what is recorded.

    Attributes:
        evaluation: After the one epoch.
        parameters: Of the checkpoint after that.
    """

    def __init__(self) -> None:
        self.evaluation: Mapping[str, Any] = {}
        self.parameters: Parameters = {}

    def epoch(self, epoch: int, evaluation: Mapping[str, Any]) -> None:
        """Keep the evaluation after an epoch."""
        self.evaluation = evaluation

    def checkpoint(self, parameters: Parameters, momentum: Parameters, step: int) -> None:
        """Keep the parameters."""
        self.parameters = parameters


def evaluated(
    backend: ModuleType,
    config: Config,
    parameters: Parameters,
    batches: Sequence[Pair],
    images: Sequence[Pair],
) -> HeldRun:
    """Return what a package's training records of an evaluation of ``parameters``.

    It is that of ``train`` in the package's ``train.py`` after no step. So all that lies between a
    training and its record is asked about, the loop around the steps too.

    Args:
        batches: Of the crops, images uint8 [B, H, W, 3] and labels uint8 [B, H, W].
        images: Whole ones, uint8 [H, W, 3], with label maps uint8 [H, W].
    """
    run, start = HeldRun(), Checkpoint(parameters, {}, 0, config, "")
    training = importlib.import_module(f"{backend.__name__}.train")
    training.train(config, HeldData(batches, images), run, start)
    return run


def pixel_errors(evaluation: Mapping[str, Any], expected: Iterable[int]) -> dict[str, float]:
    """Return by reading of void the error of the number of pixels that an evaluation scored.

    Args:
        evaluation: An ``Evaluation``; where it states no number, the error is infinite.
        expected: Pixels by true class, those of void last.
    """
    *classes, void = map(int, expected)
    readings = evaluation.get("scores", {})
    return {
        reading: relative_error(readings.get(reading, {}).get("pixels", np.nan), count)
        for reading, count in (("background", sum(classes) + void), ("ignore", sum(classes)))
    }
