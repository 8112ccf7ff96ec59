"""The self-test: faults are planted in a backend, and the harness has to find each of them."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records.documents import Row
from benchmarks.records.figures import disturbance, kept_seconds
from benchmarks.records.results import Results, new_document, row_name
from benchmarks.records.statistics import judge, side_by_side
from benchmarks.timing.group.processes import run_group
from benchmarks.timing.plan import config_of, planned_rows
from benchmarks.timing.plants import PLANTS
from benchmarks.timing.settings import Settings
from common.reference.verdicts import NOT_EQUAL

SELFTEST_CASE = "train"
PLAIN, AGAIN = "plain", "again"
EXPECTED = {
    AGAIN: "nothing: no difference",
    "slower": "5 % slower: shown, as 3 to 8 %",
    "unsynchronised": "no synchronisation: invalid",
    "epsilon": "another epsilon: invalid",
}
"""Variant -> what is planted in it, and what the harness has to report."""
REASONS = {"unsynchronised": "not synchronised", "epsilon": NOT_EQUAL}
"""Variant that has to be invalid -> words of the reason."""
SLOWDOWN_SHOWN = (1.03, 1.08)
"""The range in which the ratio of the slower variant has to lie."""


@dataclass(frozen=True)
class Outcome:
    """What was planted and expected, and what was observed.

    Attributes:
        passed: Whether that is as expected; None where the machine was too disturbed to judge it.
    """

    expected: str
    observed: str
    passed: bool | None


def measure(folder: Path, settings: Settings) -> dict[str, Row]:
    """Return a row for each variant of the backend, all measured side by side."""
    record = settings.to_json()
    (plain,) = planned_rows(record)
    rows: dict[str, Row] = {}
    for variant in (PLAIN, *EXPECTED):
        row = deepcopy(plain) | {"variant": variant}
        rows[variant] = row | {"key": row_name(row)}
    results = Results(folder, new_document(record, list(rows.values())))
    plants = {row["key"]: name for name, row in rows.items() if name in PLANTS}
    run_group(results, list(rows.values()), config_of(record, plain), folder, plants)
    return rows


def outcomes(rows: dict[str, Row]) -> list[Outcome]:
    """Return the outcome of each variant; on a disturbed machine times are not judged."""
    plain = rows[PLAIN]
    tests = {
        name: side_by_side(kept_seconds(plain), kept_seconds(rows[name]))
        for name in (AGAIN, "slower")
        if plain["status"] == rows[name]["status"] == "ok"
    }
    ratios = {name: ratio for name, ratio in tests.items() if ratio}
    judgements = dict(zip(ratios, judge([r["p_value"] for r in ratios.values()]), strict=True))
    results = []
    for name, expected in EXPECTED.items():
        row = rows[name] if plain["status"] == "ok" else plain
        status, reason = row["status"], row["reason"] or ""
        passed: bool | None
        if name not in ratios:
            observed = f"{status}: {reason}" if reason else status
            passed = name in REASONS and status == "invalid" and REASONS[name] in reason
        elif disturbed := disturbance(plain) or disturbance(row):
            observed, passed = disturbed, None
        else:
            ratio, judgement, (low, high) = ratios[name], judgements[name], SLOWDOWN_SHOWN
            between = f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
            observed, differs = f"takes {between} times as long", judgement["differ"]
            if (p_value := judgement["p_corrected"]) is None:
                observed, passed = f"{observed}: {judgement['not_judged']}", None
            else:
                observed += f", p {p_value:.2g}"
                passed = not differs if name == AGAIN else differs and low < ratio["ratio"] < high
        results.append(Outcome(expected, observed, passed))
    return results
