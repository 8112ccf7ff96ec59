"""How far something has come: a bar on a terminal, lines elsewhere."""

import os
import pty
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from common.machine import progress

PROGRAM = """
from common.machine.progress import tracked
for _ in tracked(range(3), 3, "step", "trace"):
    pass
"""


class Clock:
    """Seconds that pass by as a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    monkeypatch.delenv(progress.ON_TERMINAL, raising=False)
    return clock


def test_where_there_is_no_terminal_there_are_lines_soon_then_one_a_minute_and_one_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.tracked(range(20), 20, "step", "trace"):
        clock.now += 8
    assert capsys.readouterr().err.splitlines() == [
        "trace: 0 of 20 steps",
        "trace: 2 of 20 steps, 2:24 left (8 s a step)",
        "trace: 5 of 20 steps, 2:00 left (8 s a step)",
        "trace: 9 of 20 steps, 1:28 left (8 s a step)",
        "trace: 17 of 20 steps, 0:24 left (8 s a step)",
        "trace: 20 of 20 steps in 2:40",
    ]


def test_the_end_is_said_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.tracked("ab", 2, "backend"):
        clock.now += 12
    assert capsys.readouterr().err.splitlines() == [
        "0 of 2 backends",
        "1 of 2 backends, 0:12 left (12 s a backend)",
        "2 of 2 backends in 0:24",
    ]


def test_what_was_done_before_counts_and_not_for_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.counter(100, "step", initial=40) as lines:
        clock.now += 61
        lines.set_postfix(loss="2.5")
        lines.update(10)
        lines.write("epoch 1")
        lines.close()
    assert capsys.readouterr().err.splitlines() == [
        "40 of 100 steps",
        "50 of 100 steps, loss 2.5, 5:05 left (6.1 s a step)",
        "epoch 1",
        "50 of 100 steps, loss 2.5 in 1:01",
    ]


def test_bytes_of_an_unknown_number_are_shown_in_mebibytes(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.counter(None, "B", "file.tar") as lines:
        clock.now += 90
        lines.update(3 * 2**20)
    assert capsys.readouterr().err.splitlines() == [
        "file.tar: 0 MiB",
        "file.tar: 3 MiB",
        "file.tar: 3 MiB in 1:30",
    ]


def test_what_ends_soon_shows_nothing_where_that_is_wanted(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress.tracked(range(4), 4, "image", delay=5):
        clock.now += 1
    assert capsys.readouterr().err == ""
    for _ in progress.tracked(range(80), 80, "image", delay=5):
        clock.now += 1
    assert capsys.readouterr().err.splitlines() == [
        "5 of 80 images, 1:15 left (1 s an image)",
        "25 of 80 images, 0:55 left (1 s an image)",
        "55 of 80 images, 0:25 left (1 s an image)",
        "80 of 80 images in 1:20",
    ]


def test_what_nothing_counts_is_told_by_its_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[float] = []

    class Ended:
        """Waits in the clock's time; the block ends after 2 minutes."""

        is_set = False

        def wait(self, seconds: float) -> bool:
            asked.append(seconds)
            clock.now += seconds
            return clock.now >= 150

        def set(self) -> None:
            self.is_set = True

    monkeypatch.setattr(progress, "Event", Ended)
    with progress.waiting_shown("float64 reference"):
        while clock.now < 150:
            time.sleep(0.01)
    assert asked == [10, 20, 30, 60, 60]
    assert capsys.readouterr().err.splitlines() == [
        f"float64 reference: {passed} so far" for passed in ("0:10", "0:30", "1:00", "2:00")
    ]


def test_one_long_step_is_told_by_its_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.counter(3, "step", "training") as lines:
        for seconds in (9, 2, 20):
            clock.now += seconds
            due = lines.tell()
        lines.update(3)
        assert due == 30
    assert lines.tell() <= 30 and capsys.readouterr().err.splitlines() == [
        "training: 0 of 3 steps",
        "training: 0 of 3 steps, 0:11 so far",
        "training: 0 of 3 steps, 0:31 so far",
        "training: 3 of 3 steps in 0:31",
    ]


def test_a_thread_tells_it_and_ends_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(progress.ON_TERMINAL, raising=False)
    monkeypatch.setattr(progress, "LINE_SECONDS", (0.01, 0.02))
    before = threading.active_count()
    printed = ""
    with progress.counter(3, "step"):
        while "so far" not in printed:
            time.sleep(0.01)
            printed += capsys.readouterr().err
    abandoned = progress.counter(3, "step")
    del abandoned
    while threading.active_count() > before:
        time.sleep(0.01)


def test_what_is_hidden_prints_what_is_written_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.counter(3, "step", hidden=True) as lines:
        lines.update()
        lines.write("epoch 1")
    assert capsys.readouterr().err == "epoch 1\n"


def test_a_bar_is_drawn_on_a_terminal_and_never_in_a_pipe() -> None:
    command: list[Any] = [sys.executable, "-c", PROGRAM]
    environment = {k: v for k, v in os.environ.items() if k != progress.ON_TERMINAL}
    piped = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert piped.stderr.splitlines()[0] == "trace: 0 of 3 steps" and "\r" not in piped.stderr
    # A child whose parent passes its messages on to a terminal.
    passed_on = {**environment, progress.ON_TERMINAL: "1"}
    child = subprocess.run(command, capture_output=True, text=True, env=passed_on, check=True)
    assert "3/3" in child.stderr and "step/s" in child.stderr
    ours, theirs = pty.openpty()
    subprocess.run(command, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    assert b"3/3" in os.read(ours, 10_000)
    os.close(ours)


def test_without_tqdm_there_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(progress.ON_TERMINAL, "1")
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    assert list(progress.tracked("ab", 2, "file")) == ["a", "b"]
    assert capsys.readouterr().err.startswith("0 of 2 files\n")
