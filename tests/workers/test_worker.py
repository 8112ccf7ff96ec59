"""A worker answers; whatever it does instead is reported in one line."""

import os
import time
from pathlib import Path

import pytest

from benchmarks.workers.client import Worker, WorkerFailed
from benchmarks.workers.environment import backend_environment
from common.errors import InputError
from tests.conftest import PRESENT
from tests.support.interpreters import program


def imitation(tmp_path: Path, text: str) -> str:
    """Return an interpreter that runs a shell program whatever it is told to run."""
    return str(program(tmp_path / "python", text))


@pytest.mark.parametrize(
    "text, words",
    [
        ("read request; echo 'out of luck' >&2; exit 3", r"torch ended \(3\): out of luck"),
        ("read request; kill -KILL $$", "torch was ended by SIGKILL"),
        ("read request; echo hello", "torch answered 'hello'"),
        ("read request; echo '[1]'", r"torch answered '\[1\]'"),
        # A process that it leaves behind holds on to its output.
        ("sleep 1000 & read request; echo 'out of luck' >&2; exit 3", r"torch ended \(3\): out of"),
        ("exec sleep 1000", "torch gave no answer within 1 s"),
    ],
)
def test_a_failure_is_one_line_that_says_how(text: str, words: str, tmp_path: Path) -> None:
    python = imitation(tmp_path, text)
    worker = Worker("torch", dict(os.environ), tmp_path / "log", python)
    with worker, pytest.raises(WorkerFailed, match=words):
        worker.ask("workers.tasks.try_step", 1)


def test_the_whole_process_tree_ends_with_the_worker(tmp_path: Path) -> None:
    # The child outlives the shell and holds on to nothing of it.
    python = imitation(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    worker = Worker("torch", dict(os.environ), tmp_path / "log", python)
    with worker, pytest.raises(WorkerFailed):
        worker.ask("workers.tasks.try_step", 1)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_refusal_is_told_and_the_worker_goes_on(tmp_path: Path) -> None:
    echo = """read request; echo '{"refused": "no such device"}'
    read request; echo "{\\"result\\": $request}"; read end"""
    with Worker("torch", dict(os.environ), tmp_path / "log", imitation(tmp_path, echo)) as worker:
        with pytest.raises(InputError, match="no such device"):
            worker.ask("room.module.function", 5, steps=3)
        assert worker.ask("room.module.function", 5, steps=4) == {
            "task": "room.module.function",
            "steps": 4,
        }


@pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=() if name == "mxnet" else pytest.mark.release) for name in PRESENT],
)
def test_what_a_framework_prints_is_no_answer(backend: str, tmp_path: Path) -> None:
    """MXNet; the others before a release. All answer a worker in test_bare.py too."""
    with Worker(backend, backend_environment(1), tmp_path / "log") as worker:
        offer = worker.ask("workers.tasks.try_step", 300)
    assert offer["name"] == backend and "float32" in offer["precisions"]
