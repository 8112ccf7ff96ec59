"""Does the harness, on this machine, find what it must and nothing else?"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.records.documents import Row
from benchmarks.records.figures import kept_seconds
from benchmarks.records.results import Results, new_document, row_name
from benchmarks.records.statistics import LEVEL, Ratio, holm, paired
from benchmarks.timing.conductor import run_group
from benchmarks.timing.plan import config_of, planned_rows
from benchmarks.timing.plants import PLANTS
from benchmarks.timing.settings import Settings
from common.reference.verdicts import NOT_EQUAL

SELFTEST_CASE = "train"
PLAIN, AGAIN = "plain", "again"
EXPECTED = {
    AGAIN: "nothing: no difference",
    "slower": "5 % slower: found, as 3 to 8 %",
    "unsynchronised": "no synchronisation: invalid",
    "epsilon": "another epsilon: invalid",
}
"""Variant -> what is planted in it, and what the harness has to say of it."""
REASONS = {"unsynchronised": "not synchronised", "epsilon": NOT_EQUAL}
"""Variant that has to be invalid -> how the reason begins."""
FOUND_SLOWDOWN = (1.03, 1.08)


@dataclass(frozen=True)
class Outcome:
    """What was planted and expected, what was seen, and whether that is as expected."""

    expected: str
    seen: str
    passed: bool


def measure(folder: Path, settings: Settings) -> dict[str, Row]:
    """Return a row for each variant of the backend, all measured side by side."""
    record = settings.to_json()
    (plain,) = planned_rows(record)
    rows: dict[str, Row] = {}
    for variant in (PLAIN, *EXPECTED):
        row: Row = {**plain, "variant": variant, "processes": [], "samples": [], "warnings": []}
        row["key"] = row_name(row)
        rows[variant] = row
    results = Results(folder, new_document(record, list(rows.values())))
    plants = {row["key"]: name for name, row in rows.items() if name in PLANTS}
    run_group(results, list(rows.values()), config_of(record, plain), folder, plants)
    return rows


def outcomes(rows: dict[str, Row]) -> list[Outcome]:
    """Return what was seen of each variant."""
    comparisons = {name: comparison(rows[PLAIN], rows[name]) for name in (AGAIN, "slower")}
    tests = {name: test for name, test in comparisons.items() if test is not None}
    corrected = dict(zip(tests, holm([t["p_value"] for t in tests.values()]), strict=True))
    found = []
    for name, expected in EXPECTED.items():
        row = rows[name] if rows[PLAIN]["status"] == "ok" else rows[PLAIN]
        if name in tests:
            test, p_value = tests[name], corrected[name]
            between = f"{test['ratio']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
            seen = f"takes {between} times as long, p {p_value:.2g}"
            low, high = FOUND_SLOWDOWN
            found_slower = p_value < LEVEL and low < test["ratio"] < high
            passed = p_value >= LEVEL if name == AGAIN else found_slower
        else:
            seen = f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
            passed = (
                name in REASONS
                and row["status"] == "invalid"
                and REASONS[name] in (row["reason"] or "")
            )
        found.append(Outcome(expected, seen, passed))
    return found


def comparison(plain: Row, other: Row) -> Ratio | None:
    """Return the paired test of two rows; None unless both have samples enough."""
    if plain["status"] != "ok" or other["status"] != "ok":
        return None
    a, b = kept_seconds(plain), kept_seconds(other)
    both = sorted(a.keys() & b.keys())
    return paired([a[turn] for turn in both], [b[turn] for turn in both])
