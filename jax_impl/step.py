"""State in, state out: one training, evaluation or prediction step in JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax

from common.config import Config
from common.parameters.names import Parameters, trainable_names, weight_decays
from common.recipes import Recipe
from jax_impl.device import REPLICA, sharding_of, to_device
from jax_impl.loss import cross_entropy
from jax_impl.model import FCN, create_model
from jax_impl.weights import canonical_name, load_momentum, load_parameters


@jax.tree_util.register_dataclass
@dataclass
class State:
    """A network and its optimizer's memory. ``train_step`` consumes it: use what it returns."""

    config: Config = field(metadata={"static": True})
    network: nnx.GraphDef = field(metadata={"static": True})
    parameters: nnx.State
    """What the optimizer updates."""
    rest: nnx.State
    """Running statistics, and parameters that the recipe freezes."""
    optimizer: optax.OptState


def create_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Return SGD before the learning rate: decay is added to the gradient, then momentum."""
    decays = weight_decays(recipe)

    def decayed(parameters: nnx.State) -> nnx.State:
        return nnx.map_state(lambda path, _: decays[canonical_name(path)] > 0, parameters)

    decay = optax.add_decayed_weights(recipe.weight_decay, decayed)
    return optax.chain(decay, optax.trace(recipe.momentum)) if recipe.momentum else decay


def trained(recipe: Recipe) -> nnx.filterlib.Filter:
    """Return NNX's filter for what the optimizer updates."""
    names = set(trainable_names(recipe))
    return lambda path, _: canonical_name(path) in names


def create_state(
    config: Config, parameters: Parameters, momentum: Parameters | None = None
) -> State:
    """Return a state that holds copies of ``parameters`` and, when resuming, of ``momentum``."""
    model = create_model(config)
    load_parameters(model, parameters)
    dtype = jnp.float64 if config.precision == "float64" else jnp.float32
    network, *states = nnx.split(model, trained(config.recipe), ...)
    updated, rest = jax.tree.map(lambda value: value.astype(dtype), states)
    state = State(config, network, updated, rest, create_optimizer(config.recipe).init(updated))
    if momentum is not None:
        load_momentum(state, momentum)
    return jax.device_put(state, sharding_of(config, parts=False))


def forward(model: FCN, images: Array) -> Array:
    """Return logits in float32 (float64 in a proof), whatever the network computes in."""
    logits = model(images)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def batch_loss(config: Config, logits: Array, labels: Array) -> Array:
    recipe = config.recipe
    return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, config.without)


def loss_gradients(
    state: State, images: Array, labels: Array
) -> tuple[tuple[Array, nnx.State], nnx.State]:
    """Return ((training loss, ``rest`` with new statistics), gradients) of a batch."""

    def loss(
        parameters: nnx.State, rest: nnx.State, images: Array, labels: Array
    ) -> tuple[Array, nnx.State]:
        model = nnx.merge(state.network, parameters, rest, copy=True)
        model.train()
        value = batch_loss(state.config, forward(model, images), labels)
        _, _, rest = nnx.split(model, trained(state.config.recipe), ...)
        return value, rest

    compute = jax.value_and_grad(loss, has_aux=True)
    if state.config.devices > 1:
        compute = data_parallel(compute, state.config)
    return compute(state.parameters, state.rest, images, labels)


def data_parallel(compute: Callable, config: Config) -> Callable:
    """Let each device ``compute`` on its part of the batch, and reduce what they return."""
    reduce = lax.psum if config.recipe.loss_reduction == "sum" else lax.pmean

    def compute_part(
        parameters: nnx.State, rest: nnx.State, images: Array, labels: Array
    ) -> tuple[tuple[Array, nnx.State], nnx.State]:
        (loss, rest), gradients = compute(parameters, rest, images, labels)
        first = lax.axis_index(REPLICA) == 0
        rest = jax.tree.map(lambda value: lax.psum(jnp.where(first, value, 0), REPLICA), rest)
        return (reduce(loss, REPLICA), rest), reduce(gradients, REPLICA)

    # Each replica's batch norm sees its part alone: under jit without shard_map it would see all.
    whole, part = sharding_of(config, parts=False), sharding_of(config, parts=True)
    return jax.shard_map(
        compute_part,
        mesh=whole.mesh,
        in_specs=(whole.spec, whole.spec, part.spec, part.spec),
        out_specs=whole.spec,
        check_vma=False,  # The reductions are written here, not derived.
    )


@partial(jax.jit, donate_argnames="state")
def _train_step(
    state: State, images: Array, labels: Array, learning_rate: Array
) -> tuple[State, Array]:
    (loss, rest), gradients = loss_gradients(state, images, labels)
    optimizer = create_optimizer(state.config.recipe)
    updates, memory = optimizer.update(gradients, state.optimizer, state.parameters)
    updates = optax.tree.scale(-learning_rate, updates)
    parameters = optax.apply_updates(state.parameters, updates)
    return State(state.config, state.network, parameters, rest, memory), loss


def train_step(
    state: State, images: Array, labels: Array, learning_rate: float
) -> tuple[State, Array]:
    """Forward, loss, backward and update; returns the next state and the batch's loss."""
    rate = to_device(np.asarray(learning_rate), state.config)
    return _train_step(state, images, labels, rate)


def classes_of(logits: Array) -> Array:
    """Return the first of each pixel's largest logits [B, H, W, classes] as uint8 [B, H, W]."""
    return logits.argmax(-1).astype(jnp.uint8)


@jax.jit
def eval_step(state: State, images: Array, labels: Array) -> tuple[Array, Array]:
    """Return the batch's loss and the predicted classes, uint8 [B, H, W]."""
    logits = predict_step(state, images)
    return batch_loss(state.config, logits, labels), classes_of(logits)


@jax.jit
def predict_step(state: State, images: Array) -> Array:
    """Return logits [B, H, W, classes]."""
    model = nnx.merge(state.network, state.parameters, state.rest)
    model.eval()
    return forward(model, images)


@jax.jit
def classify_step(state: State, images: Array) -> Array:
    """Return the predicted classes, uint8 [B, H, W]."""
    return classes_of(predict_step(state, images))
