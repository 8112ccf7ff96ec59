"""The network and its training in PyTorch."""

from common.backends import offer_contract

offer_contract(__name__)
