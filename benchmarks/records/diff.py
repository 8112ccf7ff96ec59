"""Two results files: what changed on one machine, and what was found again on any."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from benchmarks.records.documents import Bench, Comparison, Row
from benchmarks.records.figures import disturbance, kept_seconds
from benchmarks.records.statistics import (
    ComparedRatio,
    Judgement,
    TimeRatio,
    apart,
    interval_of_row,
    judge,
    withheld,
)
from common.backends import device_kind
from common.errors import InputError
from common.machine.provenance import ALIKE, git_commit, hardware
from common.machine.threads import WAITING

Outcome = Literal[
    "found again",
    "no difference in either",
    "the opposite",
    "there alone",
    "here alone",
    "not judged",
    "on another device",
]


class Repeated(TypedDict):
    """One comparison of two rows, ``b``'s time by ``a``'s, in the stored file and here."""

    a: str
    b: str
    there: TimeRatio
    here: TimeRatio
    outcome: Outcome


class Change(ComparedRatio, Judgement):
    """One row before and after: seconds a step, their ratio and its test.

    ``old_waiting`` and ``new_waiting`` are how OpenMP's threads waited; ``unset`` is its default.
    """

    key: str
    old: float
    new: float
    old_versions: dict[str, str]
    new_versions: dict[str, str]
    old_waiting: str
    new_waiting: str


def unlike(old: Mapping[str, object], new: Mapping[str, object]) -> str | None:
    """Return what of two machines' hardware forbids to compare their rows, or None."""
    return first_difference(*({name: machine[name] for name in ALIKE} for machine in (old, new)))


def check_same_origin(folder: Path, begun: Mapping[str, Any]) -> None:
    """Raise InputError if what is resumed was begun on another machine or by another commit.

    Args:
        folder: Of ``--resume``.
        begun: What it says of its making.
    """
    if different := unlike(begun["hardware"], hardware()):
        raise InputError(
            f"--resume {folder}: was begun on another machine ({different}); resume it there"
        )
    check_same_commit(folder, begun["commit"])


def check_same_commit(folder: Path, begun: str | None) -> None:
    """Raise InputError if what ``folder`` holds was begun by another commit, if both are known."""
    commit = git_commit()
    if commit and begun and commit != begun:
        raise InputError(
            f"--resume {folder}: was begun at commit {begun}, this is {commit}; "
            "check that commit out, or begin anew in another folder"
        )


def first_difference(old: Mapping[str, object], new: Mapping[str, object]) -> str | None:
    """Return the first name whose values differ, with both values, or None."""
    for name in {**old, **new}:
        before, now = (values.get(name, "unset") for values in (old, new))
        if before != now:
            return f"{name} was {before}, now {now}"
    return None


def changes(old: Bench, new: Bench) -> tuple[list[Change], list[str]]:
    """Compare each row that two documents share; return in words, too, why others are left out."""
    if old["settings"].get("own_recipe") != new["settings"].get("own_recipe"):
        raise InputError("the two files are of different recipes: name two of the same one")
    earlier_rows = {row["key"]: row for row in old["rows"]}
    pairs, left_out = [], []
    for row in new["rows"]:
        earlier = earlier_rows.pop(row["key"], None)
        if earlier is None:
            left_out.append(f"{row['key']}: only in the new file")
        elif reason := incomparable(earlier, row):
            left_out.append(f"{row['key']}: {reason}")
        else:
            pairs.append((earlier, row))
    left_out += [f"{key}: only in the old file" for key in earlier_rows]
    return compared(pairs), left_out


def compared(pairs: Sequence[tuple[Row, Row]]) -> list[Change]:
    """Test each pair of a row before and after; all tests are judged together.

    Args:
        pairs: For which ``incomparable`` has nothing to say.
    """
    samples = [[kept_seconds(row) for row in pair] for pair in pairs]
    tests = [apart(a, b) for a, b in samples]
    judgements = judge([test["p_value"] for test in tests])
    results = [
        withheld(judgement, disturbance(a) or disturbance(b))
        for judgement, (a, b) in zip(judgements, pairs, strict=True)
    ]
    return [
        {
            "key": b["key"],
            "old": interval_of_row(times[0])["median"],
            "new": interval_of_row(times[1])["median"],
            "old_versions": a["processes"][-1]["backend"]["versions"],
            "new_versions": b["processes"][-1]["backend"]["versions"],
            "old_waiting": waiting_of(a),
            "new_waiting": waiting_of(b),
            **test,
            **result,
        }
        for (a, b), times, test, result in zip(pairs, samples, tests, results, strict=True)
    ]


def incomparable(old: Row, new: Row) -> str | None:
    """Return why two rows of one key may not be compared, or None.

    Versions may differ, and how threads wait.
    """
    if old["status"] != "ok" or new["status"] != "ok":
        return f"was {old['status']}, now {new['status']}"
    if not kept_seconds(old) or not kept_seconds(new):
        return "every sample of it was dropped"
    return first_difference(environment_of(old), environment_of(new))


def environment_of(row: Row) -> dict[str, object]:
    """Return by name what changes how a row is computed, but for versions and waiting."""
    process = row["processes"][-1]
    backend = process["backend"]
    gpus = sorted({sample["gpu"]["name"] for sample in row["samples"] if sample["gpu"]})
    own = {name: backend[name] for name in ("device", "threads", "precision", "deterministic")}
    cards = {"GPU": ", ".join(gpus) or "unknown"}
    variables = {name: text for name, text in process["environment"].items() if name not in WAITING}
    return {**own, "switches": process["switches"], **variables, **cards}


def waiting_of(row: Row) -> str:
    """Return how OpenMP's threads waited while a row was measured."""
    environment = row["processes"][-1]["environment"]
    return " ".join(f"{k}={environment[k]}" for k in WAITING if k in environment) or "as it comes"


def repeated(there: Bench, here: Bench) -> list[Repeated]:
    """Return the comparisons that two benchmarks share, in the order of the first.

    Ratios of two rows of one file may be compared across machines where times may not, but not
    those of a GPU with those of a CPU.
    """
    own = {(entry["a"], entry["b"]): entry for entry in here["comparisons"]}
    on_gpu = [
        {row["key"] for row in document["rows"] if row["processes"] and is_on_gpu(row)}
        for document in (there, here)
    ]
    return [
        {
            "a": entry["a"],
            "b": entry["b"],
            "there": entry,
            "here": again,
            "outcome": outcome(entry, again)
            if on_gpu[0] & pair == on_gpu[1] & pair
            else "on another device",
        }
        for entry in there["comparisons"]
        if (again := own.get((entry["a"], entry["b"])))
        for pair in [{entry["a"], entry["b"]}]
    ]


def is_on_gpu(row: Row) -> bool:
    """Return whether a GPU computed a row."""
    return device_kind(row["processes"][-1]["backend"]["device"]) == "gpu"


def outcome(there: Comparison, here: Comparison) -> Outcome:
    """Return what two tests of one comparison say together."""
    if there.get("not_judged") or here.get("not_judged"):
        return "not judged"
    if there["differ"] and here["differ"]:
        return "found again" if (there["ratio"] > 1) == (here["ratio"] > 1) else "the opposite"
    if there["differ"] or here["differ"]:
        return "there alone" if there["differ"] else "here alone"
    return "no difference in either"
