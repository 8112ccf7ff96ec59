"""A training that is killed at any moment loses little, and ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.run import killed_training

# All of them look at one run.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed training")]


@pytest.fixture(scope="module")
def outcomes(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What became of a training that was killed at each of its file operations in turn."""
    script, scratch = Path(killed_training.__file__), tmp_path_factory.mktemp("killed")
    result = subprocess.run(
        [sys.executable, str(script), str(generated), str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    first, *rest = map(json.loads, result.stdout.splitlines())
    assert len(rest) == len(first["operations"]) > 100
    return rest


def test_each_was_killed_and_all_were_finished(outcomes: list[dict[str, Any]]) -> None:
    assert {outcome["status"] for outcome in outcomes} == {signal.SIGKILL}
    assert {outcome["resumed"] for outcome in outcomes} == {0}


def test_a_checkpoint_that_loads_is_right(outcomes: list[dict[str, Any]]) -> None:
    assert [outcome["at"] for outcome in outcomes if outcome["wrong"]] == []
    # At every checkpoint some was killed, and at none.
    assert {outcome["starts"][0] for outcome in outcomes if outcome["starts"]} == {0, 2, 3, 4, 6}


def test_no_more_is_lost_than_the_steps_since_the_last_checkpoint(
    outcomes: list[dict[str, Any]],
) -> None:
    for outcome in outcomes:
        for done, start in zip(outcome["done"], outcome["starts"], strict=False):
            assert done - start <= killed_training.EVERY, outcome


def test_the_end_is_that_of_an_uninterrupted_training(outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        assert outcome["equal"], outcome
        assert outcome["steps"] == list(range(6)), outcome
        assert outcome["epochs"] == [0, 1], outcome
        assert outcome["left"] == [], outcome
        assert outcome["checkpoints"][-1] == "step-00000006", outcome
