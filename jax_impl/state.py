"""What a training keeps from step to step, in JAX."""

from dataclasses import dataclass, field

import jax
import optax
from flax import nnx

from common.config import Config


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """A network and its optimizer. ``train_step`` consumes it: use what it returns."""

    config: Config = field(metadata={"static": True})
    network: nnx.GraphDef = field(metadata={"static": True})
    parameters: nnx.State
    """What the optimizer updates."""
    rest: nnx.State
    """Running statistics, and parameters that the recipe freezes."""
    optimizer: optax.OptState
