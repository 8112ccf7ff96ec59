"""Per-pixel cross entropy with a void mask, in TensorFlow."""

import tensorflow as tf

from common.classes import VOID


def image_losses(
    logits: tf.Tensor, labels: tf.Tensor, void: str, without: tuple[str, ...] = ()
) -> tf.Tensor:
    """Return each image's mean cross entropy over its pixels, [B].

    With ``void="background"`` void pixels count as class 0; with ``ignore`` the mean is over the
    other pixels, and 0 where there are none. ``without`` names tricks to leave out:
    TensorFlow's loss has none.
    """
    is_void = labels == VOID
    # The kernel takes no label beyond the classes; the mask leaves these pixels out again.
    labels = tf.where(is_void, tf.zeros_like(labels), labels)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    valid = tf.ones_like(losses)
    if void == "ignore":
        valid = tf.cast(~is_void, losses.dtype)
    total = tf.reduce_sum(losses * valid, (1, 2))
    return total / tf.maximum(tf.reduce_sum(valid, (1, 2)), 1)


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, void: str, reduction: str, without: tuple[str, ...] = ()
) -> tf.Tensor:
    """Return the batch's loss: the ``sum`` or the ``mean`` of its images' losses."""
    losses = image_losses(logits, labels, void, without)
    return tf.reduce_sum(losses) if reduction == "sum" else tf.reduce_mean(losses)
