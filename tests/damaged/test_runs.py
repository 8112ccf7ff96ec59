"""Files of a run that were damaged: the run goes on to the end it would have had, or is refused."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.damaged import resumed_run
from tests.damaged.damage import check_line


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.release)])
def test_a_run_with_a_damaged_file_ends_as_without_or_is_refused(
    count: int, generated: Path, tmp_path: Path
) -> None:
    script = Path(resumed_run.__file__)
    result = subprocess.run(
        [sys.executable, str(script), str(generated), str(tmp_path), str(count)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    outcomes = list(map(json.loads, result.stdout.splitlines()))
    assert len(outcomes) == count
    assert all(outcome["status"] == 0 for outcome in outcomes[: len(resumed_run.ENDS)])
    seen: Counter[tuple[str, int]] = Counter()
    for outcome in outcomes:
        assert outcome["status"] in (0, 2), outcome
        seen[outcome["file"], outcome["status"]] += 1
        if outcome["status"] == 2:
            assert outcome["error"].startswith("error: ") and outcome["error"].endswith("\n")
            check_line(outcome["error"][:-1])
        else:
            assert outcome["end"] == outcome["expected"], outcome
    files = {file.rpartition("/")[2] for file in resumed_run.FILES}
    assert {file for file, status in seen if status == 2} == files
