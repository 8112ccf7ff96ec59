"""The processes of a row: which are measured anew, and what each is asked after its last turn."""

from pathlib import Path
from typing import Any, Self

import pytest

from benchmarks.cli import main as fcn
from benchmarks.records.results import Results
from benchmarks.timing.group import processes, starts
from benchmarks.timing.group.processes import forget_unfinished
from benchmarks.timing.members import Member
from benchmarks.timing.proof import closing
from benchmarks.timing.proof.opening import Question
from common.config import Config
from common.recipes import make_recipe
from tests.support.bench_sample import planned, process, sample
from tests.support.commands import PROCESSES, bench_options, check_whole, stored


def row_with(*peaks: int | None, turns: int) -> Any:
    """Return a row of processes that were asked for their memory or not, with so many samples."""
    entries: list[Any] = [process("torch") for _ in peaks]
    for entry, peak in zip(entries, peaks, strict=True):
        del entry["host_memory_peak_bytes"]
        if peak is not None:
            entry["host_memory_peak_bytes"] = peak
    samples = [sample(number // 2, number % 2, 1.0, rounds=1) for number in range(turns)]
    return {"processes": entries, "samples": samples}


@pytest.mark.parametrize(
    ("rows", "finished"),
    [
        ([row_with(7, 7, turns=4), row_with(7, 7, turns=4)], 2),
        ([row_with(7, None, turns=4), row_with(7, 7, turns=4)], 1),  # Between two rows' ends.
        ([row_with(7, None, turns=3), row_with(7, turns=2)], 1),  # Between two turns.
        ([row_with(7, 7, turns=2), row_with(7, turns=2)], 1),  # Asked, but no sample is there.
        ([row_with(turns=0), row_with(turns=0)], 0),
    ],
)
def test_what_is_unfinished_in_one_row_is_measured_anew_in_all(rows: Any, finished: int) -> None:
    assert forget_unfinished(rows) == finished
    for row in rows:
        assert len(row["processes"]) == finished
        numbers = [sample["process"] for sample in row["samples"]]
        assert numbers == sorted(2 * list(range(finished)))


def test_processes_of_each_row_are_asked_by_lot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    close = processes.close

    def noted(member: Any, question: Any) -> bool:
        asked.append((member.row["backend"], len(member.row["processes"]) - 1))
        return close(member, question)

    monkeypatch.setattr(processes, "close", noted)
    drawn: list[int] = []
    monkeypatch.setattr(processes.secrets, "randbelow", lambda count: drawn.append(count) or 0)
    options = bench_options(tmp_path, "fine", "fine")
    assert fcn(["bench", *options, "--out", str(tmp_path / "out")]) == 0
    # Of those that are left when one was asked one is asked too, or none.
    assert drawn == [PROCESSES, *range(PROCESSES, 0, -1)]
    assert asked == [(name, n) for n in range(PROCESSES) for name in ("torch", "mxnet")]
    assert not [*(tmp_path / "out").rglob("closing.npz")]
    for row in stored(tmp_path / "out")["rows"]:
        check_whole(row)
        assert row["closing"]["passed"]
        assert len(row["processes"]) == PROCESSES


def test_a_process_whose_turns_lie_is_refused_whichever_is_asked_by_lot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    turn_errors = closing.turn_errors

    def noted(member: Any, samples: Any) -> dict[str, float]:
        asked.append((member.row["backend"], len(member.row["processes"]) - 1))
        lies = asked[-1] == ("torch", 0)
        return turn_errors(member, samples) | ({"clock": 1.0} if lies else {})

    monkeypatch.setattr(closing, "turn_errors", noted)
    monkeypatch.setattr(processes.secrets, "randbelow", lambda _: PROCESSES - 1)
    options = bench_options(tmp_path, "fine", "fine")
    assert fcn(["bench", *options, "--out", str(tmp_path / "out")]) == 1
    assert asked == [("torch", 0), *(("mxnet", number) for number in range(PROCESSES))]
    refused, whole = stored(tmp_path / "out")["rows"]
    assert refused["status"] == "invalid"
    reason = "after the last turn: not equal work: clock is off by 1, allowed 0.05"
    assert refused["reason"].startswith(reason)  # On a busy machine it says so, too.
    check_whole(whole)


class Here:
    """Stands in for a worker whose process starts at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, task: str, timeout: float, **_: Any) -> dict[str, Any] | None:
        return {
            "timing.turns.wake": None,
            "timing.turns.time_turn": {"seconds": 0.5},
            "timing.turns.used": {"host_memory_peak_bytes": 7, "device_memory_peak_bytes": None},
        }[task]


@pytest.mark.parametrize("variant", [None, "cached"])
def test_starts_are_as_many_as_processes_and_what_compiles_first_is_none_of_them(
    variant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path | None] = []

    def start(
        results: Results, backend: str, name: str, threads: Any, compiled: Path | None, track: str
    ) -> Here:
        started.append(compiled)
        return Here()

    def prove(member: Member, question: Question) -> bool:
        ended = {"first_ended": 1e9, "cpu_seconds": 1.0}
        member.row["processes"].append({**process("jax"), **ended})  # type: ignore[typeddict-item]
        return True

    question = Question(Config(make_recipe("chapter-torch")), tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(starts, "start_worker", start)
    monkeypatch.setattr(starts, "prove", prove)
    monkeypatch.setattr(starts, "calibrate", lambda member, **_: None)
    monkeypatch.setattr(processes, "make_question", lambda *_: question)
    sizes = {"batch_sizes": [1], "tracks": ["default"], "processes": 3}
    document = planned(cases=["first_step"], backends=["jax"], **sizes)
    rows = [row for row in document["rows"] if row["variant"] == variant]
    results = Results(tmp_path, document)
    processes.run_group(results, rows, question.config, tmp_path, {})
    (row,) = rows
    assert len(started) == 3 + (variant is not None)
    assert set(started) == {None if variant is None else tmp_path / "compiled"}
    assert len(row["processes"]) == 3 and row["status"] == "ok"
    places = [(s["process"], s["round"], s["turn"]) for s in row["samples"]]
    assert places == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    # As after an interruption between the answer of the last process and its sample.
    row["status"], row["samples"] = "running", row["samples"][:2]
    processes.run_group(results, rows, question.config, tmp_path, {})
    assert len(started) == 4 + (variant is not None) and len(row["samples"]) == 3
