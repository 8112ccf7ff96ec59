"""The network and its training in MXNet Gluon 1.9.1."""

from common.backends import offer_contract
from mxnet_impl.compat import restore_numpy_names

restore_numpy_names()  # Before a module below imports MXNet.
offer_contract(__name__)
