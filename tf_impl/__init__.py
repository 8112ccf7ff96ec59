"""The network and its training in TensorFlow, with Keras layers."""

from typing import Any

from common.backends import from_contract


def __getattr__(name: str) -> Any:
    return from_contract(__name__, name)
