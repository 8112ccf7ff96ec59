"""The gate of `fcn bench`: no figure without proof of equal work.

`fcn parity` asks layer by layer, the agreement of `fcn compare` about losses; all are judged alike:
``common.reference.verdicts``.
"""

from collections.abc import Mapping

from benchmarks.cases.case import Case
from benchmarks.cases.inputs import Arrays
from benchmarks.records.documents import Check, Gate
from common.reference.distances import finite
from common.reference.verdicts import breaches, reason, row_findings


def judge(
    case: Case, answers: Arrays, expected: Arrays, inputs: Arrays, limits: Mapping[str, float]
) -> Gate:
    """Return the record of a worker's answers beside the reference's; an infinite error is null.

    Args:
        case: The case of the answers.
        answers, expected: Name -> array; one that only the reference has is an infinite error.
        inputs: Of the case.
        limits: Quantity -> the largest error that passes.
    """
    absent = dict.fromkeys(sorted(expected.keys() - answers.keys()), float("inf"))
    return judged(absent or case.errors(answers, expected, inputs), limits)


def judged(errors: Mapping[str, float | None], limits: Mapping[str, float]) -> Gate:
    """Return the record of errors beside their limits; an infinite error is null."""
    findings = row_findings(errors, limits)
    checks: dict[str, Check] = {
        finding.quantity: {"error": finite(finding.error), "bound": finding.limit}
        for finding in findings
    }
    return {"passed": not breaches(findings), "reason": reason(findings), "checks": checks}
