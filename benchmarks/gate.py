"""No figure without proof of equal work: a worker's answers against the float64 reference.

The bounds are for whole cases at their real sizes, where some of millions of values lie within
rounding of a ReLU's kink and pass in one network what they do not in another; the proof of single
layers and gradients, with kinks kept away, has narrower ones (tests/test_parity.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_inputs import AFTER
from common.parameters import is_statistic

PRECISIONS = ("float64", "float32", "tf32", "bfloat16")
BOUNDS: dict[str, dict[str, float]] = {
    quantity: dict(zip(PRECISIONS, bounds, strict=True))
    for quantity, bounds in {
        # One forward pass, a mean over many pixels. Measured 5e-8, in bfloat16 8e-4; with the
        # wrong epsilon of 1e-3 it is 4e-2.
        "loss": (1e-9, 2e-6, 1e-3, 5e-3),
        # After an update that lowers the loss by a third: the update is in it.
        "second_loss": (1e-6, 1e-3, 2e-2, 1e-1),
        # Root mean square over the tensors. float32 parameters hold an update to 2e-4; a few kinks
        # make it 3e-2 where the deepest map is 2x3. A wrong epsilon: 1.
        "update": (5e-3, 1e-1, 2e-1, 5e-1),
        "statistics": (1e-5, 5e-5, 1e-2, 5e-2),
        # Median over the tensors: kinks again, after a step that moved every value. The second rate
        # is a quarter of the first: one that was compiled in would be off by 3.
        "second_update": (5e-3, 5e-1, 1.5, 1.5),
        "logits": (1e-6, 1e-5, 5e-3, 3e-2),
        # bfloat16 holds a value to 4e-3; a sum over all pixels may lose more.
        "y": (1e-6, 2e-6, 1e-3, 1e-2),
        "x_gradient": (1e-6, 1e-5, 1e-3, 1e-2),
        "weight_gradient": (1e-6, 1e-5, 1e-3, 1e-2),
        "bias_gradient": (1e-6, 1e-4, 1e-4, 2e-1),
        # The loss is computed in float32 whatever the network's precision.
        "gradient": (1e-6, 1e-5, 1e-5, 1e-5),
        "images": (0.0, 0.0, 0.0, 0.0),
        "labels": (0.0, 0.0, 0.0, 0.0),
    }.items()
}
"""Quantity -> precision -> the largest relative error, ||a - b|| / ||b||."""


def distance(actual: NDArray, expected: NDArray) -> float:
    """Return ||a - b|| / ||b||; infinity where they cannot be compared."""
    if actual.shape != expected.shape:
        return float("inf")
    difference = float(np.linalg.norm(np.subtract(actual, expected, dtype=np.float64)))
    value = difference / max(float(np.linalg.norm(expected.astype(np.float64))), 1e-30)
    return value if np.isfinite(value) else float("inf")


def errors_of(outputs: Any, expected: Any, start: dict[str, NDArray]) -> dict[str, float]:
    """Return quantity -> relative error of a worker's outputs.

    Args:
        outputs: Name -> array, the worker's.
        expected: Name -> array, the reference's.
        start: The parameters before the first step. Of parameters and statistics the moves are
            compared, each tensor's by itself; of the first step the root mean square over tensors
            counts, of the second the median.
    """
    if any(name not in outputs for name in expected):
        return {"outputs": float("inf")}
    errors = {
        name: distance(outputs[name], array)
        for name, array in expected.items()
        if not name.startswith(AFTER)
    }
    moved: dict[str, list[float]] = {}
    before, expected_before = start, start
    for prefix, update in zip(AFTER, ("update", "second_update"), strict=True):
        after = {name: outputs[prefix + name] for name in start if prefix + name in outputs}
        expected_after = {name: expected[prefix + name] for name in after}
        for name, value in expected_after.items():
            wanted = value - expected_before[name].astype(np.float64)
            if wanted.any() and not (is_statistic(name) and update != "update"):
                actual = after[name] - before[name].astype(np.float64)
                kind = "statistics" if is_statistic(name) else update
                moved.setdefault(kind, []).append(distance(actual, wanted))
        before, expected_before = after, expected_after
    for kind, values in moved.items():
        errors[kind] = float(
            np.median(values) if kind == "second_update" else np.sqrt(np.mean(np.square(values)))
        )
    return errors


FRAMEWORKS_OWN = {"statistics": 0.5}
"""Bounds of tracks other than ``default``: running variances there are each framework's own, in JAX
and MXNet biased; they touch no loss, gradient or update of a training."""


def verdict(errors: dict[str, float], precision: str, track: str) -> dict[str, Any]:
    """Return the gate's record: every error with its bound, and the reason where one is too large.

    JSON has no infinity: an error that is none is null.
    """
    own = {} if track == "default" else FRAMEWORKS_OWN
    checks = {
        name: {
            "error": error if np.isfinite(error) else None,
            "bound": own.get(name, BOUNDS.get(name, {}).get(precision, 0.0)),
        }
        for name, error in errors.items()
    }
    failed = [
        f"{name} is off by {errors[name]:.2g}, allowed {check['bound']:.0e}"
        for name, check in checks.items()
        if not errors[name] <= float(check["bound"] or 0)
    ]
    reason = f"not the reference's work: {', '.join(failed)}" if failed else None
    return {"passed": not failed, "reason": reason, "checks": checks}
