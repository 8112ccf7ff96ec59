"""What turns hide from the clock is found after the last of them, and is named."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.cases import closing as batches_of
from benchmarks.cases.closing import HARNESS, copied_batches
from benchmarks.records.documents import Row
from benchmarks.records.results import Results
from benchmarks.timing import members, turns
from benchmarks.timing.proof import closing, late
from tests.timing.test_turns import Clock, Device

STEPS = 4


class Watch:
    """The worker's clock, which runs at a ``speed`` of its own; with ``threads`` that are busy."""

    def __init__(self, time: Clock, speed: float = 1.0, threads: int = 1) -> None:
        self.time, self.speed, self.threads = time, speed, threads

    def perf_counter(self) -> float:
        return self.time.now * self.speed

    def process_time(self) -> float:
        return self.perf_counter() * self.threads

    def sleep(self, seconds: float) -> None:
        self.time.sleep(seconds)


class Lagging(Watch):
    """Is behind when steps have ended, and right when it is read again."""

    behind = 0.0

    def perf_counter(self) -> float:
        seconds, self.behind = super().perf_counter() - self.behind, 0.0
        return seconds


class Later(Device):
    """Waits until the gate and the calibration are over."""


class Woken(Device):
    """Does the steps of a turn in the one that wakes it up; the timed ones return what it gave."""

    known = 0

    def run(self, steps: int) -> None:
        done = min(steps, self.known)
        self.known -= done
        if steps > done:
            super().run(steps - done + STEPS)
            self.known = STEPS


class Untidy(Device):
    """Leaves garbage that somebody has to collect before the next steps."""

    garbage = 0.0

    def run(self, steps: int) -> None:
        super().run(steps)
        self.garbage += 2 * steps

    def collect(self) -> None:
        self.time.now += self.garbage
        self.garbage = 0.0


HIDDEN: dict[str, tuple[type[Device], dict[str, Any]]] = {
    "clock": (Device, {"speed": 0.5}),
    "cpus": (Device, {"threads": 3}),
    "late": (Later, {}),
    "outside": (Woken, {}),
}
SEEN_TOO = {"clock": {"outside"}}
"""Without these and the quantity itself, nobody would refuse what is hidden."""


def right(time: Clock, work: Any) -> Watch:
    return Watch(time)


def member_here(time: Clock, patch: pytest.MonkeyPatch) -> Any:
    """Return a row whose worker is this process; the parent's clock is right."""

    class Here(members.Member):
        def __init__(self) -> None:
            processes = [{"cpus": [*range(64)]}]  # As it says: it was given two.
            self.cpus, self.steps = 2, STEPS
            self.results = cast(Results, SimpleNamespace(document=None))
            row = {"case": "train", "precision": "float32", "processes": processes}
            self.row = cast(Row, row)

        def ask(self, task: str, **arguments: Any) -> Any:
            return getattr(turns, task.removeprefix("turns."))(turns, **arguments)

    parent: Any = type("Parent", (), {"monotonic": lambda: time.now})
    for module in (closing, members):
        patch.setattr(module, "time", parent)
    return Here()


def errors_of(
    kind: type[Device],
    watch_of: Callable[[Clock, Any], Watch],
    patch: pytest.MonkeyPatch,
    **device: Any,
) -> set[str]:
    """Return the quantities that are past their bounds."""
    time = Clock()
    work: Any = kind(time, waits=True, **device)
    patch.setattr("gc.collect", getattr(work, "collect", int))
    own = watch_of(time, work)
    for module in (turns, late):
        patch.setattr(module, "time", own)
    patch.setattr(turns.Turn, "work", work, raising=False)
    turns.rest()
    if isinstance(work, Later):
        work.waits = False

    member = member_here(time, patch)
    samples: Any = [member.turn() | {"other_cpu_share": 0.0} for _ in range(4)]
    errors = closing.turn_errors(member, samples)
    assert tuple(errors) == closing.OF_TURNS
    errors["late"] = closing.late_error(member, samples)
    assert errors.keys() == HARNESS.keys()
    bounds = CASES["train"].closing
    return {name for name, error in errors.items() if error > bounds[name]["float32"].limit}


def test_turns_that_hide_nothing_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors_of(Device, right, monkeypatch) == set()


@pytest.mark.parametrize("quantity", HIDDEN)
def test_what_turns_hide_is_named(quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, watch = HIDDEN[quantity]
    errors = errors_of(kind, lambda time, _: Watch(time, **watch), monkeypatch)
    assert errors == {quantity, *SEEN_TOO.get(quantity, ())}


def test_garbage_that_is_left_to_the_next_turn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors_of(Untidy, right, monkeypatch) == {"outside"}


def test_a_clock_that_is_right_after_the_steps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells a little more than half of their time, so that no turn is twice as long as told."""

    def lagging(time: Clock, work: Any) -> Watch:
        watch, run, finish = Lagging(time), work.run, work.finish
        began = 0.0

        def noted(steps: int) -> None:
            nonlocal began
            began = time.now
            run(steps)

        def finished() -> None:
            finish()
            watch.behind = 0.4 * (time.now - began)

        work.run, work.finish = noted, finished
        return watch

    assert errors_of(Device, lagging, monkeypatch) == {"clock"}


@pytest.mark.parametrize("beside", ["run", "collect", None])
def test_unknown_batches_are_not_done_beside_the_clock(
    beside: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Outcomes are known by their batch; those of all that lie on the device are made ``beside``.

    A step takes a second by the one clock. ``run`` is the step that wakes the worker up, and
    ``collect`` what frameworks do while garbage is collected.
    """
    time = Clock()

    class Work:
        backend = SimpleNamespace(synchronize=lambda value: None)

        def __init__(self) -> None:
            self.there, self.known, self.batches = [], set(), [("own",)]  # type: ignore[var-annotated]

        def to_device(self, array: Any) -> Any:
            if array.ndim == 4:
                self.there.append(array)
            return array

        def take(self, batches: list[Any]) -> None:
            self.batches = batches

        def run(self, steps: int) -> None:
            if beside == "run":
                self.collect()
            for number in range(steps):
                self.outcome(self.batches[number % len(self.batches)][0])

        def outcome(self, batch: Any) -> None:
            time.now += id(batch) not in self.known
            self.known.add(id(batch))

        def collect(self) -> None:
            for batch in self.there:
                self.outcome(batch)

        def finish(self) -> None:
            pass

    work: Any = Work()
    monkeypatch.setattr("gc.collect", work.collect if beside == "collect" else int)
    for module in (turns, batches_of):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(turns.Turn, "work", work, raising=False)
    turns.rest()
    member = member_here(time, monkeypatch)
    monkeypatch.setattr(closing, "watched", lambda *_: {"other_cpu_share": 0.0})
    assert member.turn()["seconds"] == 0.0
    np.savez(tmp_path / "inputs.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    error = closing.unseen_error(member, tmp_path / "inputs.npz", 0.5, 0, False)
    assert error == pytest.approx(1, abs=0.05)


def test_a_copy_that_does_a_steps_work_counts_as_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Clock()
    monkeypatch.setattr("benchmarks.cases.closing.time", time)
    package: Any = ModuleType("package")
    package.synchronize = lambda value: None
    inputs = {"images": np.zeros((2, 8, 8, 3), np.uint8), "order": np.array([0, 1, 1, 0])}

    def busy(array: Any) -> Any:
        time.now += 0.5
        return array

    batches, seconds = copied_batches(package, busy, inputs)
    assert seconds == pytest.approx(0.5, abs=0.01)
    assert len({batch[0].tobytes() for batch in batches}) == 1  # All black.
    assert copied_batches(package, lambda array: array, inputs)[1] == 0.0

    def quick(array: Any) -> Any:
        """Copies 10 GB in a second, and does a step of a fast card while it copies a batch."""
        time.now += array.nbytes / 1e10 + 0.008 * (array.ndim > 1)
        return array

    inputs["images"] = np.zeros((2, 1280, 1280, 3), np.uint8)
    assert copied_batches(package, quick, inputs)[1] == pytest.approx(0.005, abs=0.001)


def test_the_steps_after_the_unknown_batches_are_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A loader and a rate that the unknown batches replace come back."""

    class Work:
        backend = ModuleType("package")

        def __init__(self) -> None:
            self.batches, self.loader, self.rate = "own", "files", 1.0

        def take(self, batches: Any) -> None:
            self.batches, self.loader, self.rate = batches, "memory", 0.5

        def to_device(self, array: Any) -> Any:
            return array

        def run(self, steps: int) -> None:
            assert (self.loader, self.rate) == ("memory", 0.5)

        def finish(self) -> None:
            pass

    Work.backend.synchronize = lambda value: None  # type: ignore[attr-defined]
    work: Any = Work()
    monkeypatch.setattr(turns.Turn, "work", work, raising=False)
    np.savez(tmp_path / "inputs.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    package = ModuleType("package")
    taken = turns.take_unseen(package, str(tmp_path / "inputs.npz"), 0)
    turns.unseen_seconds(package, int(taken["steps"]))
    assert (work.batches, work.loader, work.rate) == ("own", "files", 1.0)


def test_one_disturbed_turn_of_two_is_no_lie() -> None:
    for is_busy in (False, True):
        assert closing.of_most_turns(np.array([40.0, 0.0]), is_busy) == 0.0
        assert closing.of_most_turns(np.array([40.0, 2.0]), is_busy) == 2.0


def test_half_of_the_turns_may_not_lie_and_a_busy_machine_disturbs_more() -> None:
    assert closing.of_most_turns(np.array([9.0] * 4 + [0.0] * 6), False) == 0.0
    assert closing.of_most_turns(np.array([9.0] * 5 + [0.0] * 5), False) == 9.0
    assert closing.of_most_turns(np.array([9.0] * 7 + [0.0] * 3), True) == 0.0
    assert closing.of_most_turns(np.array([3.0, 5.0, 4.0, 1.0, 2.0]), True) == 2.0


@pytest.mark.parametrize("speed", [0.9, 1.0])
def test_a_clock_that_is_a_tenth_slow_is_named_in_short_turns_too(speed: float) -> None:
    timed, request = 0.2, 0.004
    told = {"seconds": timed * speed / 4, "steps": 4, "turn_seconds": 1.25 * timed * speed}
    lasted = {"asked_seconds": 1.25 * timed + 2 * request, "clocked_seconds": timed + request}
    used = {"turn_cpu_seconds": 1.25 * timed * speed, "other_cpu_share": 0.02}
    sample: Any = {**told, **lasted, **used}
    member: Any = SimpleNamespace(
        ask=lambda task: None, row={"processes": [{"cpus": [0, 1]}], "case": "train"}, cpus=2
    )
    error = closing.turn_errors(member, [sample] * 10)["clock"]
    assert (error > HARNESS["clock"]["float32"].limit) == (speed < 1)


@pytest.mark.parametrize(
    "broken, share, is_said",
    [("late", 0.3, True), ("late", 0.05, False), ("late", None, False), ("loss", 0.3, False)],
)
def test_a_busy_machine_is_named_where_times_alone_are_past_their_bounds(
    broken: str, share: float | None, is_said: bool
) -> None:
    checks = {name: {"error": 0.1, "bound": 0.25} for name in ("late", "unseen", "loss")}
    checks[broken]["error"] = 0.6
    row: Any = {"samples": [{"other_cpu_share": share}]}
    said = closing.doubt(row, {"passed": False, "reason": "", "checks": checks})
    assert said.startswith("; other processes took 30 % of the CPUs") == is_said
    assert bool(said) == is_said


@pytest.mark.parametrize("share, passes", [(0.65, True), (0.05, False), (None, False)])
def test_a_request_may_take_longer_on_a_busy_machine(
    share: float | None, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns of 0.05 s, whose requests took 0.15 s more: other processes had the CPUs."""
    monkeypatch.setattr(closing, "seconds_of", lambda member, task: 0.0)
    member: Any = type("Member", (), {"row": {"processes": [{"cpus": [0, 1]}]}, "cpus": 2})
    turn: Any = {"turn_seconds": 0.05, "asked_seconds": 0.2, "seconds": 0.025, "steps": 2}
    turn["clocked_seconds"] = 0.2
    samples = [turn | {"turn_cpu_seconds": 0.05, "other_cpu_share": share}] * 2
    errors = closing.turn_errors(member, samples)
    bounds = CASES["loss"].closing
    within = all(errors[name] <= bounds[name]["float32"].limit for name in errors)
    assert within == passes
