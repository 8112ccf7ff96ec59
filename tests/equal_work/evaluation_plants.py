"""Single mistakes of an evaluation or a prediction, each planted in what one backend runs.

A plant is a function of (monkeypatch, backend's name, backend's package), as in
``tests.support.plants``.
"""

import importlib
from collections.abc import Callable
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.classes import VOID
from common.data import tiling
from common.data.tiling import predict_tiled
from common.parameters.names import is_statistic
from common.run import loop, metrics

Patch = pytest.MonkeyPatch
NEVER = -1e4
"""A logit whose class is never the answer, and which can be averaged."""


def first_batch_left_out(patch: Patch, name: str, backend: ModuleType) -> None:
    training = importlib.import_module(f"{name}_impl.train")
    right = training.evaluate

    def planted(package: ModuleType, state: Any, data: Any) -> Any:
        batches = islice(data.validation(), 1, None)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(data, "validation", lambda: batches)
            return right(package, state, data)

    patch.setattr(training, "evaluate", planted)


def first_batch_twice(patch: Patch, name: str, backend: ModuleType) -> None:
    training = importlib.import_module(f"{name}_impl.train")
    right = training.evaluate

    def planted(package: ModuleType, state: Any, data: Any) -> Any:
        batches = list(data.validation())
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(data, "validation", lambda: [batches[0], *batches[:-1]])
            return right(package, state, data)

    patch.setattr(training, "evaluate", planted)


def void_as_class_0(patch: Patch, name: str, backend: ModuleType) -> None:
    right = loop.confusion_matrix

    def planted(predictions: NDArray, labels: NDArray, num_classes: int) -> NDArray[np.int64]:
        return right(predictions, np.where(labels == VOID, 0, labels), num_classes)

    patch.setattr(loop, "confusion_matrix", planted)


def void_counted_in_ignore(patch: Patch, name: str, backend: ModuleType) -> None:
    right = metrics.scores
    patch.setattr(metrics, "scores", lambda confusion, void: right(confusion, "background"))


def truth_and_prediction_swapped(patch: Patch, name: str, backend: ModuleType) -> None:
    right = loop.confusion_matrix

    def planted(predictions: NDArray, labels: NDArray, num_classes: int) -> NDArray[np.int64]:
        matrix = right(predictions, labels, num_classes)
        matrix[:-1] = matrix[:-1].T.copy()
        return matrix

    patch.setattr(loop, "confusion_matrix", planted)


def predicted_in_training_mode(patch: Patch, name: str, backend: ModuleType) -> None:
    def planted(package: ModuleType, state: Any, items: Any) -> Any:
        config = state.config

        def logits(images: NDArray[np.uint8]) -> NDArray:
            device = package.to_device(images, config)
            return package.layer_outputs(state, device, training=True)["transpose_conv"]

        def classes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return logits(images).argmax(-1).astype(np.uint8)

        return predict_tiled(items, config.recipe.tile, logits, classes)

    patch.setattr(loop, "predict", planted)


def evaluated_in_training_mode(patch: Patch, name: str, backend: ModuleType) -> None:
    right = backend.eval_step

    def planted(state: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        logits = backend.layer_outputs(state, images, training=True)["transpose_conv"]
        classes = backend.to_device(logits.argmax(-1).astype(np.uint8), state.config)
        return right(state, images, labels)[0], classes

    patch.setattr(backend, "eval_step", planted)


def changed_logits(
    patch: Patch, backend: ModuleType, change: Callable[[Any, Any, Any], NDArray]
) -> None:
    """Plant other logits in whatever a backend predicts or evaluates.

    ``change`` is a function of (the right ``predict_step``, state, images on the device) that
    returns float32 [B, H, W, C] on the host.
    """
    right, eval_step = backend.predict_step, backend.eval_step

    def predict_step(state: Any, images: Any) -> Any:
        logits = np.ascontiguousarray(change(right, state, images))
        return backend.to_device(logits, state.config)

    def classify_step(state: Any, images: Any) -> Any:
        logits = change(right, state, images)
        return backend.to_device(logits.argmax(-1).astype(np.uint8), state.config)

    def planted(state: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        return eval_step(state, images, labels)[0], classify_step(state, images)

    for name, function in (
        *(("predict_step", predict_step), ("classify_step", classify_step)),
        ("eval_step", planted),
    ):
        patch.setattr(backend, name, function)


def last_class_left_out(patch: Patch, name: str, backend: ModuleType) -> None:
    """The class is the largest logit's of all classes but the last, as of a head without void."""

    def change(right: Any, state: Any, images: Any) -> NDArray:
        logits = np.array(backend.to_host(right(state, images)))
        logits[..., -1] = NEVER
        return logits

    changed_logits(patch, backend, change)


def background_left_out(patch: Patch, name: str, backend: ModuleType) -> None:
    """The class is the largest logit's of all classes but the first."""

    def change(right: Any, state: Any, images: Any) -> NDArray:
        logits = np.array(backend.to_host(right(state, images)))
        logits[..., 0] = NEVER
        return logits

    changed_logits(patch, backend, change)


def of_the_mirrored_image(patch: Patch, name: str, backend: ModuleType) -> None:
    """The mirrored image is predicted, and the prediction is mirrored back."""

    def change(right: Any, state: Any, images: Any) -> NDArray:
        mirrored = np.ascontiguousarray(np.asarray(backend.to_host(images))[:, :, ::-1])
        logits = right(state, backend.to_device(mirrored, state.config))
        return np.asarray(backend.to_host(logits))[:, :, ::-1]

    changed_logits(patch, backend, change)


def last_image_left_out(patch: Patch, name: str, backend: ModuleType) -> None:
    """The last one waits in a batch of tiles that is not full."""
    right = loop.predict_tiled
    patch.setattr(loop, "predict_tiled", lambda *arguments: list(right(*arguments))[:-1])


def mirrored_view_not_mirrored_back(patch: Patch, name: str, backend: ModuleType) -> None:
    right = tiling.Views.add
    patch.setattr(tiling.Views, "add", lambda self, logits, flip: right(self, logits, False))


def scaled_view_left_out(patch: Patch, name: str, backend: ModuleType) -> None:
    right = loop.predict_views
    patch.setattr(loop, "predict_views", lambda *arguments: right(*arguments[:3], arguments[3][:2]))


def statistics_moved(patch: Patch, name: str, backend: ModuleType) -> None:
    """What is kept after an evaluation has statistics that its batches have moved."""
    right = backend.parameters_of

    def planted(state: Any) -> dict[str, NDArray]:
        return {key: v * 0.9 if is_statistic(key) else v for key, v in right(state).items()}

    patch.setattr(backend, "parameters_of", planted)


EVALUATION_PLANTS = {
    "first validation batch left out": (
        first_batch_left_out,
        "scored pixels",
        "crops, void background",
    ),
    "first validation batch twice": (first_batch_twice, "scored pixels", "crops, void ignore"),
    "void scored as class 0": (void_as_class_0, "scored pixels", "void ignore"),
    "void counted in ignore": (void_counted_in_ignore, "scored pixels", "void ignore"),
    "truth and prediction swapped": (truth_and_prediction_swapped, "confusion matrix", ""),
    "predicted in training mode": (predicted_in_training_mode, "confusion matrix", "tiles"),
    "evaluated in training mode": (evaluated_in_training_mode, "confusion matrix", "crops"),
    "statistics moved by an evaluation": (statistics_moved, "round trip", "after an evaluation"),
    "mirrored view not mirrored back": (
        mirrored_view_not_mirrored_back,
        "confusion matrix",
        "views",
    ),
    "scaled view left out": (scaled_view_left_out, "confusion matrix", "views"),
    "last class left out": (last_class_left_out, "confusion matrix", ""),
    "background left out": (background_left_out, "confusion matrix", ""),
    "of the mirrored image": (of_the_mirrored_image, "confusion matrix", ""),
    "last image left out": (last_image_left_out, "scored pixels", "tiles, void background"),
}
"""What is planted: where, the quantity that shows it first, and its name."""
IN_COMMON_CODE = {
    "void scored as class 0",
    "void counted in ignore",
    "truth and prediction swapped",
    "mirrored view not mirrored back",
    "scaled view left out",
    "last image left out",
}
"""Planted in what all backends run, so that one shows them; that each runs it, the others show."""
