"""State in, state out: one training, evaluation or prediction step in JAX."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import PartitionSpec

from common.config import Config
from common.parameters.names import Parameters, trainable_names, weight_decays
from jax_impl.device import REPLICA, mesh_of, of_group, of_process, sharding_of, to_device
from jax_impl.loss import cross_entropy
from jax_impl.model import create_model
from jax_impl.state import State
from jax_impl.weights import canonical_name, load_momentum, load_parameters

LossAndGradients = tuple[tuple[Array, nnx.State], nnx.State]


def create_optimizer(config: Config) -> optax.GradientTransformation:
    """Return SGD over what ``config`` trains: decay is added to the gradient, then momentum.

    The learning rate comes last, in the step, as in PyTorch.
    """
    recipe, decays = config.recipe, weight_decays(config.recipe)

    def decayed(parameters: nnx.State) -> nnx.State:
        return nnx.map_state(lambda path, _: decays[canonical_name(path)] > 0, parameters)

    decay = optax.add_decayed_weights(recipe.weight_decay, decayed)
    return optax.chain(decay, optax.trace(recipe.momentum)) if recipe.momentum else decay


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model = create_model(config)
    load_parameters(model, parameters)
    dtype = jnp.float64 if config.precision == "float64" else jnp.float32
    network, *states = nnx.split(model, trained(config), ...)
    updated, rest = jax.tree.map(lambda value: value.astype(dtype), states)
    state = State(config, network, updated, rest, create_optimizer(config).init(updated))
    state = state if momentum is None else load_momentum(state, momentum)
    return jax.device_put(state, sharding_of(config, parts=False))


def trained(config: Config) -> nnx.filterlib.Filter:
    """Return NNX's filter for what the optimizer updates."""
    names = set(trainable_names(config.recipe))
    return lambda path, _: canonical_name(path) in names


def forward(state: State, images: Array, training: bool) -> tuple[Array, nnx.State]:
    """Return logits in float32 (float64 in a proof), whatever the network computes in.

    With them comes the next ``rest``: training moves the running statistics.
    """
    model = nnx.merge(state.network, state.parameters, state.rest, copy=True)
    model.train() if training else model.eval()
    logits = model(images)
    _, _, rest = nnx.split(model, trained(state.config), ...)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), rest


def batch_loss(state: State, logits: Array, labels: Array) -> Array:
    """Return the loss of a batch as the recipe defines it."""
    config, recipe = state.config, state.config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def loss_and_gradients(state: State, images: Array, labels: Array) -> LossAndGradients:
    """Return ((the training loss of a batch, the next ``rest``), the gradients)."""

    def loss(parameters: nnx.State) -> tuple[Array, nnx.State]:
        logits, rest = forward(replace(state, parameters=parameters), images, training=True)
        return batch_loss(state, logits, labels), rest

    return jax.value_and_grad(loss, has_aux=True)(state.parameters)


def data_parallel(state: State, images: Array, labels: Array) -> LossAndGradients:
    """Do ``loss_and_gradients`` on each device's part of a batch, and reduce what it gives."""
    reduce = lax.psum if state.config.recipe.loss_reduction == "sum" else lax.pmean

    def compute(state: State, images: Array, labels: Array) -> LossAndGradients:
        (loss, rest), gradients = loss_and_gradients(state, images, labels)
        first = lax.axis_index(REPLICA) == 0
        rest = jax.tree.map(lambda value: lax.psum(jnp.where(first, value, 0), REPLICA), rest)
        return (reduce(loss, REPLICA), rest), reduce(gradients, REPLICA)

    # Each replica's batch norm sees its part alone: under jit without shard_map it would see all.
    whole, part = PartitionSpec(), PartitionSpec(REPLICA)
    return jax.shard_map(
        compute,
        mesh=mesh_of(state.config),
        in_specs=(whole, part, part),
        out_specs=whole,
        check_vma=False,  # The reductions are written here, not derived.
    )(state, images, labels)


# What is not on the device yet would be copied there in every step, unseen.
no_transfers = jax.transfer_guard("disallow")


@no_transfers
@partial(jax.jit, donate_argnames="state")
def _train_step(
    state: State, images: Array, labels: Array, learning_rate: Array
) -> tuple[State, Array]:
    compute = data_parallel if state.config.replicas > 1 else loss_and_gradients
    (loss, rest), gradients = compute(state, images, labels)
    optimizer = create_optimizer(state.config)
    updates, memory = optimizer.update(gradients, state.optimizer, state.parameters)
    updates = optax.tree.scale(-learning_rate, updates)
    parameters = optax.apply_updates(state.parameters, updates)
    return replace(state, parameters=parameters, rest=rest, optimizer=memory), loss


def train_step(
    state: State, images: Array, labels: Array, learning_rate: float
) -> tuple[State, Array]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    config, rate = state.config, to_device(np.asarray(learning_rate), state.config)
    if config.workers == 1:
        return _train_step(state, images, labels, rate)
    state, rate = of_group((state, rate), config, parts=False)
    return of_process(_train_step(state, *of_group((images, labels), config, parts=True), rate))


def classes_of(logits: Array) -> Array:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return logits.argmax(-1).astype(jnp.uint8)


@no_transfers
@jax.jit
def eval_step(state: State, images: Array, labels: Array) -> tuple[Array, Array]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits, _ = forward(state, images, training=False)
    return batch_loss(state, logits, labels), classes_of(logits)


@no_transfers
@jax.jit
def predict_step(state: State, images: Array) -> Array:
    """Return logits [B, H, W, classes]."""
    logits, _ = forward(state, images, training=False)
    return logits


@no_transfers
@jax.jit
def classify_step(state: State, images: Array) -> Array:
    """Return the predicted classes, uint8 [B, H, W]."""
    logits, _ = forward(state, images, training=False)
    return classes_of(logits)
