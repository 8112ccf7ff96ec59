"""`fcn bench check FILE`: what in a results file contradicts the rules or itself."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from benchmarks.cases import CASES
from benchmarks.pages.bench_text import few_rounds, table
from benchmarks.pages.markdown import markdown
from benchmarks.records.comparisons import compare_rows, crossed
from benchmarks.records.documents import Bench, Row
from benchmarks.records.figures import highest, summarize
from benchmarks.records.results import can_check_schema, read_results, row_name
from common.errors import InputError
from common.options import Parser
from common.reference.tolerances import row_limits
from common.reference.verdicts import reason, row_findings

EARLIER = {("statistics", "torch"): 5e-1}
"""Bounds on the track `chapter` that a file may state because it was written when they were
those of this project: there the error alone is held to today's."""


def check(argv: Sequence[str]) -> int:
    """Check a results file, of any machine, and show it; status 1 if it contradicts itself."""
    parser = Parser(prog="fcn bench check", description="Check a results file and show its table.")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="bench.json, or the folder that holds it"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the rows of train alone, for a README"
    )
    args = parser.parse_args(argv)
    document = read_results(args.file)
    try:
        found = problems(document)
        print(markdown(document) if args.markdown else table(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if can_check_schema():
            raise
        raise InputError(f"{args.file}: is against the schema ({error!r})") from error
    for line in found:
        print(f"problem: {line}", file=sys.stderr if args.markdown else sys.stdout)
    if few := few_rounds(document):
        print(f"note: {few}", file=sys.stderr if args.markdown else sys.stdout)
    if not found and not args.markdown:
        schema = "follows the schema" if can_check_schema() else "(schema unchecked: no jsonschema)"
        print(f"{args.file}: {schema} and agrees with itself")
    return int(bool(found))


def problems(document: dict[str, Any]) -> list[str]:
    """Return what in a document contradicts the rules or itself, a line each."""
    found = []
    keys = [row["key"] for row in document["rows"]]
    found += [f"{key} stands twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
    for row in document["rows"]:
        key = row["key"]
        if key != row_name(row):
            found.append(f"{key}: its fields say {row_name(row)}")
        if row["status"] != "ok":
            if row["figures"] is not None:
                found.append(f"{key}: {row['status']}, but it has figures")
            if row["status"] != "running" and not row["reason"]:
                found.append(f"{key}: {row['status']} without a reason")
            continue
        if row["figures"] is None:
            found.append(f"{key}: ok, but it has no figures")
            continue
        found += [f"{key}: {said}" for said in gate_problems(row)]
        rounds = {sample["round"] for sample in row["samples"]}
        if len(rounds) < document["settings"]["rounds"]:
            found.append(f"{key}: {len(rounds)} of {document['settings']['rounds']} rounds")
    known = {row["key"]: row for row in document["rows"]}
    for entry in document["comparisons"]:
        a, b = known.get(entry["a"]), known.get(entry["b"])
        if a is None or b is None:
            found.append(f"a comparison names {entry['a']} or {entry['b']}, which is no row")
        elif unlike := crossed(a, b):
            found.append(f"a ratio crosses {unlike}: {entry['a']} and {entry['b']}")
    for precision, limit in document["limits"].items():
        if limit is not None and limit != highest(limit["by_backend"]):
            found.append(f"the limit in {precision} is not the highest of its backends")
    if "accuracy" in document:
        found += accuracy_problems(document["accuracy"])
    return found + figure_problems(document)


def gate_problems(row: dict[str, Any]) -> list[str]:
    """Return what is wrong with the proof of equal work of a row that has figures."""
    gate = row["gate"]
    if not gate or not gate["passed"] or not gate["checks"]:
        return ["figures without proof of equal work"]
    found = []
    if row["case"] not in CASES:
        return [f"{row['case']} is not a case"]
    wanted = CASES[row["case"]].bounds
    found += [f"its gate has no {name}" for name in wanted if name not in gate["checks"]]
    limits = row_limits(wanted, row["precision"], row["track"], row["backend"])
    errors = {name: stated["error"] for name, stated in gate["checks"].items()}
    for name, stated in gate["checks"].items():
        own = limits.get(name, 0.0)
        earlier = EARLIER.get((name, row["backend"]), own) if row["track"] == "chapter" else own
        if stated["error"] is None or not stated["error"] <= stated["bound"]:
            found.append(f"passed, but {name} is over its bound")
        if stated["bound"] > max(own, earlier):
            found.append(f"its bound of {name}, {stated['bound']:g}, is wider than {own:g}")
    unequal = reason(row_findings(errors, limits))
    return [*found, unequal] if unequal else found


def accuracy_problems(accuracy: dict[str, Any]) -> list[str]:
    """Return what in the case `accuracy` has no proof or is not what the scores of its runs give.

    Trainings need packages that those who only time have not.
    """
    found = []
    for row in accuracy["rows"]:
        name, runs = row["backend"], row["runs"]
        if row["status"] != "ok":
            if not row["reason"]:
                found.append(f"accuracy of {name}: {row['status']} without a reason")
            continue
        seeds = {run["seed"] for run in runs}
        if len(seeds) < accuracy["seeds"] or len(seeds) < len(runs):
            # Then there is nothing to pair either.
            return [*found, f"accuracy of {name}: {len(seeds)} of {accuracy['seeds']} seeds"]
        for run in runs:
            place = f"accuracy of {name}, seed {run['seed']}"
            if not run["agreement"] <= 1:
                found.append(f"{place}: scores without proof of equal work")
            if run["epochs"] and run["scores"] != run["epochs"][-1]["scores"]:
                found.append(f"{place}: its scores are not those of its last epoch")
    try:
        from benchmarks.records.equivalence import LEVEL, MARGINS, equivalences

        tests = equivalences(accuracy["rows"], accuracy["config"]["recipe"]["void"])
    except ModuleNotFoundError as error:
        return [*found, f"its tests are unchecked: {error.name} is not installed"]
    again = {"margins": MARGINS, "level": LEVEL, "equivalence": tests}
    stated = {name: accuracy[name] for name in again}
    places = differences(stated, again, "accuracy", set())
    return found + [f"its {place} is not what its runs give" for place in places]


def figure_problems(document: dict[str, Any]) -> list[str]:
    """Return which figures and comparisons are not what the samples give, by the same code."""
    again = copy.deepcopy(document)
    rows = [(old, new) for old, new in zip(document["rows"], again["rows"], strict=True)]
    rows = [(old, new) for old, new in rows if old["status"] == "ok" and old["figures"]]
    again["rows"] = [new for _, new in rows]
    for _, row in rows:
        try:
            summarize(cast(Bench, again), cast(Row, row))
        except (ArithmeticError, LookupError, ValueError) as error:
            return [f"{row['key']}: its samples give no figures ({error!r})"]
        if row["status"] != "ok":
            return [f"{row['key']}: {row['reason']}"]
    try:
        compare_rows(again)
    except ArithmeticError as error:
        return [f"no comparison can be made of its rows ({error})"]
    unfinished = any(row["status"] == "running" for row in document["rows"])
    # Until all is measured, what depends on other rows is that of an earlier state.
    later = {"break_even", "p_corrected", "least_p", "differ"} if unfinished else set()
    found = [
        f"{row['key']}: its {place} is not that of its samples"
        for old, row in rows
        for name in ("figures", "warnings")
        for place in differences(old[name], row[name], name, later)
    ]
    stated, computed = (
        {(entry["a"], entry["b"]): entry for entry in one["comparisons"]}
        for one in (document, again)
    )
    for pair, entry in computed.items():
        if "least_p" not in stated.get(pair, entry):  # Written before there was such a figure.
            del entry["least_p"]
    pairs = stated.keys() & computed.keys() if unfinished else stated.keys() | computed.keys()
    for pair in sorted(pairs):
        places = differences(stated.get(pair), computed.get(pair), "comparison", later)
        found += [f"{' and '.join(pair)}: their {p} is not that of their samples" for p in places]
    return found


def differences(stated: Any, found: Any, place: str, later: set[str]) -> Iterator[str]:
    """Yield where two values differ by more than rounding, but for the fields ``later``."""
    if isinstance(stated, dict) and isinstance(found, dict):
        for name in sorted((stated.keys() | found.keys()) - later):
            yield from differences(stated.get(name), found.get(name), f"{place}/{name}", later)
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for number, (one, other) in enumerate(zip(stated, found, strict=True)):
            yield from differences(one, other, f"{place}/{number}", later)
    elif isinstance(stated, float) and isinstance(found, (float, int)):
        if not math.isclose(stated, found, rel_tol=1e-6, abs_tol=1e-12):
            yield place
    elif stated != found:
        yield place
