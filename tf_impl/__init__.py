"""The network and its training in TensorFlow, with Keras layers."""

from common.backends import offer_contract

offer_contract(__name__)
