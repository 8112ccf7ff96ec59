"""`fcn bench calibrate` from end to end, with a stand-in; what it plants is what it says."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main as fcn
from benchmarks.commands.bench import calibrate
from benchmarks.records.calibration.documents import PLAIN_ROWS, Calibration
from benchmarks.records.results import CALIBRATION, read_document
from benchmarks.timing import calibration as measuring
from benchmarks.timing import plants
from benchmarks.workers.client import WorkerFailed
from tests.support.bench_sample import sample_bench, sample_calibration
from tests.support.commands import refused
from tests.support.interpreters import stand_in

ROUNDS = 3


class Clock:
    """A clock that a step moves; looking at it takes a microsecond."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now


class Steps:
    """Work whose steps are queued, and take as long as they are told when they are waited for."""

    def __init__(self, clock: Clock, lengths: list[float]) -> None:
        self.clock, self.lengths, self.queued = clock, itertools.cycle(lengths), 0

    def run(self, steps: int) -> None:
        self.queued += steps

    def finish(self) -> None:
        for _ in range(self.queued):
            self.clock.now += next(self.lengths)
        self.queued = 0


@pytest.mark.parametrize("share", plants.SLOWDOWNS)
def test_a_slowed_row_takes_exactly_so_much_longer(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    for slowdown in (0.0, share):
        clock = Clock()
        monkeypatch.setattr(plants, "time", clock)
        work: Any = Steps(clock, [0.030, 0.025, 0.040])
        plants.pause_after_steps(work, plants.PAUSES[plants.slowed(slowdown)])
        work.run(300)
        work.finish()
        taken.append(clock.now)
    assert taken[1] / taken[0] == pytest.approx(1 + share, abs=2e-4)
    assert taken[0] == pytest.approx((1 + plants.PAUSE) * 300 * 0.095 / 3, rel=1e-3)


def command(folder: Path, comparisons: int) -> list[str]:
    python = f"torch={stand_in(folder, 'fine')}"
    options = ["--python", python, "--case", "loss", "--comparisons", str(comparisons)]
    options += ["--rounds", str(ROUNDS), "--seconds", "0.01", "--out", str(folder / "out")]
    return ["bench", "calibrate", *options]


@pytest.mark.slow
def test_a_killed_calibration_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cli", *command(tmp_path, 4)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (groups_of(out) and (out / measuring.GROUP).exists()):
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    first = groups_of(out)
    assert len(first) == 1 and (out / measuring.GROUP).exists()
    assert fcn(["bench", "calibrate", "--resume", str(out)]) == 0
    groups = groups_of(out)
    assert groups[:1] == first and len(groups) == 2
    for group in groups:
        assert [row["slowdown"] for row in group["rows"]] == [0, 0, 0, 0, 0.01, 0.02, 0.05, 0.1]
        for row in group["rows"]:
            assert len(row["seconds"]) == 2 * ROUNDS and min(row["seconds"]) > 0.02
            assert row["reason"] is None or row["reason"].startswith("other processes took")
    assert {path.name for path in out.iterdir()} == {CALIBRATION, "report.html"}
    capsys.readouterr()
    assert fcn(["bench", "check", str(out)]) == 0
    assert "follows the schema and agrees with itself" in capsys.readouterr().out
    assert fcn(["bench", "calibrate", "--resume", str(out), "--minutes", "0.01"]) == 0
    assert groups_of(out) == groups  # Its new budget is spent already.


def groups_of(out: Path) -> Any:
    """Return the groups that are stored."""
    path = out / CALIBRATION
    return json.loads(path.read_text(encoding="utf-8"))["groups"] if path.exists() else []


def calibrated(document: Any) -> Calibration:
    result: Calibration = document
    return result


def test_each_budget_ends_a_calibration() -> None:
    document = calibrated(sample_calibration(3, 0.0, 0.01))
    spent = [(2.0, None), (2.2, None), (None, 6), (None, 7), (2.0, 7), (2.2, 6), (2.2, 7)]
    expected = [True, False, True, False, True, True, False]
    for (minutes, comparisons), is_spent in zip(spent, expected, strict=True):
        document["budget"] = {"minutes": minutes, "comparisons": comparisons}
        assert measuring.is_spent(document) == is_spent, (minutes, comparisons)


def test_groups_differ_in_their_orders_and_in_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(measuring, "run_group", lambda *arguments, **_: seen.append(arguments))
    document = calibrated(sample_calibration(0, 0.0, 0.01))
    for number in range(2):
        rows = measuring.measure_group(document, number, tmp_path / "group")
        assert [share for share, _ in rows] == [0.0] * PLAIN_ROWS + document["slowdowns"]
    (first, rows, config, _, planted), (second, others, same, _, _) = seen
    keys, other_keys = ([row["key"] for row in order] for order in (rows, others))
    assert keys != other_keys and sorted(keys) == sorted(other_keys) == sorted(planted)
    assert config == same and config.seed == 0
    assert first.document["settings"]["seed"] != second.document["settings"]["seed"]
    assert set(planted.values()) <= set(plants.PAUSES)


def failing(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """Let every row of a group end with a status and a reason."""

    def run_group(results: Any, rows: Any, *_: Any, **__: Any) -> None:
        for row in rows:
            row |= {"status": status, "reason": "the device was lost"}

    monkeypatch.setattr(measuring, "run_group", run_group)


@pytest.mark.parametrize("status, expected", [("failed", 1), ("unsupported", 2)])
def test_a_group_without_a_figure_ends_it(
    status: str,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, status)
    assert fcn(command(tmp_path, 2)) == expected
    assert "no process of a group has a figure: the device was lost" in capsys.readouterr().err
    assert groups_of(tmp_path / "out") == []


def test_other_versions_end_it() -> None:
    document = calibrated(sample_calibration(1, 0.0, 0.01))
    process = json.loads(json.dumps(document["process"]))
    rows: Any = [{"processes": [process]}]
    measuring.check_environment(document, rows)
    process["backend"]["versions"] = {"torch": "2.0"}
    with pytest.raises(WorkerFailed, match="the environment is not the one that began"):
        measuring.check_environment(document, rows)


@pytest.mark.parametrize(
    "options, words",
    [
        ("--backend pytorch", "--backend 'pytorch' is unknown: did you mean torch?"),
        ("--case tain", "--case 'tain' is unknown: did you mean train?"),
        ("--minutes 0", "--minutes 0: expected a finite number above 0"),
        ("--comparisons 0", "--comparisons 0: expected a finite number above 0"),
        ("--rounds 0", "--rounds 0 is too small: at least 1"),
        ("--resume absent", "absent: cannot be read (No such file or directory); `fcn bench cal"),
        ("--resume there --rounds 4", "--resume there: goes on with its own options: leave out --"),
        ("--resume there", "--resume there: was begun on another machine (processor was Z80"),
        ("--out used", "--out used: is not empty"),
        ("--out used --force", "--out used: holds bench.json, whose page would be lost"),
    ],
)
def test_wrong_input_is_one_line(
    options: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrate, "measure_groups", lambda *_: pytest.fail("it measures"))
    document = sample_calibration(1, 0.0, 0.01)
    document["hardware"]["processor"] = "Z80"
    for name, file, value in (
        ("there", CALIBRATION, document),
        ("used", "bench.json", sample_bench(cases=["train"], batch_sizes=[1])),
    ):
        Path(name).mkdir()
        (Path(name) / file).write_text(json.dumps(value), encoding="utf-8")
    assert words in refused(capsys, "bench", "calibrate", *options.split())
    assert read_document(Path("there"), Calibration) == document
