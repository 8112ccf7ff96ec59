"""What each backend does for speed, by name: each can be turned off, and the result is the same."""

from collections.abc import Sequence

from common.errors import InputError

TRICKS: dict[str, dict[str, str]] = {
    "torch": {
        "compile": "a training step on a GPU by torch.compile with CUDA graphs (off: eager)",
        "channels-last": "the network's tensors have their channels last in memory (off: NCHW)",
    },
    "mxnet": {
        "onednn-relu": "ReLU as oneDNN's activation (off: as an operation of MXNet's own)",
        "loss-last-axis": "log_softmax over the last axis (off: over axis 1)",
    },
    "jax": {
        "eigen-convolutions": "convolutions on a CPU by Eigen (off: on some CPUs by YNNPACK)",
        "pool-selections": "max-pooling as nine selections (off: a window reduction)",
        "loss-comparison": "the label's logit is chosen by a comparison (off: by its index)",
    },
    "tf": {
        "fused-norm": "batch norm by the fused kernel (off: products and sums)",
    },
}
"""Backend -> name -> what it is. How the upsampling is computed is ``Config.upsampling``."""
FORMER = ("loss-rows", "static-alloc", "sparse-loss")
"""Tricks that have no switch any more; checkpoints may still name them."""


def check_tricks(without: Sequence[str], backends: Sequence[str] = tuple(TRICKS)) -> None:
    """Raise InputError unless each name is a trick of one of the backends."""
    known = [name for backend in backends for name in TRICKS[backend]]
    for name in without:
        if name not in known:
            raise InputError(
                f"without {name!r}: no trick of {', '.join(backends)}; "
                f"choose from {', '.join(known)}"
            )
