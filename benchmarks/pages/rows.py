"""A benchmark's rows: in words, as cells of the page's tables, round by round, and in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from benchmarks.cases import CASES
from benchmarks.cases.case import Case
from benchmarks.pages.format import DASH, significant, size, span
from benchmarks.pages.html import Strip, Value, backend_color, strip
from benchmarks.records.documents import BreakEven, Comparison, Figures, Judgement, Row
from benchmarks.records.statistics import LEVEL
from common.backends import BACKENDS

NOT_REACHED = "not measured when the benchmark ended"


class Measure(NamedTuple):
    """What is told of the samples of a table: its head and unit, and the head of a step's time."""

    name: str
    unit: str
    step: str


RATE = Measure("Examples/s", "", "ms a step")
START = Measure("Done after", " s", "ms a later step")


class Pair(NamedTuple):
    """A paired test of two rows, in words."""

    names: str
    ratio: str
    interval: str
    p_value: str
    finding: str


class Line(TypedDict):
    """What is told of one row by round, as uPlot draws it; null where a round has no sample."""

    title: str
    track: str
    color: int
    values: list[float | None]


class Chart(TypedDict):
    """The lines of one table's rows with figures."""

    rounds: list[int]
    lines: list[Line]


@dataclass(frozen=True)
class RowView:
    """A row of the page. One without figures has a reason, and nothing to sort it by."""

    backend: str
    title: str
    track: str
    status: str
    reason: str | None
    figures: list[Value]
    strip: Strip | None
    notes: list[str]
    order: dict[str, float]


def case_of(row: Row) -> Case | type[Case]:
    """Return a row's case; a name that is unknown here has the attributes that most cases have."""
    return CASES.get(row["case"], Case)


def is_start(row: Row) -> bool:
    """Tell whether a row's samples are starts of a process, told in seconds and not as rates."""
    return case_of(row).in_new_processes


def measure_of(row: Row) -> Measure:
    """Return what is told of a row's samples."""
    return START if is_start(row) else RATE


def case_name(row: Row) -> str:
    """Return a row's case, and its variant where there are several."""
    return f"{row['case']} ({row['variant']})" if row["variant"] else row["case"]


def batch_name(row: Row) -> str:
    """Return a row's batch size in words."""
    return f"batch {row['batch_size']}"


def row_title(row: Row) -> str:
    """Return what the rows of one table share, and another table's do not."""
    return f"{case_name(row)}, {batch_name(row)}, {row['precision']}"


def place(row: Row) -> tuple[object, ...]:
    """Return what the tables of several cases share."""
    names = row["backbone"], row["recipe"], row["batch_size"], row["precision"], row["device"]
    return *names, *row["crop"]


def tables(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows that may be compared with each other, a table each."""
    grouped: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["case"], row["variant"], *place(row)), []).append(row)
    return list(grouped.values())


def was_reached(rows: Sequence[Row]) -> bool:
    """Tell whether a benchmark has come to the rows of a table before it ended."""
    return any(row["status"] != "running" for row in rows)


def is_unfinished(rows: Sequence[Row]) -> bool:
    """Tell whether a benchmark has ended before all rows were measured."""
    return any(row["status"] == "running" for row in rows)


def reason_of(row: Row) -> str | None:
    """Return why a row has no figures."""
    return NOT_REACHED if row["status"] == "running" else row["reason"]


def pixel_rate(figures: Figures) -> str:
    """Return how many pixels get a label in a second; nothing where that is not told."""
    rate = figures.get("pixels_per_second")
    return "" if rate is None else f"{significant(rate / 1e6)} million pixels/s"


def finding(
    entry: Judgement, differ: str = "they differ", alike: str = "no difference shown"
) -> str:
    """Return what a test found, in words; one that could find nothing shows nothing."""
    if entry["differ"]:
        return differ
    if entry.get("least_p", 0.0) < LEVEL:
        return alike
    return f"too few {'pairs' if 'pairs' in entry else 'samples'} to tell"


def values_of(row: Row) -> list[float]:
    """Return what is told of a row's samples, one by one; nothing where it has no figure."""
    if row["figures"] is None:
        return []
    return [shown(row, s["seconds"]) for s in row["samples"] if s["dropped"] is None]


def shown(row: Row, seconds: float) -> float:
    """Return what is told of a sample: examples a second, or the seconds of a start."""
    return seconds if is_start(row) else row["batch_size"] / seconds


def row_view(row: Row, top: float) -> RowView:
    """Return one row of the page, its samples on a line from 0 to ``top``."""
    figures = row["figures"]
    view = (row["backend"], row["title"], row["track"], row["status"], reason_of(row))
    if figures is None:
        return RowView(*view, [], None, [], {})
    values = figures["step_seconds"] if is_start(row) else figures["examples_per_second"]
    notes = list(row["warnings"])
    if dropped := figures["dropped_samples"]:
        notes.insert(0, f"{dropped} of {len(row['samples'])} samples dropped: throttled")
    memory, on_device = figures["host_memory_peak_bytes"], figures["device_memory_peak_bytes"]
    order = {
        "rate": -figures["examples_per_second"]["median"],
        "first": figures["first_step_seconds"],
        "memory": on_device or memory,
    }
    line = strip(values, values_of(row), top)
    return RowView(*view, row_values(row, figures), line, notes, order)


def row_values(row: Row, figures: Figures) -> list[Value]:
    """Return the cells of a row that has figures."""
    measure = measure_of(row)
    values, step = figures["examples_per_second"], figures["step_seconds"]["median"]
    if is_start(row):
        values, step = figures["step_seconds"], figures["steady_seconds"]
    itself, limit, device = (
        figures["self_ratio"],
        figures["limit"],
        figures["device_memory_peak_bytes"],
    )
    return [
        Value(
            measure.name, significant(values["median"]) + measure.unit, span(values) + measure.unit
        ),
        Value(measure.step, significant(1000 * step, 4), pixel_rate(figures)),
        Value("Of the limit", f"{limit['fraction']:.0%}", limit["bound"])
        if limit
        else Value("Of the limit", DASH),
        Value(
            "First step",
            f"{figures['first_step_seconds']:.2f} s",
            catching_up(figures["break_even"]),
            "even",
        ),
        Value(
            "Peak memory",
            size(figures["host_memory_peak_bytes"]),
            f"device {size(device)}" if device else "",
        ),
        Value("Against itself", f"{itself['low']:.2f} to {itself['high']:.2f}" if itself else DASH),
    ]


def catching_up(even: BreakEven | None) -> str:
    """Return after how many steps a longer first step has been caught up."""
    if even is None:
        return ""
    backend, track = even["against"].split("/")[1:3]
    name = f"{BACKENDS.get(backend, backend)} {track}"
    if even["steps"] is None:
        return f"never catches up with {name}"
    return f"catches up with {name} after {even['steps']} steps"


def pair(entry: Comparison, rows: dict[str, Row]) -> Pair:
    """Return one paired test as words."""
    a, b = (f"{row['title']} {row['track']}" for row in (rows[entry["a"]], rows[entry["b"]]))
    interval = f"{entry['low']:.3f} to {entry['high']:.3f}"
    p_value = f"{entry['p_corrected']:.3g}"
    return Pair(f"{b} over {a}", f"{entry['ratio']:.3f}", interval, p_value, finding(entry))


def chart(rows: Sequence[Row]) -> Chart:
    """Return what is told of the rows by round, a line a row: uPlot's data."""
    rounds = sorted({sample["round"] for row in rows for sample in row["samples"]})
    return {
        "rounds": rounds,
        "lines": [
            {
                "title": f"{row['title']} {row['track']}",
                "track": row["track"],
                "color": backend_color(row["backend"]),
                "values": [value_in(row, number) for number in rounds],
            }
            for row in rows
            if row["figures"]
        ],
    }


def value_in(row: Row, number: int) -> float | None:
    """Return what is told of a row's turns in one round."""
    turns = [
        sample["seconds"]
        for sample in row["samples"]
        if sample["round"] == number and sample["dropped"] is None
    ]
    return shown(row, sum(turns) / len(turns)) if turns else None


def round_rows(chart: Chart) -> list[list[str]]:
    """Return the numbers of a chart: a round, and the value of each line in it."""
    return [
        [str(number), *(DASH if value is None else significant(value) for value in values)]
        for number, *values in zip(
            chart["rounds"], *(line["values"] for line in chart["lines"]), strict=True
        )
    ]
