"""What the memory in a benchmark's row is the peak of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from stand_in import HOARD
from test_bench_faults import bench, check_whole

from benchmarks import bench_worker
from common.provenance import host_memory_peak


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
    assert not bench_worker.forget_peak()
    assert host_memory_peak() > 2**20


def test_a_trace_begins_when_the_memory_of_a_step_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clearing of pages that ``used`` gave back would be charged to whoever touches them."""
    done: list[str] = []

    class Case:
        def run(self, steps: int) -> None:
            done.extend(["step"] * steps)

        def finish(self) -> None:
            done.append("waited")

    @contextmanager
    def trace(folder: Path) -> Iterator[None]:
        done.append("trace begins")
        yield
        done.append("trace ends")

    monkeypatch.setattr(bench_worker.Turn, "case", Case(), raising=False)
    monkeypatch.setattr(bench_worker.Turn, "ended", None, raising=False)
    package = ModuleType("traced")
    package.trace = trace  # type: ignore[attr-defined]
    bench_worker.profile(package, str(tmp_path), steps=2)
    begun = done.index("trace begins")
    assert done[:begun].count("step") >= 3
    assert done[begun - 1] == "waited"
    assert done[begun + 1 :] == ["step", "step", "waited", "trace ends"]
