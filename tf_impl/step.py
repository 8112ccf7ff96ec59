"""State in, state out: one training, evaluation or prediction step in TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from common.config import Config
from common.parameters.names import Parameters, trainable_names, weight_decays
from tf_impl.device import device_of, devices_of
from tf_impl.loss import cross_entropy
from tf_impl.model import FCN, create_model
from tf_impl.weights import load_momentum, load_parameters, variables_of


@dataclass(eq=False)
class State:
    """A network and its momentum. ``train_step`` changes it in place: use what it returns.

    ``trained`` are the variables that the recipe updates, ``momentum`` their buffers, both by
    canonical name; ``strategy`` keeps a replica of the network on each device.
    """

    config: Config
    strategy: tf.distribute.Strategy
    model: FCN
    trained: dict[str, keras.Variable]
    momentum: dict[str, tf.Variable]


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    strategy = tf.distribute.get_strategy()
    if config.devices > 1:
        strategy = tf.distribute.MirroredStrategy(devices_of(config))
    with strategy.scope(), tf.device(device_of(config)):
        model = create_model(config)
    load_parameters(model, parameters)
    variables = variables_of(model)
    trained = {name: variables[name] for name in trainable_names(config.recipe)}
    buffers = {}
    # The update is computed once, on the first device, and its result sent to all.
    with tf.device(device_of(config)):
        if config.recipe.momentum:
            buffers = {name: tf.Variable(tf.zeros_like(v.value)) for name, v in trained.items()}
    state = State(config, strategy, model, trained, buffers)
    if momentum is not None:
        load_momentum(state, momentum)
    return state


def forward(model: keras.Model, images: tf.Tensor, training: bool) -> tf.Tensor:
    """Return logits in float32 (float64 in a proof), whatever the network computes in."""
    logits = model(images, training=training)
    return tf.cast(logits, tf.float32) if logits.dtype == tf.bfloat16 else logits


def shard(state: State, batch: tf.Tensor) -> tf.Tensor:
    """Return each replica's part of a batch."""
    parts = tf.split(batch, state.config.devices)
    return state.strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )


def batch_loss(config: Config, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    recipe = config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def loss_gradients(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the training loss and the gradients of the trained variables, in their order."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        values = [variable.value for variable in state.trained.values()]
        tape.watch(values)
        loss = batch_loss(state.config, forward(state.model, images, training=True), labels)
    return loss, tape.gradient(loss, values)


def reduced_gradients(
    state: State, images: tf.Tensor, labels: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the whole batch's loss and gradients from every replica's part."""
    loss, gradients = state.strategy.run(loss_gradients, (state, images, labels))
    summed = state.config.recipe.loss_reduction == "sum"
    operation = tf.distribute.ReduceOp.SUM if summed else tf.distribute.ReduceOp.MEAN
    with tf.device(device_of(state.config)):
        return state.strategy.reduce(operation, (loss, gradients), axis=None)


# TensorFlow keeps one graph for each state and shape; the step size is a tensor, not a constant.
@tf.function
def _train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor
) -> tf.Tensor:
    compute = reduced_gradients if state.config.devices > 1 else loss_gradients
    loss, gradients = compute(state, images, labels)
    decays = weight_decays(state.config.recipe)
    for (name, variable), gradient in zip(state.trained.items(), gradients, strict=True):
        update = gradient + decays[name] * variable.value if decays[name] else gradient
        if name in state.momentum:
            buffer = state.momentum[name]
            # In two steps: one sum of three terms becomes an AddN, whose order of summation depends
            # on which term's memory happens to be free, and so differs from run to run.
            buffer.assign(state.config.recipe.momentum * buffer)
            update = buffer.assign_add(update)
        variable.assign(variable.value - tf.cast(learning_rate, variable.dtype) * update)
    return loss


def train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: float
) -> tuple[State, tf.Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    if state.config.devices > 1:
        images, labels = shard(state, images), shard(state, labels)
    return state, _train_step(state, images, labels, tf.constant(learning_rate, tf.float64))


def classes_of(logits: tf.Tensor) -> tf.Tensor:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return tf.cast(tf.argmax(logits, -1, output_type=tf.int32), tf.uint8)


@tf.function
def eval_step(state: State, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = forward(state.model, images, training=False)
    return batch_loss(state.config, logits, labels), classes_of(logits)


@tf.function
def predict_step(state: State, images: tf.Tensor) -> tf.Tensor:
    """Return logits [B, H, W, classes]."""
    return forward(state.model, images, training=False)


@tf.function
def classify_step(state: State, images: tf.Tensor) -> tf.Tensor:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(forward(state.model, images, training=False))
