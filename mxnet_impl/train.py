"""The training loop in MXNet: `python -m mxnet_impl.train --data DIR --out RUN`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from common.config import Config
from common.errors import command
from common.machine.threads import restart_with_environment
from common.options import config_from, training_parser
from common.recipes import learning_rate
from common.run.checkpoints import Checkpoint
from common.run.metrics import confusion_matrix, empty_confusion
from common.run.runs import Run
from common.run.training import TrainingData, evaluation_record, report, start_training
from mxnet_impl.device import configure, describe, device_memory_peak, to_device, to_host
from mxnet_impl.predict import predict
from mxnet_impl.step import State, create_state, eval_step, train_step
from mxnet_impl.weights import momentum_of, parameters_of


def train(config: Config, data: TrainingData, run: Run, start: Checkpoint) -> State:
    """Train from ``start`` to the end of the recipe, recording in ``run``."""
    state = create_state(config, start.parameters, start.momentum)
    for epoch in data.epochs(start.step):
        for batch in data.training(epoch, start.step):
            rate = learning_rate(config.recipe, batch.step, data.steps_per_epoch)
            images, labels = to_device(batch.images, config), to_device(batch.labels, config)
            state, loss = train_step(state, images, labels, rate)
            run.step(batch.step, epoch, loss)
            if run.checkpoint_due(batch.step):
                run.checkpoint(parameters_of(state), momentum_of(state), batch.step + 1)
        run.epoch(epoch, evaluate(state, data))
        run.checkpoint(parameters_of(state), momentum_of(state), data.steps_after(epoch))
    return state


def evaluate(state: State, data: TrainingData) -> dict[str, Any]:
    """Score ``state`` on the validation set, on crops or on whole images as the recipe says."""
    config = state.config
    confusion, losses = empty_confusion(), []
    if config.recipe.evaluation == "tiles":
        for prediction, label in predict(state, data.validation_images()):
            confusion += confusion_matrix(prediction, label)
    else:
        for batch in data.validation():
            images, labels = to_device(batch.images, config), to_device(batch.labels, config)
            loss, predictions = eval_step(state, images, labels)
            confusion += confusion_matrix(to_host(predictions), batch.labels)
            losses.append(float(loss))
    return evaluation_record(confusion, losses)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run one training from the command line."""
    args = training_parser("python -m mxnet_impl.train").parse_args(argv)
    restart_with_environment(args.threads, args.device)
    config = config_from(args)
    configure(config)
    with start_training(args, config, describe(config)) as (data, run, start):
        state = train(config, data, run, start)
        predictions = predict(state, data.examples())
        summary = run.finish(parameters_of(state), device_memory_peak(config), predictions)
    return report(run, data, summary, args.json)


if __name__ == "__main__":
    sys.exit(main())
