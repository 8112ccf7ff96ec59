"""Per-pixel cross entropy with a void mask, in MXNet."""

from types import ModuleType

from mxnet.gluon import HybridBlock
from mxnet.ndarray import NDArray
from mxnet.symbol import Symbol

from common.classes import VOID
from common.config import Config


def image_losses(
    logits: NDArray | Symbol, labels: NDArray | Symbol, void: str, without: tuple[str, ...] = ()
) -> NDArray | Symbol:
    """Return each image's mean cross entropy over its pixels, [B].

    With ``void="background"`` void pixels count as class 0; with ``ignore`` the mean is over the
    other pixels, and 0 where there are none. ``without`` names tricks to leave out.
    """
    labels = labels.astype("float32")
    known = labels != VOID
    # MXNet's softmax uses all threads of a CPU over the last axis, and one over any other.
    axis = -1
    if "loss-last-axis" in without:
        logits, axis = logits.transpose((0, 3, 1, 2)), 1
    losses = -logits.log_softmax(axis=axis).pick(labels * known, axis=axis)
    if void == "background":
        return losses.mean(axis=(1, 2))
    count = known.sum(axis=(1, 2))
    return (losses * known).sum(axis=(1, 2)) / (count + (count == 0))


def cross_entropy(
    logits: NDArray | Symbol,
    labels: NDArray | Symbol,
    void: str,
    reduction: str,
    without: tuple[str, ...] = (),
) -> NDArray | Symbol:
    """Return the batch's loss: the ``sum`` or the ``mean`` of its images' losses."""
    losses = image_losses(logits, labels, void, without)
    return losses.sum() if reduction == "sum" else losses.mean()


class Loss(HybridBlock):
    """The recipe's loss as a block, which Gluon compiles."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.without = config, config.without
        if config.recipe.num_classes <= 2:
            # oneDNN's softmax over the last axis is off by 1e-6: of so few classes' loss too much.
            self.without = (*config.without, "loss-last-axis")

    def hybrid_forward(
        self, F: ModuleType, logits: NDArray | Symbol, labels: NDArray | Symbol
    ) -> NDArray | Symbol:
        recipe = self.config.recipe
        return cross_entropy(logits, labels, recipe.void, recipe.loss_reduction, self.without)


def scalar(loss: NDArray) -> NDArray:
    """Return ``loss`` as MXNet's other kind of array, which ``float`` takes, without waiting."""
    return loss.as_np_ndarray()
