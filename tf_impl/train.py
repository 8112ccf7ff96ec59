"""The training loop in TensorFlow: `python -m tf_impl.train --data DIR --out RUN`."""

import sys
from typing import Any

import tf_impl
from common.config import Config, learning_rate
from common.run.checkpoints import Checkpoint
from common.run.loop import evaluate, training_command
from common.run.runs import Run
from common.run.training import TrainingData


def train(config: Config, data: TrainingData, run: Run, start: Checkpoint) -> Any:
    """Train from ``start`` to the end of the recipe, recording in ``run``."""
    state = tf_impl.create_state(config, start.parameters, start.momentum)
    for epoch in data.epochs(start.step):
        for batch in data.training(epoch, start.step):
            rate = learning_rate(config.recipe, batch.step, data.steps_per_epoch)
            images = tf_impl.to_device(batch.images, config)
            labels = tf_impl.to_device(batch.labels, config)
            state, loss = tf_impl.train_step(state, images, labels, rate)
            run.step(batch, epoch, loss)
            if run.checkpoint_due(batch.step):
                run.checkpoint(
                    tf_impl.parameters_of(state), tf_impl.momentum_of(state), batch.step + 1
                )
        run.epoch(epoch, evaluate(tf_impl, state, data))
        run.checkpoint(
            tf_impl.parameters_of(state), tf_impl.momentum_of(state), data.steps_after(epoch)
        )
    return state


main = training_command(tf_impl, train)

if __name__ == "__main__":
    sys.exit(main())
