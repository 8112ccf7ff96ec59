"""What a process starts ends with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.machine.children import ending_with_this

ROOT = Path(__file__).parents[2]
PARENT = """
import subprocess, sys, time
from common.machine.children import ending_with_this
child = subprocess.Popen(ending_with_this(["sleep", "1000"]), start_new_session=True)
print(child.pid, flush=True)
time.sleep(1000)
"""
FORKING = """
import multiprocessing, os, time
from common.machine.children import let_forks_end_with_this
let_forks_end_with_this()
def sleep(begun):
    begun.set()
    time.sleep(1000)
def load():
    begun = multiprocessing.Event()
    inner = multiprocessing.Process(target=sleep, args=[begun])
    inner.start()
    begun.wait()
    print(os.getpid(), inner.pid, flush=True)
    inner.join()
multiprocessing.set_start_method("fork")
multiprocessing.Process(target=load).start()
time.sleep(1000)
"""


def is_alive(number: int) -> bool:
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a child with its parent")
@pytest.mark.parametrize("program", [PARENT, FORKING])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_process_takes_its_children_with_it(program: str, stopped: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    children = [int(number) for number in parent.stdout.readline().split()]
    assert children and all(map(is_alive, children))
    while program == PARENT and b"sleep" not in Path(f"/proc/{children[0]}/comm").read_bytes():
        time.sleep(0.01)
    if stopped:
        for number in children:
            os.kill(number, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_is_run_as_it_stands(tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv[1:], os.environ['PYTHONPATH'], sys.flags.isolated)"
    command = ending_with_this([sys.executable, "-c", program, "-m", "a b", ""])
    done = subprocess.run(
        command, env={"PYTHONPATH": "kept"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['-m', 'a b', ''] kept 0\n"
    failed = subprocess.run(ending_with_this(["sh", "-c", "exit 7"]), check=False)
    assert failed.returncode == 7
    absent = ending_with_this([str(tmp_path / "absent")])
    done = subprocess.run(absent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/absent: cannot be run (No such file or directory)\n"


def test_one_whose_parent_has_ended_before_does_not_begin() -> None:
    command = ending_with_this([sys.executable, "-c", "print('begun')"])
    command[4] = str(os.getppid())  # As if this process had started it, and ended.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ("" if sys.platform == "linux" else "begun\n")
