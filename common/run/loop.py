"""What surrounds a backend's steps: its three commands, evaluation and prediction.

A backend is handed over as its package, of which docs/ADDING_A_BACKEND.md lists the functions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.config import Config
from common.data.batches import plan_epoch
from common.data.tiling import predict_tiled, predict_views
from common.documents import Evaluation
from common.errors import command
from common.machine.group import Together, end_at_once
from common.machine.locks import only_writer
from common.machine.messages import FrameworkMessages
from common.machine.threads import restart_with_environment
from common.options import config_from, predict_parser, training_parser
from common.run.checkpoints import Checkpoint, trained_arrays
from common.run.interrupts import configure
from common.run.metrics import confusion_matrix, empty_confusion, evaluation_record
from common.run.prediction import (
    checked_parameters,
    images_of,
    report_predictions,
    tiles_counted,
    write_predictions,
)
from common.run.results import draw_pictures, report
from common.run.resume import training_options
from common.run.training import TrainingData, choose_recipe, start_training

T = TypeVar("T")


def training_command(backend: ModuleType, train: Callable[..., Any]) -> Callable[..., int]:
    """Return the ``main`` of a backend's training script.

    Args:
        backend: The package.
        train: f(config, data, run, start) -> the state at the end of the training.
    """

    @command
    def main(argv: Sequence[str] | None = None) -> int:
        """Run one training from the command line."""
        name = backend.__name__.removesuffix("_impl")
        args = training_options(training_parser(f"python -m {name}_impl.train"), argv, name)
        restart_with_environment(args.threads, args.device)
        chosen = choose_recipe(args)
        config = config_from(args)
        with (
            FrameworkMessages(args.verbose) as messages,
            start_training(args, config, backend, chosen) as (effective, data, run, start),
        ):
            messages.keep_in(run.folder)
            if config.workers > 1:
                run.together = together(backend, config, data, start)
            with run.interrupts.watched():
                state = train(effective, data, run, start)
            predictions = predict(backend, state, data.examples())
            peak, draw = backend.device_memory_peak(config), partial(draw_pictures, run, data)
            summary = run.finish(backend.parameters_of(state), peak, predictions, draw)
        return report(run, summary, args.json)

    def main_of_one(argv: Sequence[str] | None = None) -> int:
        """Run one training, whose process may be one of a group."""
        if status := main(argv):
            end_at_once(status)
        return status

    return main_of_one


def together(
    backend: ModuleType, config: Config, data: TrainingData, start: Checkpoint
) -> Together:
    """Return the checks of a group's processes, once they have the same start.

    Raises:
        InputError: If they have not.
    """

    def order(epoch: int) -> NDArray[np.int64]:
        plan = plan_epoch(data.train, config.recipe, config.seed, epoch, training=True)
        return plan.indices.reshape(-1, config.recipe.batch_size)

    group = Together(config, backend.sum_over_group, order)
    group.start(start.step, trained_arrays(config.recipe, start.parameters, start.momentum))
    return group


def prediction_command(backend: ModuleType) -> Callable[..., int]:
    """Return the ``main`` of a backend's prediction script."""

    @command
    def main(argv: Sequence[str] | None = None) -> int:
        """Predict the named images and write label maps and overlays."""
        args = predict_parser(f"python -m {backend.__name__}.predict").parse_args(argv)
        restart_with_environment(args.threads, args.device)
        parameters = checked_parameters(args)
        config = config_from(args)
        with FrameworkMessages(args.verbose) as messages:
            configure(backend, config)
            state = backend.create_state(config, parameters)
            with only_writer(args.out), tiles_counted(args, config.recipe) as bar:
                messages.keep_in(args.out)
                predictions = predict(backend, state, images_of(args), bar.update)
                written = write_predictions(args, predictions)
        report_predictions(args, written)
        return 0

    return main


def evaluate(backend: ModuleType, state: Any, data: TrainingData) -> Evaluation:
    """Score ``state`` on the validation set, on crops or on whole images as the recipe says."""
    config = state.config
    num_classes = config.recipe.num_classes
    confusion, losses = empty_confusion(num_classes), []
    if config.recipe.evaluation == "tiles":
        for prediction, label in predict(backend, state, data.validation_images()):
            confusion += confusion_matrix(prediction, label, num_classes)
    else:
        for batch in data.validation():
            images = backend.to_device(batch.images, config)
            labels = backend.to_device(batch.labels, config)
            loss, predictions = backend.eval_step(state, images, labels)
            predicted = backend.to_host(predictions)
            confusion += confusion_matrix(predicted, batch.labels, num_classes)
            losses.append(float(loss))
    return evaluation_record(confusion, losses)


def predict(
    backend: ModuleType,
    state: Any,
    items: Iterable[tuple[NDArray, T]],
    done: Callable[[int], object] | None = None,
) -> Iterator[tuple[NDArray[np.uint8], T]]:
    """Yield each image's label map, uint8 [H, W], with what came beside the image.

    It is of the views of the image that the recipe names.

    Args:
        backend: The package.
        state: A state of that backend.
        items: Images, uint8 [H, W, 3], each with a companion: a path, a number, a label map.
        done: Called with the number of tiles that have been predicted since the last time.
    """

    def on_device(step: Callable[..., Any]) -> Callable[[NDArray], NDArray]:
        return lambda images: backend.to_host(step(state, backend.to_device(images, state.config)))

    recipe, logits = state.config.recipe, on_device(backend.predict_step)
    if recipe.averages_views:
        return predict_views(items, recipe.tile, logits, recipe.views, done)
    return predict_tiled(items, recipe.tile, logits, on_device(backend.classify_step), done)
