"""The transposed convolution of each package, at any stride."""

from types import ModuleType
from typing import Any


def transposed_convolution(
    backend: ModuleType, x: Any, weight: Any, bias: Any, stride: int, upsampling: str
) -> Any:
    """Return what a backend's ``upsampling`` makes of a map, with arrays in its own layout."""
    model: Any = backend.model
    if not hasattr(model, "transposed_convolution"):  # MXNet has a block, for symbols too.
        block = model.Upsample(*weight.shape[:2], stride, upsampling)
        return block.hybrid_forward(model.nd, x, weight, bias)
    return model.transposed_convolution(x, weight, bias, stride, upsampling)
