"""The part of a benchmark that one host measures, and the benchmark that the parts make."""

import copy
from collections.abc import Collection, Mapping, Sequence

from benchmarks.records.documents import Bench, Row
from benchmarks.records.figures import highest, summarize
from benchmarks.records.machines.documents import BackendRates, Limit

HOSTS = "hosts"
"""In the folder of a kind of machine, those of its hosts."""
TRAINED = "accuracy"
"""The case that is trained and has no rows; it takes longest."""


def cases_of(whole: Bench) -> list[str]:
    """Return the cases of a benchmark that there is something to measure of, the longest first."""
    with_rows = {row["case"] for row in whole["rows"]} | {TRAINED}
    cases = [case for case in whole["settings"]["cases"] if case in with_rows]
    return sorted(cases, key=lambda case: case != TRAINED)


def rows_of(document: Bench, case: str) -> list[Row]:
    """Return the rows of a case."""
    return [row for row in document["rows"] if row["case"] == case]


def is_measured(document: Bench, case: str) -> bool:
    """Return whether a document has the whole of a case."""
    if case not in document["settings"]["cases"]:
        return False
    if case == TRAINED:
        return "accuracy" in document
    return all(row["status"] != "running" for row in rows_of(document, case))


def left_of(whole: Bench, parts: Mapping[str, Bench]) -> list[str]:
    """Return the cases of a benchmark that no host has measured.

    Args:
        parts: What each host has measured or begun.
    """
    return [
        case
        for case in cases_of(whole)
        if not any(is_measured(each, case) for each in parts.values())
    ]


def part(own: Bench, earlier: Bench | None, cases: Collection[str]) -> Bench:
    """Return the document with which a host goes on to measure cases.

    Args:
        own: The host's own, of all cases, with nothing measured.
        earlier: What it has measured before. Of that stays what is whole, and these cases.
        cases: What it measures now.
    """
    document = copy.deepcopy(earlier or {**own, "rows": [], "limits": {}, "comparisons": []})
    measured = {row["key"]: row for row in document["rows"]}
    chosen = [
        case
        for case in own["settings"]["cases"]
        if case in cases or (earlier and is_measured(earlier, case))
    ]
    document["settings"] = {**own["settings"], "cases": chosen}
    document["rows"] = [
        measured.get(row["key"], copy.deepcopy(row)) for row in own["rows"] if row["case"] in chosen
    ]
    document["comparisons"] = []
    if TRAINED not in chosen:
        document.pop("accuracy", None)
    return document


def next_cases(
    whole: Bench, name: str, parts: Mapping[str, Bench], others: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what a host measures next: all that is left if it is alone, else one case.

    A case that a host has begun stays with it as long as the host is there.

    Args:
        whole: The benchmark of its kind.
        name: Of the host.
        parts: What each host of the kind has measured or begun.
        others: The other hosts of the kind that are there, and what each of them measures now.
    """
    taken = {case for cases in others.values() for case in cases}
    left = [case for case in left_of(whole, parts) if case not in taken]
    begun = {
        case: host
        for host in [*others, name]
        if host in parts
        for case in parts[host]["settings"]["cases"]
    }
    free = [case for case in left if begun.get(case, name) == name]
    free.sort(key=lambda case: case not in begun)
    return free[:1] if others else free


def merged(whole: Bench, parts: Mapping[str, Bench]) -> Bench:
    """Return the benchmark of a kind of machine, which each case has from one host.

    Of a case that several hosts have begun, the one counts that has measured most rows of it.

    Args:
        whole: All that is to be measured.
        parts: What hosts have measured, by their names.
    """
    document = copy.deepcopy(whole)
    chosen: dict[str, str] = {}
    for case in cases_of(whole):
        begun = [name for name, each in parts.items() if case in each["settings"]["cases"]]
        if begun:
            chosen[case] = min(begun, key=lambda name: unmeasured(parts[name], case))
    hosts = list(dict.fromkeys(chosen.values()))
    document["hosts"] = {name: parts[name]["hardware"] for name in hosts}
    rows = {
        row["key"]: of_host(row, name)
        for case, name in chosen.items()
        for row in rows_of(parts[name], case)
    }
    document["rows"] = [rows.get(row["key"], row) for row in whole["rows"]]
    document["limits"] = limits_of([parts[name] for name in hosts])
    if TRAINED in chosen and "accuracy" in parts[chosen[TRAINED]]:
        document["accuracy"] = parts[chosen[TRAINED]]["accuracy"]
    for row in document["rows"]:
        if row["status"] == "ok":  # Of one host's limits they are another share.
            summarize(document, row)
    return document


def of_host(row: Row, name: str) -> Row:
    """Return a copy of a host's row for the document of its kind."""
    trace = row["profile"] and f"{HOSTS}/{name}/{row['profile']}"
    return {**copy.deepcopy(row), "host": name, "profile": trace}


def unmeasured(document: Bench, case: str) -> int:
    """Return how many rows of a case a document lacks."""
    left = [row for row in rows_of(document, case) if row["status"] == "running"]
    return len(left) + (case == TRAINED and TRAINED not in document)


def limits_of(documents: Sequence[Bench]) -> dict[str, Limit | None]:
    """Return the limits of a kind of machine: of every backend the best that any host reached."""
    limits: dict[str, Limit | None] = {}
    for name in dict.fromkeys(name for document in documents for name in document["limits"]):
        rates: dict[str, list[BackendRates]] = {}
        for document in documents:
            limit = document["limits"].get(name)
            for entry in limit["by_backend"] if limit else []:
                rates.setdefault(entry["backend"], []).append(entry)
        limits[name] = highest([best_of(entries) for entries in rates.values()])
    return limits


def best_of(entries: Sequence[BackendRates]) -> BackendRates:
    """Return the highest rates of one backend; where it has none, the first reason for that."""
    measured = [entry for entry in entries if "flops_per_second" in entry]
    if not measured:
        return entries[0]
    return {
        "backend": entries[0]["backend"],
        "flops_per_second": max(entry["flops_per_second"] for entry in measured),
        "bytes_per_second": max(entry["bytes_per_second"] for entry in measured),
    }
