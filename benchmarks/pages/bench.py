"""A benchmark's results as one page that needs no other file and no network."""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.pages import proof as parity
from benchmarks.pages import roofline
from benchmarks.pages import rows as words
from benchmarks.pages.facts import bench_facts, computed_on, machine_names
from benchmarks.pages.format import counted, join, network_name, out_of, setting
from benchmarks.pages.html import render
from benchmarks.pages.studies import accuracy as trainings
from benchmarks.records.check import problems
from benchmarks.records.documents import Bench, Comparison, Row
from benchmarks.records.equivalence import TARGET_ABOVE_BACKGROUND
from benchmarks.records.figures import MOST_FOR_OTHERS
from benchmarks.records.training_documents import Accuracy, finished


def render_page(document: Bench, folder: Path, beside: Sequence[Bench] = ()) -> str:
    """Return the page of one benchmark, and of others beside it; no ratio crosses two of them.

    A proof that `fcn parity` left in the benchmark's folder is a section of it.

    Raises:
        InputError: If what lies there is no proof of this version.
    """
    documents = [document, *beside]
    machines = list(zip(machine_names(documents), documents, strict=True))
    shown = groups(documents)
    return render(
        document,
        verdict=f"{machines[0][0]}: {verdict(document)}" if beside else verdict(document),
        verdict_of=verdict,
        computed_on=computed_on(document),
        machines=machines,
        problems=[(name, line) for name, each in machines for line in problems(each)],
        groups=shown,
        charts=[words.chart(rows) for _, _, rows in shown],
        words=words,
        fastest=fastest,
        conditions=conditions(document),
        most_for_others=round(100 * MOST_FOR_OTHERS),
        cases=CASES,
        parity=parity,
        proof=parity.stored_proof(folder),
        roofline=roofline,
        trainings=trainings,
        target=TARGET_ABOVE_BACKGROUND,
        gallery=trainings.accuracy_gallery(document, folder),
        facts_of=bench_facts,
    )


def verdict(document: Bench) -> str:
    """Return who is fastest as far as tests show it, and then what was measured and compared."""
    rows = document["rows"]
    tests = [test for table in words.tables(rows) for test in words.paired_tests(table, document)]
    measured = [row for row in rows if row["status"] == "ok"]
    parts = []
    if rows or "accuracy" not in document:
        parts.append(f"{out_of(len(measured), len(rows), 'row', 'have')} figures")
    if measured:
        names = ", ".join(dict.fromkeys(row["title"] for row in measured))
        parts[0] += f" ({names}), each after its worker reproduced the float64 reference"
    if tests:
        differ = sum(test["differ"] for test in tests)
        withheld = sum("not_judged" in test for test in tests)
        parts.append(
            f"{out_of(differ, len(tests), 'paired test', 'find')} a difference"
            + (f", {withheld} are not judged" if withheld else "")
        )
    if "accuracy" in document:
        parts.append(trained(document["accuracy"]))
    first = headline(document)
    return (f"{first}. " if first else "") + "; ".join(parts) + "."


def headline(document: Bench) -> str | None:
    """Return who is fastest in the first table that tells it, one of training if there is one."""
    said = [
        (words.case_of(rows[0]).column != "rows", text)
        for rows in words.tables(document["rows"])
        if (text := fastest(rows, document))
    ]
    return min(said, key=itemgetter(0))[1] if said else None


def fastest(rows: Sequence[Row], document: Bench) -> str | None:
    """Return who of one table is fastest and by how much, as far as its paired tests show it.

    Compared are the backends on the first track that several have figures on, or else the tracks
    of one backend. None where no two rows of a table are compared.
    """
    order = contenders(rows)
    tests = both_ways(words.paired_tests(order, document))
    beaten = {a for (a, _), test in tests.items() if test["differ"] and test["ratio"] < 1}
    first = next((row for row in order if row["key"] not in beaten), None)
    if first is None:
        return None
    others = [(row, test) for row in order if (test := tests.get((first["key"], row["key"])))]
    if not others:
        return None
    place = f"in {words.case_name(first)} ({words.batch_name(first)}, {first['precision']})"
    slower = [f"{label(row, order)} takes {longer(test)}" for row, test in others if test["differ"]]
    untold: dict[str, list[str]] = {}
    for row, test in others:
        if not test["differ"]:
            untold.setdefault(words.finding(test), []).append(label(row, order))
    if not slower and len(untold) == 1:
        return f"Who is fastest {place}: {next(iter(untold))}"
    name, rank = label(first, order), "among the fastest" if untold else "fastest"
    parts = [f"{name} is {rank} {place}: {', '.join(slower)}"]
    if not slower:
        parts = [f"Who is fastest {place} is not shown"]
    parts += [f"{name} and {join(names)}: {found}" for found, names in untold.items()]
    return "; ".join(parts)


def contenders(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that `fastest` compares, in the order of their steps' medians."""
    medians = {
        row["key"]: row["figures"]["step_seconds"]["median"] for row in rows if row["figures"]
    }
    measured = [row for row in rows if row["key"] in medians]
    groups = [
        [row for row in measured if row[name] == value]
        for name in ("track", "backend")
        for value in dict.fromkeys(row[name] for row in measured)
    ]
    several = next((group for group in groups if len(group) > 1), [])
    return sorted(several, key=lambda row: medians[row["key"]])


def label(row: Row, rows: Sequence[Row]) -> str:
    """Return a row's title, with its track where the others have the same title."""
    alone = sum(other["title"] == row["title"] for other in rows) == 1
    return row["title"] if alone else f"{row['title']} {row['track']}"


def both_ways(tests: Sequence[Comparison]) -> dict[tuple[str, str], Comparison]:
    """Return tests by their rows (a, b), and each once more with its rows exchanged."""
    both = {}
    for test in tests:
        both[test["a"], test["b"]] = test
        low, high = 1 / test["high"], 1 / test["low"]
        exchanged: Comparison = {**test, "ratio": 1 / test["ratio"], "low": low, "high": high}
        both[test["b"], test["a"]] = exchanged
    return both


def longer(test: Comparison) -> str:
    """Return a ratio above 1 with its interval; next to 1 it has a third decimal."""
    digits = 2 if test["low"] >= 1.005 else 3
    ratio, low, high = (
        f"{number:.{digits}f}" for number in (test["ratio"], test["low"], test["high"])
    )
    return f"{ratio} times as long (95 % interval {low} to {high})"


def conditions(document: Bench) -> str:
    """Return which networks were timed and trained, and at which sizes."""
    timed = dict.fromkeys((network_name(row), *row["crop"]) for row in document["rows"])
    places = [f"{backbone}, {height} × {width}" for backbone, height, width in timed]
    if "accuracy" in document:
        recipe = document["accuracy"]["config"]["recipe"]
        places.append(f"trained: {network_name(recipe)}, {setting(recipe['crop'])}")
    return "; ".join(places)


def trained(accuracy: Accuracy) -> str:
    """Return who finished the trainings, and how many tests of equivalence say so."""
    names = [row["title"] for row in finished(accuracy["rows"])]
    tests = accuracy["equivalence"]
    shown = sum(test["equivalent"] for test in tests)
    seeds = counted(accuracy["seeds"], "seed")
    return (
        f"{', '.join(names) or 'no backend'} trained from {seeds} each, "
        f"and {out_of(shown, len(tests), 'test', 'show')} their scores equivalent"
    )


def groups(documents: Sequence[Bench]) -> list[tuple[str, Bench, list[Row]]]:
    """Return (machine, document, rows) of every table that was reached.

    Tables of one case, batch and precision stand in a row.
    """
    reached = [
        (name, document, rows)
        for name, document in zip(machine_names(documents), documents, strict=True)
        for rows in words.tables(document["rows"])
        if words.was_reached(rows)
    ]
    titles = list(dict.fromkeys(words.row_title(rows[0]) for _, _, rows in reached))
    return sorted(reached, key=lambda group: titles.index(words.row_title(group[2][0])))
