"""The network and its training in JAX, Flax NNX and optax."""

from common.backends import offer_contract

offer_contract(__name__)
