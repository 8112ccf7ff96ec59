"""The bilinear kernel that a transposed convolution starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bilinear_kernel(in_channels: int, out_channels: int, kernel_size: int) -> NDArray[np.float32]:
    """Return the weight that makes a transposed convolution interpolate bilinearly.

    Tap ``i`` along an axis weighs ``1 - |i - center| / factor`` with ``factor = (k + 1) // 2`` and
    ``center = factor - 1`` for odd ``k``, ``factor - 1/2`` for even ``k``; the kernel is the outer
    product of two such rows. Channel ``c`` feeds channel ``c`` and no other.

    Args:
        in_channels, out_channels: Channels of the map, at least 1.
        kernel_size: Taps a side, ``k`` >= 1. For stride ``s``: ``k = 2 s``, padding ``s / 2``.

    Returns:
        float32 [in_channels, out_channels, k, k], values in [0, 1].

    Source:
        Dive into Deep Learning, "Transposed Convolution: Initialization"; Long, Shelhamer and
        Darrell, "Fully Convolutional Networks for Semantic Segmentation", section 4.1.
    """
    factor = (kernel_size + 1) // 2
    center = factor - 1 if kernel_size % 2 else factor - 0.5
    row = 1 - np.abs(np.arange(kernel_size) - center) / factor
    weight = np.zeros((in_channels, out_channels, kernel_size, kernel_size), np.float32)
    diagonal = np.arange(min(in_channels, out_channels))
    weight[diagonal, diagonal] = np.outer(row, row)
    return weight
