"""The types of `calibration.json`, the samples of `fcn bench calibrate`.

The document holds samples; ``records.calibration.shares`` computes from them how often a test is
wrong.
"""

from typing import Annotated, Literal, TypedDict

from benchmarks.records.documents import Process, Seconds, Settings
from benchmarks.records.proof_documents import Origin
from common.documents import Positive, Share

PLAIN_ROWS = 4
"""Plain rows of a group: as many as there are slowdowns, so that each slowed row has a plain row
of its own to be compared with."""


class PlantedRow(TypedDict):
    """One process of a group.

    Attributes:
        slowdown: The planted share of a step's time; 0: a plain row.
        seconds: Of a step, turn by turn, two a round, without dropped samples.
        other_cpu_share: The mean share of all CPUs that other processes took in the row's turns.
        reason: Why the row is in no comparison: it failed, the machine was busy, or a sample was
            dropped.
    """

    slowdown: Share
    seconds: list[Seconds]
    other_cpu_share: float | None
    reason: str | None


class Group(TypedDict):
    """Fresh processes of one backend, measured side by side: all plain rows, then the slowed ones.

    Attributes:
        started: When.
        minutes: From then until all had ended.
    """

    started: str
    minutes: Annotated[float, ("exclusiveMinimum", 0), ("maximum", 1e6)]
    rows: list[PlantedRow]


class Budget(TypedDict):
    """When a calibration ends: after so many minutes, or comparisons of two plain rows."""

    minutes: Annotated[float, ("exclusiveMinimum", 0), ("maximum", 1e6)] | None
    comparisons: Positive | None


class Calibration(Origin):
    """Results of fcn bench calibrate: samples of rows whose true ratios are known.

    Attributes:
        settings: As of a benchmark with one row.
        slowdowns: The planted shares, one a row.
        process: Of the first row that was set up; all later ones have its versions and device.
    """

    version: Literal[1]
    kind: Literal["calibration"]
    settings: Settings
    budget: Budget
    slowdowns: Annotated[list[Share], ("minItems", 1), ("maxItems", PLAIN_ROWS)]
    process: Process | None
    groups: list[Group]
