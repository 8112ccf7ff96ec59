"""How far a backend may be from the float64 reference: the one table, each bound with its reason.

An error is the relative one of ``common.reference.distances``. A bound is a few times what was
measured, so that other processors and thread counts pass, and is tight enough that each single
mistake of tests/equal_work/test_planted.py breaks it tenfold. ``common.reference.verdicts`` judges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Bound:
    """The largest error that passes, and why it is this one."""

    limit: float
    reason: str


PRECISIONS = ("float64", "float32", "tf32", "bfloat16")
_TF32 = "bfloat16's bound over 8, for three bits more of mantissa; no such device was at hand"
_FLOAT64 = "float64 rounds at 1e-16"
_READ = "read back in float32, which rounds at 6e-8"


def _bounds(
    limits: tuple[float, float, float, float],
    reason: str,
    bfloat16: str | None = None,
    float64: str = _FLOAT64,
) -> dict[str, Bound]:
    """Return the bounds in float64, float32, tf32 and bfloat16.

    ``reason`` is float32's, and that of all four where bfloat16 has none of its own.
    """
    reasons = [reason] * 4 if bfloat16 is None else [float64, reason, _TF32, bfloat16]
    return dict(zip(PRECISIONS, map(Bound, limits, reasons), strict=True))


def _same(limit: float, reason: str) -> dict[str, Bound]:
    """Return one bound for all precisions."""
    return _bounds((limit, limit, limit, limit), reason)


_PROOF = {
    "layer, evaluation": _bounds(
        (1e-13, 1e-5, 5e-3, 4e-2),
        "2e-6 measured: rounding of 6e-8, gathered over 18 convolutions",
        "1.2e-2 measured: rounding of 4e-3 at every layer",
    ),
    "layer, training": _bounds(
        (1e-12, 2e-4, 2e-2, 1.5e-1),
        "1.1e-4 measured, MXNet, v2 on photographs: the input's own norm is off by 1.7e-5, "
        "its moments being sums of 72,000 values, and the norms behind it multiply that by 6; "
        "JAX has 7e-8 and 4e-6 there",
        "5.2e-2 measured",
    ),
    "logits": _bounds((1e-13, 1e-5, 5e-3, 4e-2), "1.4e-6 measured", "1.4e-2 measured"),
    "logits, training": _bounds(
        (1e-12, 4e-5, 5e-3, 4e-2),
        "1.6e-5 measured, as of the layers in training",
        "1.2e-2 measured",
    ),
    "scored pixels": _same(
        0.0, "counted: an evaluation scores every pixel of its plan, in both readings of void"
    ),
    "loss": _bounds(
        (1e-13, 1e-6, 1e-3, 5e-3),
        "2.5e-7 measured: a mean, in which rounding averages out",
        "9e-4 measured",
    ),
    "gradient": _bounds(
        (1e-11, 2e-4, 1e-1, 8e-1),
        "5e-5 measured: a norm's in front of a norm is what is left of a sum",
        "3.8e-1 measured, of the first convolutions: their gradient is small",
    ),
    "statistics": _bounds(
        (2e-7, 1e-5, 3e-3, 2.5e-2),
        "3.8e-6 measured, of the input's variance, MXNet, v2",
        "7.7e-3 measured",
        _READ,
    ),
    "momentum": _bounds(
        (2e-7, 2e-5, 1.5e-3, 1e-2),
        "3.3e-6 measured, where nothing decays and a gradient is all there is",
        "3.1e-3 measured",
        _READ,
    ),
    "parameters": _bounds(
        (2e-7, 1e-6, 5e-6, 3e-5),
        "8e-8 measured: read back in float32, which rounds at 6e-8",
        "6.9e-6 measured: three steps move a parameter little",
        _READ,
    ),
    "labels": _bounds(
        (1e-12, 1e-4, 5e-2, 2e-1),
        "0 measured: a tie is a preference below the logits' own error",
        "5.2e-2 measured: five of the logits' own errors",
    ),
    "confusion matrix": _same(
        0.0,
        "counted: only a tie may fall to another class, where the two largest logits are closer "
        "than the bound of the labels",
    ),
    "trace": _bounds(
        (1e-11, 1e-5, 1e-3, 1e-2),
        "2.6e-7 measured from the probe's parameters; from trained ones rounding grows, and "
        "the bound with it: ten times one framework's drift from itself with other threads",
        "1.9e-3 measured of one loss; no trace was measured",
    ),
    "round trip": _same(0.0, "copies: nothing may change"),
}

PROOF = tuple(_PROOF)
"""The quantities of a proof, in the order of a step: of single layers, the kinks kept away."""

BOUNDS: Mapping[str, Mapping[str, Bound]] = {
    **_PROOF,
    # Of a training's own record.
    "scores": _same(
        1e-12, "beside those of the training's own confusion matrix: the same arithmetic in float64"
    ),
    "first losses": _bounds(
        (1e-11, 5e-6, 2e-3, 2e-2),
        "the least that a comparison allows them, whatever the drift; 1e-7 measured of the first: "
        "one forward pass, no drift as yet; in bfloat16 9e-4 of one loss",
    ),
    # Whole steps of a benchmark's cases at their real sizes, where some of millions of values lie
    # within rounding of a ReLU's kink and pass in one network what they do not in another.
    "step: loss": _bounds(
        (1e-9, 2e-6, 1e-3, 5e-3),
        "one forward pass, a mean over many pixels: 2e-7 measured, 8e-4 in bfloat16; the wrong "
        "epsilon of 1e-3 gives 4e-2",
    ),
    "step: second loss": _bounds(
        (1e-6, 1e-2, 2e-2, 1e-1),
        "after an update that is itself off by a hundredth, for the kinks of ReLUs, and in "
        "bfloat16 by a quarter: 2e-3 measured, 3e-2 in bfloat16; a step that is left out gives "
        "1.3e-1 to 2.5e-1 at 96x128, 5.7e-1 at 320x480",
    ),
    "step: update": _bounds(
        (5e-3, 1e-1, 2e-1, 5e-1),
        "root mean square over the tensors: 1e-2 measured at 320x480, 3e-2 where the deepest map "
        "is 2x3 and each kink of a ReLU counts; float32 parameters hold an update to 2e-4; a wrong "
        "epsilon gives 1",
    ),
    "step: gradients": _bounds(
        (1e-9, 1e-1, 2e-1, 5e-1),
        "root mean square over the tensors: 1e-14 measured in float64, 6e-3 in float32 at 96x128, "
        "for the kinks of ReLUs, 3.6e-1 in bfloat16; a wrong epsilon or no backward pass gives 1",
    ),
    "step: gradient of the scores' weights": _bounds(
        (1e-4, 8e-4, 7.5e-3, 6e-2),
        "no ReLU's kink lies behind them: 1e-5 to 5e-5 measured at 96x128, float32 parameters "
        "holding a move to 2e-5, and 2e-4 at 320x480, batch 8, in v2; gradients that are rounded "
        "to bfloat16 give 1.6e-3",
        "2.3e-2 measured, of TensorFlow; 1e-2 of PyTorch and JAX",
        "3e-5 measured of moves, which float32 parameters hold to some 2e-5",
    ),
    "step: statistics": _bounds(
        (1e-5, 5e-5, 1e-2, 5e-2),
        "root mean square over the tensors: 2e-5 measured at 320x480, batch 8",
    ),
    "step: second update": _bounds(
        (5e-3, 8e-1, 1.5, 1.5),
        "median over the tensors, the kinks of ReLUs again after a step that moved every value: "
        "2e-1 measured at 320x480; a step left out gives 1, the first step's rate compiled in "
        "0.875",
    ),
    "step: length of the second update": _bounds(
        (5e-3, 5e-2, 1e-1, 3e-1),
        "how far the second update's length along the reference's is from it, the worst of the "
        "head, behind all norms: in bfloat16 the backbone's gradients have lost their direction "
        "after a step (a fifth of them is along the reference's), the head's have not: 3e-2 "
        "measured there, 2.3e-1 in JAX, 3e-3 in float32; a step left out gives 1, the first "
        "step's rate compiled in 0.875",
    ),
    # Of the closing question, after the last turn.
    "closing: a layer": _bounds(
        (5e-2, 5e-1, 9e-1, 9.5e-1),
        "how far a convolution's move along the reference's is from it, the worst of all: a frozen "
        "layer gives 1",
    ),
    "closing: updates": _bounds(
        (2e-2, 2e-2, 5e-2, 5e-2),
        "by how much less, or more, all timed steps moved the convolutions than single steps say: "
        "2e-4 measured of the reference in float64, 2e-3 of a backend at 320x480, batch 8, at most "
        "8e-3 in small batches, 2e-3 in bfloat16 of PyTorch and JAX on a CPU; every tenth update "
        "left out gives 1e-1 at 320x480, and one of nine 4.5e-2",
    ),
    "closing: unseen batches": _same(
        2.5e-1,
        "by how much longer a step on a batch takes that no step has had, at another rate: work, "
        "not data, sets the time; a step that is recognised and left out takes many times as long",
    ),
    "closing: clock": _same(
        5e-2, "by which share a turn lasted longer by the parent's clock than by the worker's"
    ),
    "closing: CPUs": _same(
        1e-1, "by which share a turn took more CPU time than its CPUs have; its loaders' count too"
    ),
    "closing: outside the clock": _same(
        8e-1,
        "what a turn took beside its timed steps and one step to wake up, as a share of the timed "
        "ones: that step may find cold caches, and half of a turn of two steps is one step; 3.6e-1 "
        "measured on a busy machine; a turn that is computed before its timed steps gives far more",
    ),
    "closing: late work": _same(
        2.5e-1,
        "what a turn left, by reads just after steps, later, and of other numbers of steps, as a "
        "share of the steps",
    ),
    "step: logits": _bounds((1e-6, 1e-5, 5e-3, 3e-2), "as of the proof's layers"),
    "step: label maps": _bounds(
        (1e-6, 1e-4, 5e-2, 2e-1), "as of the proof's labels, of float32 logits"
    ),
    "step: bytes": _same(0.0, "read and copied: nothing may change"),
    "upsampling: output": _bounds(
        (1e-6, 2e-6, 1e-3, 1e-2), "one operation; bfloat16 holds a value to 4e-3"
    ),
    "upsampling: gradient of the input": _bounds(
        (1e-6, 1e-5, 1e-3, 1e-2), "sums of 4,096 products"
    ),
    "upsampling: gradient of the weight": _bounds((1e-6, 1e-5, 1e-3, 1e-2), "sums over all pixels"),
    "upsampling: gradient of the bias": _bounds(
        (1e-6, 1e-4, 1e-4, 1e-2),
        "sums over all pixels of what is nearly as often negative: in bfloat16 3e-3 measured of "
        "PyTorch, which rounds the gradient before it sums, 3e-7 of JAX and TensorFlow; with the "
        "bias in bfloat16 JAX has 6e-2",
    ),
    "loss alone: gradient": _bounds(
        (1e-6, 1e-5, 1e-5, 1e-5),
        "the loss is computed in float32 whatever the network's precision",
    ),
}
"""Quantity -> precision -> bound."""

_BIASED = Bound(
    5e-1,
    "the framework moves a running variance by the biased one of n values, 1/n less: 5e-4 measured "
    "at 320x480, batch 8, 3e-2 at 64x96, batch 2; PyTorch does not; MXNet leaves those of the norm "
    "on the input of v2 as they are; they touch no loss, gradient or update of a training",
)

CHAPTER = {backend: {"statistics": _BIASED} for backend in ("mxnet", "jax", "tf")}
"""Backend -> the wider bounds of its row on the track ``chapter``, by the names of a case's
quantities: what the framework's own code defines otherwise than this project does."""

ROUNDING = {"float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-52}
"""The distance from 1 to the next larger number of each precision."""

MARGIN = 10
"""Drift is compared with another drift, and neither is the largest there could be."""

STARTS = 4
"""Trainings that differ by one rounding, of which the furthest is the drift of a comparison."""

BLIND = 0.05
"""A bound of the first losses that drift has raised to more than this shows nothing."""


def bound(quantity: str, precision: str = "float32") -> float:
    """Return the largest error of ``quantity`` that passes."""
    return BOUNDS[quantity][precision].limit


def trace_limits(quantity: str, precision: str, drift: Sequence[float]) -> list[float]:
    """Return the limit of each step's loss: the table's, or more where rounding has grown.

    Training amplifies rounding, so that a fixed bound would be too wide or too narrow.

    Args:
        drift: By step the distance between the losses of two trainings that differ in rounding
            alone. A step is allowed ``MARGIN`` times the largest up to it.
    """
    least = bound(quantity, precision)
    return [max(least, MARGIN * largest) for largest in accumulate(drift, max)]


def row_limits(
    bounds: Mapping[str, Mapping[str, Bound]], precision: str, track: str, backend: str
) -> dict[str, float]:
    """Return the limit of each quantity of a benchmark's row.

    Args:
        bounds: The case's: quantity, as documents name it -> precision -> bound.
    """
    wider = CHAPTER.get(backend, {}) if track == "chapter" else {}
    return {
        quantity: wider.get(quantity, by_precision[precision]).limit
        for quantity, by_precision in bounds.items()
    }
