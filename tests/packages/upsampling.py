"""The transposed convolution of each package, at any stride."""

from types import ModuleType
from typing import Any


def transposed_convolution(
    backend: ModuleType, x: Any, weight: Any, bias: Any, stride: int, upsampling: str
) -> Any:
    """Return what a backend's ``upsampling`` makes of a map, with arrays in its own layout."""
    model: Any = backend.model
    if model.__name__ == "mxnet_impl.model":  # For symbols too, which have no shape to ask.
        how = weight.shape[1], stride, upsampling, False
        return model.transposed_convolution(model.nd, x, weight, bias, *how)
    return model.transposed_convolution(x, weight, bias, stride, upsampling)
