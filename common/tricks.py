"""What each backend does for speed, by name: each can be turned off, and the result is the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import InputError
from common.suggestions import choices


@dataclass(frozen=True)
class Trick:
    """What a backend does for speed and can leave out.

    Attributes:
        sentence: What is done, and in brackets what is done without it.
        parts: What it changes of a step: of ``network``, ``upsampling``, ``loss``, ``gradients``.
        devices: Where it has an effect.
        least_steps: A shorter training, on one device, is faster without it.
    """

    sentence: str
    parts: frozenset[str]
    devices: tuple[str, ...] = ("cpu", "gpu")
    least_steps: int = 0


_NETWORK, _LOSS = frozenset({"network"}), frozenset({"loss"})

TRICKS: dict[str, dict[str, Trick]] = {
    "torch": {
        "compile": Trick(
            "a training step on a GPU by torch.compile with CUDA graphs (off: eager)",
            frozenset({"network", "gradients"}),
            ("gpu",),
            least_steps=6500,  # With batch 32 in bfloat16 on an H200: docs/PERFORMANCE.md.
        ),
        "channels-last": Trick("tensors have their channels last in memory (off: NCHW)", _NETWORK),
    },
    "mxnet": {
        "onednn-relu": Trick("ReLU as oneDNN's activation (off: MXNet's own)", _NETWORK),
        "loss-last-axis": Trick("log_softmax over the last axis (off: over axis 1)", _LOSS),
    },
    "jax": {
        "eigen-convolutions": Trick(
            "convolutions on a CPU by Eigen (off: on some CPUs by YNNPACK)", _NETWORK, ("cpu",)
        ),
        "pool-selections": Trick("max-pooling as nine selections (off: a reduction)", _NETWORK),
        "loss-comparison": Trick("the label's logit by a comparison (off: by its index)", _LOSS),
    },
    "tf": {
        "fused-norm": Trick("batch norm by the fused kernel (off: products and sums)", _NETWORK),
    },
}
"""Backend -> name -> trick. How the upsampling is computed is ``Config.upsampling``."""
FORMER = ("loss-rows", "static-alloc", "sparse-loss")
"""Tricks that have no switch any more; checkpoints may still name them."""


def check_tricks(without: Sequence[str], backends: Sequence[str] = tuple(TRICKS)) -> None:
    """Raise InputError unless each name is a trick of one of the backends."""
    known = [name for backend in backends for name in TRICKS[backend]]
    for name in without:
        if name not in known:
            raise InputError(
                f"--without {name!r}: no trick of {', '.join(backends)}; {choices(name, known)}"
            )
