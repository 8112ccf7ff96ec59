"""What in a results file contradicts the rules of a benchmark, or itself."""

import copy
import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import product

from benchmarks.cases import CASES
from benchmarks.cases.bounds import SUMMED, SUMMED_IN_GATE, bounds_of_batch
from benchmarks.cases.case import Bounds
from benchmarks.cases.closing import HARNESS
from benchmarks.records.comparisons import compare_rows, crossed, is_early
from benchmarks.records.documents import Bench, Gate, Row, Settings
from benchmarks.records.equivalence import LEVEL, MARGINS, effects, equivalences
from benchmarks.records.figures import highest, summarize
from benchmarks.records.results import row_name
from benchmarks.records.training_documents import Study, Trainings
from benchmarks.records.tuning_documents import Tune
from common.documents import Void
from common.reference.tolerances import row_limits
from common.reference.verdicts import reason, row_findings

LATER = ("score_weights",)
"""Quantities that no row of an early file has: they were not compared yet."""
LATER_ASKED = ("upsample", "loss")
"""Cases of which no row of an early file was asked for more than its turns."""
OF_OTHER_ROWS = {"break_even", "p_corrected", "differ"}
"""Figures that depend on other rows: while rows are unmeasured they are those of fewer rows."""


def problems(document: Bench) -> list[str]:
    """Return what in a document contradicts the rules or itself, a line each."""
    keys = [row["key"] for row in document["rows"]]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    lines = [f"{key}: is in the file twice" for key in twice]
    for row in document["rows"]:
        lines += [f"{row['key']}: {line}" for line in row_problems(row, document)]
    rows = {row["key"]: row for row in document["rows"]}
    for entry in document["comparisons"]:
        a, b = rows.get(entry["a"]), rows.get(entry["b"])
        if a is None or b is None:
            lines.append(f"{entry['a']} and {entry['b']}: are compared, but one is not a row")
        elif different := crossed(a, b):
            lines.append(f"{entry['a']} and {entry['b']}: are compared across {different}")
    for key, row in rows.items():
        even = row["figures"] and row["figures"]["break_even"]
        if even and even["against"] not in rows:
            lines.append(f"{key}: catches up with {even['against']!r}, which is not a row")
    for name, limit in document["limits"].items():
        if limit is not None and limit != highest(limit["by_backend"]):
            lines.append(f"the limit in {name} is not the highest of its backends")
    if "accuracy" in document:
        accuracy = document["accuracy"]
        lines += training_problems(accuracy, "accuracy", accuracy["config"]["recipe"]["void"])
    return [*lines, *figure_problems(document)]


def row_problems(row: Row, document: Bench) -> Iterator[str]:
    """Yield what is wrong with a row beside its figures."""
    if row["key"] != row_name(row):
        yield f"its fields make the key {row_name(row)}"
    host = row.get("host")
    if host is not None and host not in document.get("hosts", {}):
        yield f"its host {host!r} is not one of the file's"
    if row["status"] == "ok":  # The schema sees to it that just these rows have figures.
        yield from gate_problems(row, document)
        if row["case"] in CASES:
            yield from turn_problems(row, document["settings"])
        if any(sample["dropped"] is not None and not sample["gpu"] for sample in row["samples"]):
            yield "a sample is dropped as throttled, and its GPU is not told"


def turn_problems(row: Row, settings: Settings) -> Iterator[str]:
    """Yield which processes and turns of a row are missing, or there twice."""
    rounds, starts = settings["rounds"], CASES[row["case"]].in_new_processes
    planned = settings.get("processes", rounds if starts else 1)
    places = [(s["process"], s["round"], s["turn"]) for s in row["samples"]]
    turns = planned * (1 if starts else 2 * rounds)
    # As many places as there are, each once, are all of them if none is beyond.
    most = (planned, 1, 1) if starts else (planned, rounds, 2)
    is_beyond = any(
        not 0 <= n < end for place in places for n, end in zip(place, most, strict=True)
    )
    if (measured := len({process for process, _, _ in places})) < planned:
        yield f"has {measured} of {planned} processes"
    elif len(places) != turns or len({*places}) != turns:
        yield f"has {len(places)} of {turns} turns, each once"
    elif not is_early(settings) and (is_beyond or len(row["processes"]) != planned):
        yield f"its turns are not those of {planned} processes"


def gate_problems(row: Row, document: Bench) -> Iterator[str]:
    """Yield what is wrong with the proof of equal work of a row that has figures."""
    gate = row["gate"]
    gates = [each["gate"]["checks"] for each in document["rows"] if each["gate"]]
    later = {quantity for quantity in LATER if not any(quantity in checks for checks in gates)}
    if not gate or not gate["passed"] or not gate["checks"]:
        yield "has figures without proof of equal work"
    elif row["case"] not in CASES:
        yield f"{row['case']} is not a case"
    else:
        case = CASES[row["case"]]
        batch = row["backbone"], row["batch_size"], row["crop"]
        bounds = bounds_of_batch(without(case.bounds, later), *batch, SUMMED_IN_GATE)
        yield from check_problems(row, gate, "gate", bounds)
        if "closing" not in row:
            if is_closed(document) and not case.in_new_processes:
                yield "has no closing proof"
        else:
            closing = case.closing if is_asked(row, document) else HARNESS
            bounds = bounds_of_batch(without(closing, later), *batch, SUMMED)
            yield from check_problems(row, row["closing"], "closing proof", bounds)


def is_closed(document: Bench) -> bool:
    """Return whether the benchmark asked after the last turn: no row of an early file has that."""
    return any(
        "closing" in row or any("asked_seconds" in sample for sample in row["samples"])
        for row in document["rows"]
    )


def is_asked(row: Row, document: Bench) -> bool:
    """Return whether a row has to answer its case's own closing question."""
    rows = [each for each in document["rows"] if each["case"] in LATER_ASKED]
    asked = any("unseen" in each["closing"]["checks"] for each in rows if "closing" in each)
    return asked or row["case"] not in LATER_ASKED


def without(bounds: Bounds, quantities: set[str]) -> Bounds:
    """Return the bounds of all other quantities."""
    return {name: bound for name, bound in bounds.items() if name not in quantities}


def check_problems(row: Row, proof: Gate, name: str, bounds: Bounds) -> Iterator[str]:
    """Yield what is wrong with a proof of a row, the one before the turns or the one after them."""
    checks = proof["checks"]
    if not proof["passed"]:
        yield f"has figures, but its {name} did not pass"
    yield from (f"its {name} has no {quantity}" for quantity in bounds if quantity not in checks)
    limits = row_limits(bounds, row["precision"], row["track"], row["backend"])
    for quantity, check in checks.items():
        own = limits.get(quantity, 0.0)
        if check["error"] is None or not check["error"] <= check["bound"]:
            yield f"its {name} passed, but {quantity} is past its bound"
        if check["bound"] > own:
            yield f"its bound of {quantity}, {check['bound']:g}, is wider than {own:g}"
    errors = {quantity: check["error"] for quantity, check in checks.items()}
    if unequal := reason(row_findings(errors, limits)):
        yield unequal


def problems_of_study(study: Study) -> Iterator[str]:
    """Yield what in a study has no proof, contradicts itself, or does not follow from its runs."""
    void, grid = study["config"]["recipe"]["void"], list(product(*study["varied"].values()))
    if [tuple(variant["changes"].values()) for variant in study["variants"]] != grid:
        yield "its variants are not the grid of what it varied"
    names = [variant["name"] for variant in study["variants"]]
    if len({*names}) < len(names):
        yield "two of its variants have one name"
    if len({variant["seeds"] for variant in study["variants"]}) > 1:
        yield "its variants have different numbers of seeds"
    for variant in study["variants"]:
        yield from training_problems(variant, variant["name"], void)
    with suppress(ModuleNotFoundError, ValueError):  # Told of the variants' tests and seeds.
        for place in differences(
            study["effects"], effects(study["variants"], void), set(), "/effects"
        ):
            yield f"its runs do not give its {place}"


def problems_of_search(tune: Tune) -> Iterator[str]:
    """Yield what in a search contradicts itself."""
    numbers = [trial["number"] for trial in tune["trials"]]
    if numbers != sorted({*numbers}):  # One that was killed before it had values is left out.
        yield "its trials are not numbered upwards, each once"
        return  # Its best one is named by its number.
    finished = [trial for trial in tune["trials"] if trial["state"] == "finished"]
    for trial in finished:
        if trial["epochs"][-1:] != [trial["score"]]:
            yield f"trial {trial['number']}: its score is not that of its last epoch"
    best = next((trial for trial in finished if trial["number"] == tune["best"]), None)
    if best is None or tune["recipe"] is None:
        if finished:
            yield "has finished trials, and none of them is said to be best"
        return
    number, top = best["number"], max(finished, key=lambda trial: trial["score"] or 0.0)
    if top["score"] != best["score"]:
        yield f"trial {number} is said to be best, and trial {top['number']} has the highest score"
    began = tune["config"]["recipe"] | {"name": "best"}
    for name, value in tune["recipe"].items():
        tried = best["values"].get(name)
        expected = began.get(name) if tried is None else tried
        if value != expected and not is_same_tuple(value, expected):
            yield f"its recipe's {name} is not that of its best trial"


def is_same_tuple(stored: object, tried: object) -> bool:
    """Return whether a recipe's numbers are those of a trial's text, such as 0.5x2."""
    with suppress(ValueError):
        return isinstance(tried, str) and [float(part) for part in tried.split("x")] == stored
    return False


def training_problems(trainings: Trainings, name: str, void: Void) -> Iterator[str]:
    """Yield what in trainings has no proof, or does not follow from their runs.

    The tests of equivalence need SciPy; without it they are said to be unchecked.

    Args:
        name: Of the trainings, for the message.
        void: How void pixels are read.
    """
    scored: dict[int, set[tuple[int, int]]] = {}
    for row in trainings["rows"]:
        seeds, place = {run["seed"] for run in row["runs"]}, f"{name} of {row['backend']}"
        if row["status"] != "ok":
            if not row["reason"]:
                yield f"{place}: is {row['status']} without a reason"
            continue
        if len(seeds) < trainings["seeds"] or len(seeds) < len(row["runs"]):
            yield f"{place}: has {len(seeds)} of {trainings['seeds']} seeds"
            return  # No test can be computed: it pairs the runs by seed.
        first = trainings["config"]["seed"]
        if [run["seed"] - first for run in row["runs"]] != list(range(len(seeds))):
            yield f"{place}: its seeds are not those from {first} on, in order"
            return
        for run in row["runs"]:
            if not run["agreement"] <= 1:
                yield f"{place}, seed {run['seed']}: has scores without proof of equal work"
            if run["epochs"] and run["scores"] != run["epochs"][-1]["scores"]:
                yield f"{place}, seed {run['seed']}: its scores are not those of its last epoch"
            for epoch in run["epochs"]:
                whole, known = epoch["scores"]["background"], epoch["scores"]["ignore"]
                if "pixels" in whole and "pixels" in known:  # Early files have none.
                    scored.setdefault(run["seed"], set()).add((whole["pixels"], known["pixels"]))
    for seed, pixels in scored.items():
        if len(pixels) > 1:
            yield f"{name}, seed {seed}: its evaluations scored different numbers of pixels"
    try:
        tests = equivalences(trainings["rows"], void)
    except ModuleNotFoundError as error:
        yield f"its tests are unchecked: {error.name} is not installed"
        return
    again = {**trainings, "margins": MARGINS, "level": LEVEL, "equivalence": tests}
    for place in differences(trainings, again, set(), f"/{name}"):
        yield f"its runs do not give its {place}"


def figure_problems(document: Bench) -> list[str]:
    """Return which figures and comparisons do not follow from the samples, by the same code."""
    stated = [r for r in document["rows"] if r["status"] == "ok" and r["case"] in CASES]
    again: Bench = {**document, "rows": copy.deepcopy(stated)}
    for row in again["rows"]:
        try:
            summarize(again, row)
        except (ArithmeticError, LookupError, ValueError) as error:
            return [f"{row['key']}: its samples give no figures ({error!r})"]
        if row["status"] != "ok":
            return [f"{row['key']}: {row['reason']}"]
    try:
        compare_rows(again)
    except ArithmeticError as error:
        return [f"no comparison can be made of its rows ({error})"]
    unfinished = any(row["status"] == "running" for row in document["rows"])
    later = OF_OTHER_ROWS if unfinished else set()
    lines = [
        f"{row['key']}: its samples do not give its {place}"
        for row, computed in zip(stated, again["rows"], strict=True)
        for place in differences(row, computed, later)
    ]
    before, after = (
        {(entry["a"], entry["b"]): entry for entry in each["comparisons"]}
        for each in (document, again)
    )
    pairs = before.keys() & after.keys() if unfinished else before.keys() | after.keys()
    for a, b in sorted(pairs):
        places = differences(before.get((a, b)), after.get((a, b)), later, "/comparison")
        lines += [f"{a} and {b}: their samples do not give their {place}" for place in places]
    return lines


def differences(stated: object, computed: object, later: set[str], path: str = "") -> Iterator[str]:
    """Yield below ``path`` where values differ by more than rounding, but for fields ``later``."""
    if isinstance(stated, dict) and isinstance(computed, dict):
        for name in sorted((stated.keys() | computed.keys()) - later):
            yield from differences(stated.get(name), computed.get(name), later, f"{path}/{name}")
    elif isinstance(stated, list) and isinstance(computed, list) and len(stated) == len(computed):
        for number, values in enumerate(zip(stated, computed, strict=True)):
            yield from differences(*values, later, f"{path}/{number}")
    elif isinstance(stated, float) and isinstance(computed, float | int):
        if not math.isclose(stated, computed, rel_tol=1e-6, abs_tol=1e-12):
            yield path[1:]
    elif stated != computed:
        yield path[1:]
