"""Per-pixel cross entropy with a void mask, in JAX."""

import jax
import jax.numpy as jnp
from jax import Array

from common.classes import VOID


def image_losses(logits: Array, labels: Array, void: str, without: tuple[str, ...] = ()) -> Array:
    """Return each image's mean cross entropy over its pixels, [B].

    With ``void="background"`` void pixels count as class 0; with ``ignore`` the mean is over the
    other pixels, and 0 where there are none. ``without`` names tricks to leave out.
    """
    if void == "background":
        labels = jnp.where(labels == VOID, 0, labels)
    if "loss-comparison" in without:
        indices = labels[..., None].astype(jnp.int32)
        chosen = jnp.take_along_axis(logits, indices, -1, mode="clip")[..., 0]
    else:
        # A comparison, fused into the sum: the gradient of indexing would be serial scatters, which
        # are slow on a GPU.
        hot = labels[..., None] == jnp.arange(logits.shape[-1], dtype=labels.dtype)
        chosen = jnp.where(hot, logits, 0).sum(-1)
    losses = jax.nn.logsumexp(logits, -1) - chosen
    valid = labels != VOID
    losses = jnp.where(valid, losses, 0).sum((1, 2))
    return losses / jnp.maximum(valid.sum((1, 2)), 1)


def cross_entropy(
    logits: Array, labels: Array, void: str, reduction: str, without: tuple[str, ...] = ()
) -> Array:
    """Return the batch's loss: the ``sum`` or the ``mean`` of its images' losses."""
    losses = image_losses(logits, labels, void, without)
    return losses.sum() if reduction == "sum" else losses.mean()
