"""A benchmark's rows: their tables, their words, and their samples turn by turn."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cases import CASES
from benchmarks.cases.case import Case
from benchmarks.pages.format import counted, network_name, significant
from benchmarks.pages.html import backend_color
from benchmarks.records.comparisons import is_early
from benchmarks.records.documents import (
    Bench,
    BreakEven,
    Check,
    Comparison,
    Figures,
    Row,
    Sample,
)
from benchmarks.records.statistics import Interval, Judgement
from common.backends import BACKENDS

Round = tuple[int, int]
"""A process of a row, and a round of that process."""
NOT_REACHED = "not measured when the benchmark ended"


class Measure(NamedTuple):
    """How a table shows samples: the head and unit of their column, and the head of the steps'."""

    name: str
    unit: str
    step: str


RATE = Measure("Examples/s", "", "ms a step")
START = Measure("Done after", " s", "ms a later step")


def case_of(row: Row) -> Case | type[Case]:
    """Return a row's case; for an unknown name the class, which has most cases' attributes."""
    return CASES.get(row["case"], Case)


def is_start(row: Row) -> bool:
    """Return whether a row's samples are starts of a process, shown in seconds and not as rates."""
    return case_of(row).in_new_processes


def measure_of(row: Row) -> Measure:
    """Return how a row's table shows its samples."""
    return START if is_start(row) else RATE


def case_name(row: Row) -> str:
    """Return a row's case, and its variant where there are several."""
    return f"{row['case']} ({row['variant']})" if row["variant"] else row["case"]


def label_of(key: str) -> str:
    """Return the backend and the track of a row's key, which tell a table's rows apart."""
    _, backend, track, *_ = [*key.split("/"), "", ""]
    return f"{BACKENDS.get(backend, backend)} {track}"


def batch_name(row: Row) -> str:
    """Return a row's batch size in words."""
    return f"batch {row['batch_size']}"


def row_title(row: Row) -> str:
    """Return the title of a row's table: its case, batch size and precision."""
    return f"{case_name(row)}, {batch_name(row)}, {row['precision']}"


def place(row: Row) -> tuple[object, ...]:
    """Return the conditions that rows of different cases may share."""
    names = network_name(row), row["recipe"], row["batch_size"], row["precision"], row["device"]
    return *names, *row["crop"]


def tables(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that may be compared with each other, a table each."""
    grouped: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["case"], row["variant"], *place(row)), []).append(row)
    return list(grouped.values())


class Beside(NamedTuple):
    """One row on several machines: the row of the first that has it, and of each its value."""

    row: Row
    values: list[Interval | None]


def side_by_side(documents: Sequence[Bench]) -> list[list[Beside]]:
    """Return by table the rows that several machines have figures of, the same row of each."""
    by_key = [{row["key"]: row for row in document["rows"]} for document in documents]
    every = {row["key"]: row for document in documents for row in document["rows"]}
    shared = []
    for key, first in every.items():
        rows = [machine.get(key) for machine in by_key]
        values = [
            interval_of(row, row["figures"]) if row and row["figures"] else None for row in rows
        ]
        if sum(value is not None for value in values) > 1:
            shared.append(Beside(first, values))
    entries = {entry.row["key"]: entry for entry in shared}
    return [[entries[row["key"]] for row in rows] for rows in tables([each.row for each in shared])]


def was_reached(rows: Sequence[Row]) -> bool:
    """Return whether a benchmark has come to the rows of a table before it ended."""
    return any(row["status"] != "running" for row in rows)


def not_reached(document: Bench) -> list[str]:
    """Return the titles of the tables that a benchmark has not come to before it ended."""
    return [row_title(rows[0]) for rows in tables(document["rows"]) if not was_reached(rows)]


def is_unfinished(document: Bench) -> bool:
    """Return whether a benchmark that can go on has ended before all rows were measured."""
    unfinished = any(row["status"] == "running" for row in document["rows"])
    return unfinished and not is_early(document["settings"])


def repeats(document: Bench) -> str:
    """Return in how many processes a row was measured, and in how many rounds of each.

    Starts of processes have no rounds, trainings have seeds.
    """
    settings, starts = document["settings"], [is_start(row) for row in document["rows"]]
    if is_early(settings):
        return counted(settings["rounds"], "round")
    if not starts:
        return counted(settings["processes"], "seed")
    processes = f"{counted(settings['processes'], 'process')} a row"
    if all(starts):
        return processes
    return f"{processes}, {counted(settings['rounds'], 'round')} each"


def paired_tests(rows: Sequence[Row], document: Bench) -> list[Comparison]:
    """Return the paired tests of one table."""
    keys = {row["key"] for row in rows}
    return [entry for entry in document["comparisons"] if {entry["a"], entry["b"]} <= keys]


def gate_heads(document: Bench) -> list[tuple[str, str]]:
    """Return title and track of the rows that came to a gate, by track as in the tables."""
    rows = [row for table in tables(document["rows"]) for row in table if row["gate"]]
    tracks = list(dict.fromkeys(row["track"] for row in rows))
    heads = dict.fromkeys((row["title"], row["track"]) for row in rows)
    return sorted(heads, key=lambda head: tracks.index(head[1]))


def gate_checks(
    rows: Sequence[Row], heads: Sequence[tuple[str, str]]
) -> dict[str, list[Check | None]]:
    """Return by quantity the checks of one table's gates, one a head; None where there is none.

    Those of the closing questions follow those that precede the turns.
    """
    checks = {
        (row["title"], row["track"]): row["gate"]["checks"] | closing_checks(row)
        for row in rows
        if row["gate"]
    }
    quantities = dict.fromkeys(name for by_quantity in checks.values() for name in by_quantity)
    return {name: [checks.get(head, {}).get(name) for head in heads] for name in quantities}


def closing_checks(row: Row) -> dict[str, Check]:
    """Return what the closing questions of a row found; early files have none."""
    if "closing" not in row:
        return {}
    checks = row["closing"]["checks"].items()
    return {f"after the last turn: {name}": check for name, check in checks}


def reason_of(row: Row) -> str | None:
    """Return why a row has no figures."""
    return NOT_REACHED if row["status"] == "running" else row["reason"]


def pixel_rate(figures: Figures) -> str:
    """Return how many pixels get a label in a second; nothing where the case has no such rate."""
    rate = figures.get("pixels_per_second")
    return "" if rate is None else f"{significant(rate / 1e6)} million pixels/s"


def finding(
    entry: Judgement, differ: str = "they differ", alike: str = "no difference shown"
) -> str:
    """Return in words what a test shows, or why it shows nothing."""
    if reason := entry.get("not_judged"):
        return f"not judged: {reason}"
    return differ if entry["differ"] else alike


def interval_of(row: Row, figures: Figures) -> Interval:
    """Return the interval of a row's values."""
    return figures["step_seconds" if is_start(row) else "examples_per_second"]


def later_step(row: Row, figures: Figures) -> float:
    """Return the milliseconds of a step after compilation."""
    steady = figures["steady_seconds"] if is_start(row) else figures["step_seconds"]["median"]
    return 1000 * steady


def values_of(row: Row) -> list[float]:
    """Return the value of each sample that counts; nothing where the row has no figure."""
    if row["figures"] is None:
        return []
    return [value_of(row, s["seconds"]) for s in row["samples"] if s["dropped"] is None]


def value_of(row: Row, seconds: float) -> float:
    """Return the value of a sample: examples a second, or the seconds of a start."""
    return seconds if is_start(row) else row["batch_size"] / seconds


def catching_up(even: BreakEven | None) -> str:
    """Return after how many steps a row has caught up with the row that starts fastest."""
    if even is None:
        return ""
    name = label_of(even["against"])
    if even["steps"] is None:
        return f"never catches up with {name}"
    return f"catches up with {name} after {counted(even['steps'], 'step')}"


def end_of_line(rows: Sequence[Row]) -> float:
    """Return the value at which the lines of a table's pictures end."""
    return 1.02 * max((value for row in rows for value in values_of(row)), default=1.0)


def rounds_of(rows: Sequence[Row]) -> list[Round]:
    """Return the rounds, process by process, in which any of the rows has a sample."""
    return sorted({round_of(sample) for row in rows for sample in row["samples"]})


def round_of(sample: Sample) -> Round:
    """Return a sample's process and its round in that process."""
    return sample["process"], sample["round"]


def chart(rows: Sequence[Row]) -> dict[str, object]:
    """Return the mean values of the rows with figures by round, a line a row: uPlot's data.

    A line has a gap where the next process begins.
    """
    places: list[Round | None] = []
    across: list[float] = []
    for number, place in enumerate(rounds_of(rows), start=1):
        if places and places[-1] and places[-1][0] != place[0]:
            places.append(None)
            across.append(number - 0.5)
        places.append(place)
        across.append(number)
    lines = [
        {
            "title": label_of(row["key"]),
            "track": row["track"],
            "color": backend_color(row["backend"]),
            "values": [place and value_in(row, place) for place in places],
        }
        for row in rows
        if row["figures"]
    ]
    return {"rounds": across, "lines": lines}


def value_in(row: Row, place: Round) -> float | None:
    """Return the value of a row's mean turn in one round; None where no turn counts."""
    turns = [
        sample["seconds"]
        for sample in row["samples"]
        if round_of(sample) == place and sample["dropped"] is None
    ]
    return value_of(row, sum(turns) / len(turns)) if turns else None


def round_rows(rows: Sequence[Row]) -> list[list[str]]:
    """Return the numbers of a chart: process, round, and the value of each line in it."""
    drawn = [row for row in rows if row["figures"]]
    return [
        [str(place[0] + 1), str(place[1] + 1)]
        + [significant(value_in(row, place)) for row in drawn]
        for place in rounds_of(rows)
    ]
