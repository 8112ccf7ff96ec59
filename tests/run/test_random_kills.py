"""Trainings that are killed at random moments, again and again, end as if they had not been.

``FCN_KILLS`` in the environment says how many kills; ``FCN_KILLED_BACKEND`` lets a real framework
train instead of the stand-in.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.parameters.files import read_own
from common.run.folders import is_finished
from common.run.log import read_metrics

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("FCN_KILLS", "12"))
BACKEND = os.environ.get("FCN_KILLED_BACKEND", "")
ROOT = Path(__file__).parents[2]
STAND_IN = [sys.executable, "-m", "tests.support.small_training", "fcn", "train", "--backend"]
FCN = [sys.executable, "-m", "benchmarks.cli", "train", "--backend"]
COMMAND = [*FCN, BACKEND] if BACKEND else [*STAND_IN, "torch"]
OPTIONS = ["--recipe", "modern", "--evaluation", "crops", "--crop", "64", "64", "--batch-size", "4"]
OPTIONS += ["--epochs", "4", "--checkpoint-every", "2", "--deterministic", "--threads", "1"]


def command(*options: object) -> list[str]:
    return [*COMMAND, *map(str, options), "--no-progress"]


def environment() -> dict[str, str]:
    return {**os.environ, "STEP_SECONDS": "0.03"}


def kill(process: subprocess.Popen[bytes], generator: random.Random) -> str:
    """End a training in one of the ways that it is ended in, and return which."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    way = generator.choice(("command", "backend", "both", "interrupt", "terminate"))
    try:
        number = int(children.read_text(encoding="utf-8").split()[0])
    except (OSError, IndexError):  # It has not been started yet, or has ended.
        number = process.pid
    for target, sent in {
        "command": [(process.pid, signal.SIGKILL)],
        "backend": [(number, signal.SIGKILL)],
        "both": [(number, signal.SIGKILL), (process.pid, signal.SIGKILL)],
        "interrupt": [(process.pid, signal.SIGINT)],
        "terminate": [(process.pid, signal.SIGTERM)],
    }[way]:
        try:
            os.kill(target, sent)
        except ProcessLookupError:
            return "nothing"
    return way


def lives(run: Path) -> bool:
    """Return whether a process works on a run."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(run) in text and b"pytest" not in text:
            return True
    return False


def test_each_step_is_done_once_and_the_parameters_are_the_same_bit_for_bit(
    generated: Path, tmp_path: Path
) -> None:
    generator, whole = random.Random(KILLS), tmp_path / "whole"
    data = ["--data", generated, *OPTIONS]
    started = time.monotonic()
    subprocess.run(
        command(*data, "--out", whole), check=True, cwd=ROOT, env=environment(), capture_output=True
    )
    longest = time.monotonic() - started  # An undisturbed training, after which no kill comes.
    expected = read_own(whole / "model.safetensors").tensors
    losses = {(line["kind"], line["epoch"]): line for line in read_metrics(whole / "metrics.jsonl")}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kills: dict[str, int] = {}
    trainings = 0
    while sum(kills.values()) < KILLS:
        run = tmp_path / f"run-{trainings}"
        for _ in range(100):
            resumed = list((run / "checkpoints").glob("step-*"))
            where = ["--resume", run] if resumed else [*data, "--out", run, "--force"]
            with (tmp_path / "said").open("wb") as said:
                process = subprocess.Popen(
                    command(*where), cwd=ROOT, env=environment(), stdout=said, stderr=said
                )
                try:
                    status = process.wait(generator.uniform(0, longest))
                except subprocess.TimeoutExpired:
                    way = kill(process, generator)
                    kills[way] = kills.get(way, 0) + 1
                    status = process.wait(60 + longest)
            text = (tmp_path / "said").read_text(encoding="utf-8", errors="replace")
            # An interrupt while Python still imports the command is told by Python.
            assert "Traceback" not in text or text.endswith("KeyboardInterrupt\n"), text
            deadline = time.monotonic() + 10 + longest
            while lives(run):  # What a command started ends with it.
                assert time.monotonic() < deadline, status
                time.sleep(0.02)
            if status == 0 or is_finished(run):  # Killed when nothing was left to do.
                break
            assert status in (1, 130, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM), text
        trainings += 1
        trained = read_own(run / "model.safetensors").tensors
        assert trained.keys() == expected.keys()
        assert all((trained[name] == value).all() for name, value in expected.items())
        lines = read_metrics(run / "metrics.jsonl")
        steps = [line["step"] for line in lines if line["kind"] == "step"]
        epochs = [line["epoch"] for line in lines if line["kind"] == "epoch"]
        assert steps == list(range(len(steps))) and len(steps) == 12
        assert epochs == [0, 1, 2, 3]
        for line in lines:
            if line["kind"] == "epoch":
                same = losses["epoch", line["epoch"]]
                assert isinstance(same, dict) and line == same
        for name in ("curves.png", "examples.png", "summary.json"):
            assert (run / name).is_file()
    print(f"{sum(kills.values())} kills in {trainings} trainings: {kills}")
