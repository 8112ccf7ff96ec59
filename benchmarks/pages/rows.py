"""A benchmark's rows: their tables, their words, and their samples round by round."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from benchmarks.cases import CASES
from benchmarks.cases.case import Case
from benchmarks.pages.format import DASH, significant
from benchmarks.pages.html import backend_color
from benchmarks.records.documents import BreakEven, Figures, Row
from benchmarks.records.run_documents import Interval
from benchmarks.records.statistics import LEVEL, Judgement
from common.backends import BACKENDS

NOT_REACHED = "not measured when the benchmark ended"


class Measure(NamedTuple):
    """How a table shows its samples: their head and unit, and the head of the time of a step."""

    name: str
    unit: str
    step: str


RATE = Measure("Examples/s", "", "ms a step")
START = Measure("Done after", " s", "ms a later step")


class Line(TypedDict):
    """The mean value of one row by round, as uPlot draws it; null where a round has no sample."""

    title: str
    track: str
    color: int
    values: list[float | None]


class Chart(TypedDict):
    """The lines of one table's rows with figures."""

    rounds: list[int]
    lines: list[Line]


def case_of(row: Row) -> Case | type[Case]:
    """Return a row's case; a name that is unknown here has the attributes that most cases have."""
    return CASES.get(row["case"], Case)


def is_start(row: Row) -> bool:
    """Tell whether a row's samples are starts of a process, shown in seconds and not as rates."""
    return case_of(row).in_new_processes


def measure_of(row: Row) -> Measure:
    """Return how a row's table shows its samples."""
    return START if is_start(row) else RATE


def case_name(row: Row) -> str:
    """Return a row's case, and its variant where there are several."""
    return f"{row['case']} ({row['variant']})" if row["variant"] else row["case"]


def label_of(key: str) -> str:
    """Return the backend and the track of a row's key: they tell it from others of its table."""
    _, backend, track, *_ = [*key.split("/"), "", ""]
    return f"{BACKENDS.get(backend, backend)} {track}"


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
    """Return how many pixels get a label in a second; nothing where the case has no such rate."""
    rate = figures.get("pixels_per_second")
    return "" if rate is None else f"{significant(rate / 1e6)} million pixels/s"


def finding(
    entry: Judgement, differ: str = "they differ", alike: str = "no difference shown"
) -> str:
    """Return what a test shows, in words; with too few samples it could show no difference."""
    if entry["differ"]:
        return differ
    if entry.get("least_p", 0.0) < LEVEL:
        return alike
    return f"too few {'pairs' if 'pairs' in entry else 'samples'} to tell"


def interval_of(row: Row, figures: Figures) -> Interval:
    """Return the interval of a row's values."""
    return figures["step_seconds" if is_start(row) else "examples_per_second"]


def later_step(row: Row, figures: Figures) -> float:
    """Return the milliseconds of a step once all is compiled."""
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
    """Return after how many steps a longer first step has been caught up."""
    if even is None:
        return ""
    name = label_of(even["against"])
    if even["steps"] is None:
        return f"never catches up with {name}"
    return f"catches up with {name} after {even['steps']} steps"


def chart(rows: Sequence[Row]) -> Chart:
    """Return the values of the rows by round, a line a row: uPlot's data."""
    rounds = sorted({sample["round"] for row in rows for sample in row["samples"]})
    return {
        "rounds": rounds,
        "lines": [
            {
                "title": label_of(row["key"]),
                "track": row["track"],
                "color": backend_color(row["backend"]),
                "values": [value_in(row, number) for number in rounds],
            }
            for row in rows
            if row["figures"]
        ],
    }


def value_in(row: Row, number: int) -> float | None:
    """Return the value of a row's mean turn in one round; None where no turn counts."""
    turns = [
        sample["seconds"]
        for sample in row["samples"]
        if sample["round"] == number and sample["dropped"] is None
    ]
    return value_of(row, sum(turns) / len(turns)) if turns else None


def round_rows(chart: Chart) -> list[list[str]]:
    """Return the numbers of a chart: a round, and the value of each line in it."""
    return [
        [str(number), *(DASH if value is None else significant(value) for value in values)]
        for number, *values in zip(
            chart["rounds"], *(line["values"] for line in chart["lines"]), strict=True
        )
    ]
