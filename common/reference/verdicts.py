"""Errors beside their bounds, and the verdict about equal work in one wording.

Three commands ask whether a backend does the reference's work, and all are judged here:
`fcn parity` asks layer by layer (``benchmarks.equal_work.parity``), the gate of `fcn bench` about
the steps that it times (``benchmarks.equal_work.gate``), `fcn compare` about the first losses of
its trainings (``benchmarks.equal_work.drift``).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.reference.tolerances import BOUNDS

Errors = Mapping[str, Mapping[str, float | None]]
"""By quantity and name; None is no finite number, as JSON cannot hold it, and past every bound."""

NOT_EQUAL = "not equal work"
"""Begins every reason why a row is not proved to do equal work."""
NAMED = 3
"""A reason names so many breaches and counts the others."""


@dataclass(frozen=True)
class Finding:
    """One error beside its bound.

    Attributes:
        quantity: As in ``common.reference.tolerances`` or in a case's bounds.
        name: Of the layer, the parameter or the step; empty where the quantity has one error.
        error: The relative error, infinite for what cannot be compared.
        limit: The largest that passes.
    """

    quantity: str
    name: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the error is within its bound; one that is no number is not."""
        return self.error <= self.limit

    @property
    def share(self) -> float:
        """The error as a share of its bound; infinite for what is no number."""
        if self.error == 0:
            return 0.0
        return self.error / self.limit if self.limit and self.error < math.inf else math.inf

    def __str__(self) -> str:
        what = f"{self.quantity}, {self.name}" if self.name else self.quantity
        if not math.isfinite(self.error):
            return f"{what} cannot be compared"
        return f"{what} is off by {self.error:.2g}, allowed {self.limit:.2g}"


def proof_findings(errors: Errors, precision: str) -> list[Finding]:
    """Return every error beside its bound in ``BOUNDS``, in the order of a step."""
    return [
        Finding(quantity, name, math.inf if error is None else error, bounds[precision].limit)
        for quantity, bounds in BOUNDS.items()
        for name, error in errors.get(quantity, {}).items()
    ]


def row_findings(errors: Mapping[str, float | None], limits: Mapping[str, float]) -> list[Finding]:
    """Return the errors of a benchmark's row beside their limits; unknown quantities have none."""
    return [
        Finding(quantity, "", math.inf if error is None else error, limits.get(quantity, 0.0))
        for quantity, error in errors.items()
    ]


def step_findings(
    quantity: str, errors: Iterable[float | None], limits: Iterable[float | None]
) -> list[Finding]:
    """Return the errors of a training's losses beside their limits; a step without one has none."""
    return [
        Finding(quantity, f"step {step}", math.inf if error is None else error, limit)
        for step, (error, limit) in enumerate(zip(errors, limits, strict=False))
        if limit is not None
    ]


def breaches(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings past their bounds, in their order."""
    return [finding for finding in findings if not finding.passed]


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the finding that takes up most of its bound."""
    return max(findings, key=lambda finding: finding.share)


def reason(findings: Iterable[Finding]) -> str | None:
    """Return in one line why the findings show no equal work; None where all are within bounds."""
    broken = breaches(findings)
    if not broken:
        return None
    named = "; ".join(str(finding) for finding in broken[:NAMED])
    more = len(broken) - NAMED
    return f"{NOT_EQUAL}: {named}" + (f"; and {more} more" if more > 0 else "")
