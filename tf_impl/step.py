"""State in, state out: one training, evaluation or prediction step in TensorFlow."""

import tensorflow as tf

from common.config import Config
from common.parameters.names import Parameters, weight_decays
from tf_impl.device import device_of, devices_of
from tf_impl.group import group_strategy
from tf_impl.loss import cross_entropy
from tf_impl.model import FCN, create_model
from tf_impl.state import SGD, State
from tf_impl.weights import load_momentum, load_parameters, variables_of

LossAndGradients = tuple[tf.Tensor, list[tf.Tensor]]


def create_optimizer(config: Config, model: FCN) -> SGD:
    """Return SGD over what ``config`` trains: decay is added to the gradient, then momentum."""
    decays, variables = weight_decays(config.recipe), variables_of(model)
    # The update is computed once, on the first device, and its result sent to all.
    with tf.device(device_of(config)):
        return SGD({name: variables[name] for name in decays}, decays, config.recipe.momentum)


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    strategy = tf.distribute.get_strategy()
    if config.devices > 1:
        strategy = tf.distribute.MirroredStrategy(devices_of(config))
    if config.workers > 1:
        strategy = group_strategy()
    with strategy.scope(), tf.device(device_of(config)):
        model = create_model(config)
    load_parameters(model, parameters)
    state = State(config, strategy, model, create_optimizer(config, model))
    return state if momentum is None else load_momentum(state, momentum)


def forward(state: State, images: tf.Tensor, training: bool) -> tf.Tensor:
    """Return logits in float32 (float64 in a proof), whatever the network computes in."""
    logits = state.model(images, training=training)
    return tf.cast(logits, tf.float32) if logits.dtype == tf.bfloat16 else logits


def batch_loss(state: State, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the loss of a batch as the recipe defines it."""
    config, recipe = state.config, state.config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def loss_and_gradients(state: State, images: tf.Tensor, labels: tf.Tensor) -> LossAndGradients:
    """Return the training loss of a batch, and the gradients of the optimizer's variables."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        values = [variable.value for variable in state.optimizer.variables.values()]
        tape.watch(values)
        loss = batch_loss(state, forward(state, images, training=True), labels)
    return loss, tape.gradient(loss, values)


def data_parallel(state: State, images: tf.Tensor, labels: tf.Tensor) -> LossAndGradients:
    """Do ``loss_and_gradients`` on each device's part of a batch, and reduce what it gives."""
    strategy, config = state.strategy, state.config

    def shard(batch: tf.Tensor) -> tf.distribute.DistributedValues:
        parts = tf.split(batch, config.devices)
        return strategy.experimental_distribute_values_from_function(
            # A worker has one device, and its own part of the batch already.
            lambda context: parts[context.replica_id_in_sync_group % config.devices]
        )

    results = strategy.run(loss_and_gradients, (state, shard(images), shard(labels)))
    summed = config.recipe.loss_reduction == "sum"
    operation = tf.distribute.ReduceOp.SUM if summed else tf.distribute.ReduceOp.MEAN
    with tf.device(device_of(config)):
        if config.workers == 1:
            return strategy.reduce(operation, results, axis=None)
        # Of a process with one device `reduce` takes a list for one tensor.
        parts = [(part, device_of(config)) for part in tf.nest.flatten(results)]
        reduced = strategy.extended.batch_reduce_to(operation, parts)
        firsts = [strategy.experimental_local_results(part)[0] for part in reduced]
        return tf.nest.pack_sequence_as(results, firsts)


# TensorFlow keeps one graph for each state and shape; the step size is a tensor, not a constant.
@tf.function
def _train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor
) -> tf.Tensor:
    compute = data_parallel if state.config.replicas > 1 else loss_and_gradients
    loss, gradients = compute(state, images, labels)
    state.optimizer.update(gradients, learning_rate)
    return loss


def train_step(
    state: State, images: tf.Tensor, labels: tf.Tensor, learning_rate: float
) -> tuple[State, tf.Tensor]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    return state, _train_step(state, images, labels, tf.constant(learning_rate, tf.float64))


def classes_of(logits: tf.Tensor) -> tf.Tensor:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return tf.cast(tf.argmax(logits, -1, output_type=tf.int32), tf.uint8)


@tf.function
def eval_step(state: State, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = forward(state, images, training=False)
    return batch_loss(state, logits, labels), classes_of(logits)


@tf.function
def predict_step(state: State, images: tf.Tensor) -> tf.Tensor:
    """Return logits [B, H, W, classes]."""
    return forward(state, images, training=False)


@tf.function
def classify_step(state: State, images: tf.Tensor) -> tf.Tensor:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(forward(state, images, training=False))
