"""A benchmark whose workers go wrong: each row says how, and no other row suffers."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import benchmarks
from benchmarks.cli import main as fcn
from benchmarks.timing.group.processes import finished_processes
from benchmarks.workers.client import Worker
from common.machine.provenance import git_commit
from tests.support.commands import PROCESSES, ROUNDS, bench, bench_options, check_whole, stored

FILES = {"bench.json", "bench.txt", "report.html", "logs"}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stand-ins leave the numbers of the processes that they start."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("STAND_IN_NOTES", str(folder))
    return folder


FAULTS = {
    "aborts": ("failed", "was ended by SIGABRT"),
    "unimportable": (
        "failed",
        r"ended \(1\): .* is installed but cannot be imported: libcuda.so.1",
    ),
    "raises": ("failed", r"ended \(1\): RuntimeError: the device was lost"),
    "exits": ("failed", r"ended \(3\)"),
    "memory": ("failed", r"ended \(1\): MemoryError: Unable to allocate 9.0 GiB"),
    "killed": ("failed", "was ended by SIGKILL .*when memory runs out"),
    "rubbish": ("failed", "answered '.*Segmentation is fun'; expected a line of JSON"),
    "nan": ("failed", "answered '.*NaN}}'; expected a line of JSON"),
    "flood": ("failed", "answered '0123456789.*'; expected a line of JSON"),
    "wrong": ("invalid", "not equal work: gradient is off by 0.01, allowed 1e-05"),
    "forgets": ("invalid", r"not synchronised: 0\.\d+ s of the work of \d+ steps? were left"),
}


@pytest.mark.parametrize("first", range(0, len(FAULTS), 3))
def test_a_row_says_what_went_wrong_and_the_others_are_whole(first: int, tmp_path: Path) -> None:
    moods = list(FAULTS)[first : first + 3]
    found, rows = bench(tmp_path, *moods, "fine")
    assert found == 1
    for mood in moods:
        status, reason = FAULTS[mood]
        assert rows[mood]["status"] == status and re.search(reason, rows[mood]["reason"])
        assert rows[mood]["figures"] is None
    check_whole(rows["fine"])


@pytest.mark.slow
def test_a_worker_that_spins_while_another_is_timed_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Turns as long as this: a shorter sleep is no measure of what is burnt in it.
    chosen = [*bench_options(tmp_path, "spins", "fine"), "--seconds", "0.6"]
    assert fcn(["bench", *chosen, "--out", str(tmp_path / "out")]) == 0
    spinning, sleeping = stored(tmp_path / "out")["rows"]
    said = r"took \d+% of a CPU while it should have slept"
    assert any(re.fullmatch(said, line) for line in spinning["warnings"])
    assert not any("slept" in line for line in sleeping["warnings"])
    assert re.search(rf"torch default: {said}", capsys.readouterr().out)


class Profiled(NamedTuple):
    """A benchmark with traces, and the tasks that its workers were asked, in this order."""

    folder: Path
    rows: Any
    asked: list[str]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    folder, asked, ask = tmp_path_factory.mktemp("profiled"), [], Worker.ask

    def noted(worker: Worker, task: str, *timeout: float, **arguments: Any) -> Any:
        asked.append(task.removeprefix("timing.turns."))
        return ask(worker, task, *timeout, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Worker, "ask", noted)
        chosen = bench_options(Path(), "chatters", "fine")
        assert fcn(["bench", *chosen, "--out", "out", "--profile"]) == 0
    return Profiled(folder / "out", stored(folder / "out")["rows"], asked)


def test_what_a_framework_prints_disturbs_nothing(profiled: Profiled) -> None:
    for row in profiled.rows:
        check_whole(row)
    assert "C++ says so too" in (next((profiled.folder / "logs").glob("loss-torch*"))).read_text(
        encoding="utf-8", errors="replace"
    )


def test_paths_are_those_of_the_shell(profiled: Profiled) -> None:
    for row in profiled.rows:
        assert (profiled.folder / row["profile"] / "trace.json").is_file()


def test_a_trace_is_taken_after_the_last_turn(profiled: Profiled) -> None:
    own = ["used", "profile"]
    asked = [task for task in profiled.asked if task != "wake"]
    pairs = zip(["", *asked], asked, strict=False)
    # Where steps on unknown batches took longer, known ones are timed once more.
    asked = [task for before, task in pairs if (before, task) != ("unseen_seconds", "time_turn")]
    after = [task for task in asked if task in (*own, "time_turn")]
    turns = 2 * ROUNDS * ["time_turn", "time_turn"]
    assert after == [*turns, *own * 2, *turns, "used", "used"]


def test_another_epsilon_is_refused_by_the_logits(tmp_path: Path) -> None:
    _, rows = bench(tmp_path, "epsilon", case="predict")
    assert rows["epsilon"]["status"] == "invalid"
    assert "not equal work: logits is off by" in rows["epsilon"]["reason"]


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, notes: Path) -> None:
    found, rows = bench(tmp_path, "hangs", "stops", "fine", timeout=3)
    assert found == 1
    for mood, name in (("hangs", "torch"), ("stops", "mxnet")):
        assert rows[mood]["status"] == "failed"
        assert rows[mood]["reason"] == f"{name} gave no answer within 3 s"
    check_whole(rows["fine"])
    assert_ended(notes, 6)


def assert_ended(notes: Path, count: int) -> None:
    """Wait for the end of the processes that stand-ins have named."""
    pids = [int(path.name.removeprefix("pid-")) for path in notes.glob("pid-*")]
    assert len(pids) == count
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z"


KILLER = """
import os, signal, sys
from benchmarks.records import results as bench_results
from benchmarks import cli
after, how, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background job ignores it.
count, save = 0, bench_results.Results.save
def save_and_die(results):
    global count
    count += 1
    save(results)
    if count == after:
        (results.folder / f".bench.json.{os.getpid()}.partial").write_text('{"vers')
        os.kill(os.getpid(), how)
bench_results.Results.save = save_and_die
sys.exit(cli.main(["bench", *arguments]))
"""


def killed(after: int, how: signal.Signals, *arguments: object) -> int:
    """Run a benchmark that is killed after it has written its results so many times."""
    command = [sys.executable, "-c", KILLER, str(after), str(int(how)), *map(str, arguments)]
    cwd = Path(benchmarks.__file__).parents[1]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False).returncode


def test_killed_at_any_time_it_is_resumed_and_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    chosen = bench_options(tmp_path, "fine", "raises", "fine")
    status = killed(6, signal.SIGKILL, *chosen, "--out", out)
    assert status == -signal.SIGKILL
    before = stored(out)
    assert {row["status"] for row in before["rows"]} == {"running"}
    for after, how in ((7, signal.SIGINT), (7, signal.SIGKILL), (0, 0)):
        status = killed(after, how, "--resume", out)
        assert status == {signal.SIGINT: 130, 0: 1}.get(how, -how)
        now = stored(out)
        if how == signal.SIGINT:  # What is there is shown, and what is not is said.
            assert "running" in {row["status"] for row in now["rows"]}
            for name in ("bench.txt", "report.html"):
                shown = (out / name).read_text(encoding="utf-8")
                assert "not measured" in shown and "fcn bench --resume DIR" in shown
        done = min(map(finished_processes, before["rows"]))
        for row, old in zip(now["rows"], before["rows"], strict=True):
            finished = [s for s in old["samples"] if s["process"] < done]
            assert [s for s in row["samples"] if s["process"] < done] == finished
            if old["status"] != "running":
                assert {**row, "figures": None} == {**old, "figures": None}
        before = now
    statuses = [row["status"] for row in before["rows"]]
    assert statuses == ["ok", "failed", "ok"]
    for row in before["rows"][::2]:
        check_whole(row)
        turns = [(s["process"], s["round"], s["turn"]) for s in row["samples"]]
        assert turns == [(p, n, t) for p in range(PROCESSES) for n in range(ROUNDS) for t in (0, 1)]
        assert len(row["processes"]) == PROCESSES
    assert len(before["comparisons"]) == 1
    assert {path.name for path in out.iterdir()} == FILES

    # Once more: nothing is done again, and all is said again.
    text = (out / "bench.json").read_text(encoding="utf-8")
    capsys.readouterr()
    assert fcn(["bench", "--resume", str(out)]) == 1
    assert "RuntimeError: the device was lost" in capsys.readouterr().out
    assert (out / "bench.json").read_text(encoding="utf-8") == text

    # Options that say the same are allowed, others are named; so is another machine.
    assert fcn(["bench", "--resume", str(out), "--rounds", str(ROUNDS)]) == 1
    for option, value, words in (
        ("--rounds", "7", f"--rounds is {ROUNDS} there, 7 here"),
        ("--backends", "jax", "--backends is torch,mxnet,jax there, jax here"),
        ("--track", "chapter", "--track is default there, chapter here"),
        ("--timeout", "7", "--timeout is 900 there, 7 here"),
        ("--out", str(tmp_path / "new"), "leave --out"),
    ):
        capsys.readouterr()
        assert fcn(["bench", "--resume", str(out), option, value]) == 2
        assert words in capsys.readouterr().err
    # Another commit measures something else, and so do other versions: the row says which.
    other = json.loads(text) | {"commit": "1" * 40}
    (out / "bench.json").write_text(json.dumps(other), encoding="utf-8")
    capsys.readouterr()
    assert fcn(["bench", "--resume", str(out)]) == (2 if git_commit() else 1)
    assert f"was begun at commit {'1' * 40}" in capsys.readouterr().err or not git_commit()
    upgraded = json.loads(text)
    first = upgraded["rows"][0]
    first |= {"status": "running", "figures": None}
    first["processes"][0]["backend"]["versions"]["numpy"] = "0.1"
    del first["processes"][1]["host_memory_peak_bytes"]  # It was killed before its end.
    (out / "bench.json").write_text(json.dumps(upgraded), encoding="utf-8")
    assert fcn(["bench", "--resume", str(out)]) == 1
    first = stored(out)["rows"][0]
    assert first["status"] == "failed" and "versions {'numpy': '0.1'} there" in first["reason"]
    elsewhere = json.loads(text)
    elsewhere["hardware"]["processor"] = "Another"
    (out / "bench.json").write_text(json.dumps(elsewhere), encoding="utf-8")
    assert fcn(["bench", "--resume", str(out)]) == 2
    assert "was begun on another machine (processor was Another" in capsys.readouterr().err


@pytest.fixture
def hanging(tmp_path: Path, notes: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A benchmark whose only worker hangs in a turn."""
    command = [sys.executable, "-m", "benchmarks.cli", "bench", *bench_options(tmp_path, "hangs")]
    parent = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], cwd=Path(benchmarks.__file__).parents[1]
    )
    deadline = time.monotonic() + 60
    while not (notes / "hangs").exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.01)
    yield parent
    parent.kill()
    parent.wait()


def test_no_worker_outlives_a_killed_parent(hanging: subprocess.Popen[bytes], notes: Path) -> None:
    hanging.kill()
    hanging.wait()
    assert_ended(notes, 3)
