"""Rows that several benchmarks have measured on one kind of machine, and what changed in between.

A line is one row through time. None of its steps crosses two kinds of machine or two recipes, nor
anything else that `fcn bench diff` does not compare.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from benchmarks.records.diff import Change, compared, incomparable
from benchmarks.records.documents import Bench, Row
from benchmarks.records.figures import kept_seconds
from benchmarks.records.machines.parts import HOSTS
from benchmarks.records.results import RESULTS, read_document
from common.errors import InputError
from common.machine.files import json_digest
from common.machine.provenance import ALIKE


@dataclass(frozen=True)
class Stored:
    """A benchmark's results and where they lie."""

    path: Path
    document: Bench

    @cached_property
    def time(self) -> datetime:
        """When the benchmark began, in UTC."""
        return datetime.fromisoformat(self.document["created"]).astimezone(UTC)


@dataclass(frozen=True)
class Point:
    """A row of a file."""

    stored: Stored
    row: Row

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the backend's packages."""
        return self.row["processes"][-1]["backend"]["versions"]


@dataclass(frozen=True)
class Step:
    """A point and the latest earlier one of its line that it may be compared with.

    Where it may be compared with none, ``before`` is the last one, and ``reason`` says why not.
    """

    before: Point
    after: Point
    change: Change | None
    reason: str | None


@dataclass(frozen=True)
class Line:
    """One row in several files, in the order of time, with a step to each but the first."""

    points: list[Point]
    steps: list[Step]


@dataclass(frozen=True)
class Panel:
    """Lines that share a picture: of one table of rows, on one kind of machine.

    Attributes:
        machine: Its processor, CPUs, system and GPU.
        files: In which any of the lines has a point, in the order of time.
    """

    machine: tuple[str, ...]
    lines: list[Line]
    files: list[Stored]


@dataclass(frozen=True)
class History:
    """What several files tell together.

    Attributes:
        files: In the order of time.
        panels: Of the rows that two files or more have figures of.
        once: How many rows only one file has figures of.
    """

    files: list[Stored]
    panels: list[Panel]
    once: int


def stored_benchmarks(places: Iterable[Path]) -> list[Stored]:
    """Return the benchmarks in files, in folders and in the folders below, in the order of time.

    A copy of another one counts once.

    Raises:
        InputError: For a place without a benchmark, or a file that is none.
    """
    files: dict[str, Stored] = {}
    for place in places:
        paths = [place]
        if place.is_dir():
            paths = [path for path in sorted(place.rglob(RESULTS)) if not is_part(path)]
        if not paths:
            raise InputError(
                f"{place}: holds no {RESULTS}, and no folder below does; name a folder of results "
                "that `fcn bench` wrote"
            )
        for path in paths:
            document = read_document(path, Bench)
            files.setdefault(json_digest(document), Stored(path, document))
    return sorted(files.values(), key=lambda stored: stored.time)


def is_part(path: Path) -> bool:
    """Tell whether a file of one host is part of that of its kind, which lies two folders above."""
    hosts = path.parent.parent
    return hosts.name == HOSTS and (hosts.parent / RESULTS).is_file()


def history_of(files: Sequence[Stored]) -> History:
    """Return the rows of ``files``, which are in the order of time, as lines."""
    groups: dict[tuple[object, ...], dict[str, list[Point]]] = {}
    for stored in files:
        for row in stored.document["rows"]:
            if row["status"] == "ok" and kept_seconds(row):
                lines = groups.setdefault(table_of(stored.document, row), {})
                lines.setdefault(row["key"], []).append(Point(stored, row))
    panels, once = [], 0
    for lines in groups.values():
        several = [points for points in lines.values() if len(points) > 1]
        once += len(lines) - len(several)
        if several:
            panels.append(panel_of(several))
    return History(list(files), panels, once)


def table_of(document: Bench, row: Row) -> tuple[object, ...]:
    """Return what all rows of one picture share."""
    recipe = json_digest(document["settings"].get("own_recipe"))
    network = row["backbone"], row.get("head", "fcn32s"), row["recipe"], recipe
    sizes = row["batch_size"], *row["crop"], row["precision"], row["device"]
    return machine_of(document, row), row["case"], row["variant"], *network, *sizes


def machine_of(document: Bench, row: Row) -> tuple[str, ...]:
    """Return the kind of machine that a row was measured on; its GPU only where that was used."""
    gpus = sorted({sample["gpu"]["name"] for sample in row["samples"] if sample["gpu"]})
    hardware: dict[str, object] = {**document["hardware"]}
    return *(str(hardware[name]) for name in ALIKE), *gpus


def panel_of(lines: Sequence[list[Point]]) -> Panel:
    """Return the points of one table as lines, their changes tested and judged together."""
    steps = [
        (earlier_of(points[:number], after), after)
        for points in lines
        for number, after in enumerate(points)
        if number
    ]
    reasons = [incomparable(before.row, after.row) for before, after in steps]
    tested = [pair for pair, reason in zip(steps, reasons, strict=True) if reason is None]
    changes = iter(compared([(before.row, after.row) for before, after in tested]))
    told = iter(
        Step(before, after, None if reason else next(changes), reason)
        for (before, after), reason in zip(steps, reasons, strict=True)
    )
    whole = [Line(points, [next(told) for _ in points[1:]]) for points in lines]
    files = {point.stored.path: point.stored for points in lines for point in points}
    first = lines[0][0]
    machine = machine_of(first.stored.document, first.row)
    return Panel(machine, whole, sorted(files.values(), key=lambda stored: stored.time))


def earlier_of(points: Sequence[Point], after: Point) -> Point:
    """Return the latest of earlier points that a point may be compared with, else the latest."""
    alike = [point for point in points if incomparable(point.row, after.row) is None]
    return (alike or points)[-1]
