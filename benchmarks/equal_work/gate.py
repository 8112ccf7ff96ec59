"""No figure without proof of equal work: a worker's answers against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.images import KINDS
from benchmarks.cases.inputs import AFTER
from common.parameters.names import is_statistic
from common.reference.inputs import preference
from common.reference.tolerances import CASE_BOUNDS, FRAMEWORKS_OWN


def distance(actual: NDArray, expected: NDArray) -> float:
    """Return ||a - b|| / ||b||; infinity where they cannot be compared."""
    if actual.shape != expected.shape:
        return float("inf")
    difference = float(np.linalg.norm(np.subtract(actual, expected, dtype=np.float64)))
    value = difference / max(float(np.linalg.norm(expected.astype(np.float64))), 1e-30)
    return value if np.isfinite(value) else float("inf")


def missing(actual: NDArray, wanted: NDArray) -> float:
    """Return |1 - <a, b> / <b, b>|: 1 of a step that is left out, r - 1 of one r times as long."""
    value = abs(1 - float(np.vdot(wanted, actual)) / float(np.vdot(wanted, wanted)))
    return value if np.isfinite(value) else float("inf")


def root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


SUMMARY: dict[str, Callable[[list[float]], float]] = {
    "update": root_mean_square,
    "statistics": root_mean_square,
    "second_update": lambda values: float(np.median(values)),
    "second_step": max,
}
"""How the errors of the tensors become one."""
TRAINING = ("loss", "second_loss", *SUMMARY)
QUANTITIES = {
    "train": TRAINING,
    "predict": ("logits",),
    "images": KINDS,
    "upsample": ("y", "x_gradient", "weight_gradient", "bias_gradient"),
    "loss": ("loss", "gradient"),
    "load": ("images", "labels"),
    "epoch": TRAINING,
    "first_step": TRAINING,
    "scale": TRAINING,
}
"""Case -> the quantities that the gate holds to a bound, all of them in every row."""


def errors_of(outputs: Any, expected: Any, start: dict[str, NDArray]) -> dict[str, float]:
    """Return quantity -> relative error of a worker's outputs.

    Args:
        outputs: Name -> array, the worker's.
        expected: Name -> array, the reference's.
        start: The parameters before the first step. Of parameters and statistics the moves are
            compared, each tensor's by itself; of the first step the root mean square over tensors
            counts, of the second the median, and of its length the worst of the head (``missing``).
    """
    if any(name not in outputs for name in expected):
        return {"outputs": float("inf")}
    errors = {
        name: (preference if name in KINDS else distance)(outputs[name], array)
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
                if update == "second_update" and not name.startswith("backbone."):
                    moved.setdefault("second_step", []).append(missing(actual, wanted))
        before, expected_before = after, expected_after
    for kind, values in moved.items():
        errors[kind] = SUMMARY[kind](values)
    return errors


def bound_of(quantity: str, precision: str, track: str, backend: str) -> float:
    """Return the largest error of a quantity that passes; zero of one that is unheard of."""
    own = FRAMEWORKS_OWN.get(backend, {}) if track == "chapter" else {}
    if quantity in own:
        return own[quantity].limit
    return CASE_BOUNDS[quantity][precision].limit if quantity in CASE_BOUNDS else 0.0


def verdict(errors: dict[str, float], precision: str, track: str, backend: str) -> dict[str, Any]:
    """Return the gate's record: every error with its bound, and the reason where one is too large.

    JSON has no infinity: an error that is none is null.
    """
    checks = {}
    for name, error in errors.items():
        checks[name] = {
            "error": error if np.isfinite(error) else None,
            "bound": bound_of(name, precision, track, backend),
        }
    failed = [
        f"{name} is off by {errors[name]:.2g}, allowed {check['bound']:.0e}"
        for name, check in checks.items()
        if not errors[name] <= float(check["bound"] or 0)
    ]
    reason = f"not the reference's work: {', '.join(failed)}" if failed else None
    return {"passed": not failed, "reason": reason, "checks": checks}
