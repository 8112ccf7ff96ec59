"""The network and its training in MXNet Gluon 1.9.1."""

from typing import Any

from common.backends import from_contract
from mxnet_impl.compat import restore_numpy_names

restore_numpy_names()  # Before a module below imports MXNet.


def __getattr__(name: str) -> Any:
    return from_contract(__name__, name)
