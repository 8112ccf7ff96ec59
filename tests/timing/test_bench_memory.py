"""What the memory in a benchmark's row is the peak of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.timing import turns as bench_worker
from common.machine.provenance import host_memory_peak
from tests.support.stand_in import HOARD
from tests.timing.test_bench_faults import bench, check_whole


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
