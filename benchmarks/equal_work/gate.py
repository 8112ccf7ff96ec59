"""The gate of `fcn bench`: no figure without proof of equal work."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.cases.case import Arrays, Case
from benchmarks.records.documents import Check, Gate
from common.reference.verdicts import breaches, reason, row_findings


def judge(
    case: Case, answers: Arrays, expected: Arrays, inputs: Arrays, limits: Mapping[str, float]
) -> Gate:
    """Return the record of a worker's answers beside the reference's.

    JSON has no infinity: an error that is none is null.

    Args:
        case: That the answers are of.
        answers, expected: Name -> array; one that only the reference has is an infinite error.
        inputs: Of the case.
        limits: Quantity -> the largest error that passes.
    """
    absent = expected.keys() - answers.keys()
    infinite = dict.fromkeys(sorted(absent), float("inf"))
    found = row_findings(infinite or case.errors(answers, expected, inputs), limits)
    checks: dict[str, Check] = {
        one.quantity: {"error": one.error if np.isfinite(one.error) else None, "bound": one.limit}
        for one in found
    }
    return {"passed": not breaches(found), "reason": reason(found), "checks": checks}
