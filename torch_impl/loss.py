"""Per-pixel cross entropy with a void mask, in PyTorch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from common.classes import VOID


def image_losses(
    logits: Tensor, labels: Tensor, void: str, without: tuple[str, ...] = ()
) -> Tensor:
    """Return each image's mean cross entropy over its pixels, [B].

    With ``void="background"`` void pixels count as class 0; with ``ignore`` the mean is over the
    other pixels, and 0 where there are none. ``without`` names tricks to leave out:
    PyTorch's loss has none.
    """
    labels = labels.long()
    if void == "background":
        labels = torch.where(labels == VOID, 0, labels)
    # A row for each pixel: the channels lie last, so that the softmax of a row is contiguous.
    rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
    losses = F.cross_entropy(rows, labels.flatten(), ignore_index=VOID, reduction="none")
    valid = (labels != VOID).sum((1, 2))
    return losses.view(labels.shape).sum((1, 2)) / valid.clamp(min=1)


def cross_entropy(
    logits: Tensor, labels: Tensor, void: str, reduction: str, without: tuple[str, ...] = ()
) -> Tensor:
    """Return the batch's loss: the ``sum`` or the ``mean`` of its images' losses."""
    losses = image_losses(logits, labels, void, without)
    return losses.sum() if reduction == "sum" else losses.mean()
