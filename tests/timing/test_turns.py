"""A turn ends when all is computed, and its memory is that of steps alone."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.timing import turns
from benchmarks.timing.plants import changed
from benchmarks.timing.proof.late import late_bound
from common.config import Config
from common.machine.provenance import host_memory_peak
from common.recipes import make_recipe
from tests.conftest import PRESENT
from tests.support.commands import bench, check_whole
from tests.support.stand_in import HOARD


class Clock:
    """Time that passes only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    process_time = perf_counter

    def sleep(self, seconds: float) -> None:
        self.now += seconds


OUTCOME = np.broadcast_to(np.float32(0), (125_000_000,))
"""Of so many bytes that a copy takes half a second."""


class Device:
    """A device that works a queue off beside the host: a step a second, copies half a second.

    ``behind`` of each step's work is queued behind what ``finish`` waits for. A ``lazy`` one does
    nothing before it is asked for the outcome; one that ``forgets`` then does the last step alone.
    One that ``drops`` does a step alone of those that were queued when ``finish`` comes. The first
    step of a ``cold`` one is so many seconds longer.
    """

    steps_together = 1
    own = ("a batch",)
    config = None

    def __init__(
        self,
        time: Clock,
        *,
        waits: bool,
        behind: float = 0,
        lazy: bool = False,
        drops: bool = False,
        cold: float = 0,
        forgets: bool = False,
    ) -> None:
        self.time, self.waits, self.behind, self.lazy = time, waits, behind, lazy
        self.drops, self.cold, self.forgets = drops, cold, forgets
        self.backend = SimpleNamespace(
            to_device=lambda array, config: array,
            synchronize=lambda value: None,
            to_host=lambda value: time.sleep(0.5),
        )
        self.longer = 0.0
        self.free = self.pending = 0.0
        self.copied = True

    def run(self, steps: int) -> None:
        self.time.now += 0.001 * steps
        self.copied = False
        self.free, self.longer = max(self.free, self.time.now) + self.longer, 0.0
        if self.lazy:
            self.pending = 1 if self.forgets else self.pending + steps
        else:
            self.free += 1 if self.drops else steps

    def collect(self) -> None:
        """What a turn does before its steps: the caches forget them."""
        self.longer = self.cold

    def finish(self) -> None:
        if self.waits:
            self.time.now = max(self.time.now, self.free - self.behind)

    def read(self) -> Any:
        self.time.now = max(self.time.now, self.free) + self.pending + 0.5 * (not self.copied)
        self.pending, self.copied = 0.0, True
        return [OUTCOME]


@pytest.mark.parametrize(
    "device, late",
    [
        ({"waits": True}, 0.0),
        ({"waits": False}, 1.0),
        ({"waits": True, "behind": 0.3}, 0.3),
        ({"waits": True, "lazy": True}, 1.0),
        ({"waits": True, "lazy": True, "forgets": True}, 0.5),
        ({"waits": True, "drops": True}, 1.0),
        ({"waits": True, "cold": 9}, 0.0),
    ],
)
def test_what_is_left_when_a_turn_has_ended_is_found(
    device: dict[str, float], late: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Clock()
    work = Device(time, **device)
    monkeypatch.setattr(turns, "time", time)
    monkeypatch.setattr("benchmarks.timing.proof.late.time", time)
    monkeypatch.setattr("gc.collect", work.collect)
    monkeypatch.setattr(turns.Turn, "work", work, raising=False)
    calibration = turns.calibrate(turns, seconds=3, least=2)
    assert calibration["late_seconds"] == pytest.approx(late, abs=0.01)


class Unread:
    """Logits that are computed when somebody asks for them, if ever."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.value = cache(compute)


def predicting_late(package: ModuleType, *, when_waited_for: bool) -> ModuleType:
    """Let predictions be computed when they are read, or else when they are waited for."""

    def synchronize(value: Any) -> None:
        if not isinstance(value, Unread):
            package.synchronize(value)
        elif when_waited_for:
            package.synchronize(value.value())

    return changed(
        package,
        predict_step=lambda *batch: Unread(lambda: package.predict_step(*batch)),
        synchronize=synchronize,
        to_host=lambda value: package.to_host(
            value.value() if isinstance(value, Unread) else value
        ),
    )


def left_of(package: ModuleType, case: str, folder: Path, patch: pytest.MonkeyPatch) -> float:
    """Return the work that a backend leaves, as a share of what is allowed."""
    recipe = replace(make_recipe("chapter-torch"), batch_size=2, crop=(96, 128))
    config, measured = Config(recipe, device="cpu"), CASES[case]
    work = measured.work(package, config, measured.inputs(None, config, folder))
    work.answer()
    patch.setattr(turns.Turn, "work", work, raising=False)
    calibration = turns.calibrate(package, seconds=0.1, least=2)
    clocked = calibration["late_steps"] * calibration["step_seconds"]
    return calibration["late_seconds"] / late_bound(clocked)


@pytest.mark.parametrize(
    "backend_name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == PRESENT[0] else pytest.mark.release)
        for name in PRESENT
    ],
    indirect=True,
)
@pytest.mark.parametrize(
    "when_waited_for",
    # Beside a worker that computes too, the times of few steps are too restless.
    [False, pytest.param(True, marks=pytest.mark.release)],
)
def test_predictions_that_are_never_computed_are_found(
    backend: ModuleType, when_waited_for: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = predicting_late(backend, when_waited_for=when_waited_for)
    assert left_of(package, "predict", tmp_path, monkeypatch) > 1


@pytest.mark.release
@pytest.mark.parametrize("case", ["train", "backward", "predict", "upsample", "loss"])
def test_nothing_is_left_by_a_backend_that_waits(
    case: str, backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert left_of(backend, case, tmp_path, monkeypatch) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel resets the peak")
def test_what_the_proof_needed_is_no_memory_of_a_step(tmp_path: Path) -> None:
    _, rows = bench(tmp_path, "hoards", "fine")
    check_whole(rows["hoards"])
    hoards, fine = (rows[mood]["figures"]["host_memory_peak_bytes"] for mood in ("hoards", "fine"))
    assert abs(hoards - fine) < HOARD / 4
    assert all(row["processes"][0]["host_memory_peak_reset"] for row in rows.values())


def test_where_the_peak_cannot_be_reset_the_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert not turns.forget_peak()
    assert host_memory_peak() > 2**20
