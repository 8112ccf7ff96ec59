"""No figure without proof of equal work: a worker's answers against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases.images import KINDS
from benchmarks.cases.inputs import AFTER
from common.parameters.names import is_statistic
from common.reference.distances import length_error, preference, relative_error
from common.reference.tolerances import BOUNDS, Bound, row_limits
from common.reference.verdicts import breaches, reason, row_findings


def root_mean_square(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


SUMMARY: dict[str, Callable[[list[float]], float]] = {
    "update": root_mean_square,
    "statistics": root_mean_square,
    "second_update": lambda values: float(np.median(values)),
    "second_step": max,
}
"""How the errors of the tensors become one."""
Bounds = Mapping[str, Mapping[str, Bound]]
_TRAINING = {
    "loss": BOUNDS["step: loss"],
    "second_loss": BOUNDS["step: second loss"],
    "update": BOUNDS["step: update"],
    "statistics": BOUNDS["step: statistics"],
    "second_update": BOUNDS["step: second update"],
    "second_step": BOUNDS["step: length of the second update"],
}
QUANTITIES: dict[str, Bounds] = {
    "train": _TRAINING,
    "predict": {"logits": BOUNDS["step: logits"]},
    "images": dict.fromkeys(KINDS, BOUNDS["step: label maps"]),
    "upsample": {
        "y": BOUNDS["upsampling: output"],
        "x_gradient": BOUNDS["upsampling: gradient of the input"],
        "weight_gradient": BOUNDS["upsampling: gradient of the weight"],
        "bias_gradient": BOUNDS["upsampling: gradient of the bias"],
    },
    "loss": {"loss": BOUNDS["step: loss"], "gradient": BOUNDS["loss alone: gradient"]},
    "load": dict.fromkeys(("images", "labels"), BOUNDS["step: bytes"]),
    "epoch": _TRAINING,
    "first_step": _TRAINING,
    "scale": _TRAINING,
}
"""Case -> the bounds of its quantities, all of which the gate wants in every row."""


def errors_of(outputs: Any, expected: Any, start: dict[str, NDArray]) -> dict[str, float]:
    """Return quantity -> relative error of a worker's outputs.

    Args:
        outputs: Name -> array, the worker's.
        expected: Name -> array, the reference's.
        start: The parameters before the first step. Of parameters and statistics the moves are
            compared, each tensor's by itself; of the first step the root mean square over tensors
            counts, of the second the median, and of its length the worst of the head.
    """
    if any(name not in outputs for name in expected):
        return {"outputs": float("inf")}
    errors = {
        name: (preference if name in KINDS else relative_error)(outputs[name], array)
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
                moved.setdefault(kind, []).append(relative_error(actual, wanted))
                if update == "second_update" and not name.startswith("backbone."):
                    moved.setdefault("second_step", []).append(length_error(actual, wanted))
        before, expected_before = after, expected_after
    for kind, values in moved.items():
        errors[kind] = SUMMARY[kind](values)
    return errors


def verdict(
    errors: dict[str, float], bounds: Bounds, precision: str, track: str, backend: str
) -> dict[str, Any]:
    """Return the gate's record: every error with its bound, and the reason where one is too large.

    JSON has no infinity: an error that is none is null.
    """
    found = row_findings(errors, row_limits(bounds, precision, track, backend))
    checks = {
        one.quantity: {"error": one.error if np.isfinite(one.error) else None, "bound": one.limit}
        for one in found
    }
    return {"passed": not breaches(found), "reason": reason(found), "checks": checks}
