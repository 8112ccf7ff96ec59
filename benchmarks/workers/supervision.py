"""Processes under supervision: what they print is kept, and their children end with them."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from common.machine.children import ending_with_this
from common.machine.files import open_own, system_lines
from common.machine.group import JOIN_SECONDS

LONGEST_SILENCE = 2.0**20
"""Seconds, 12 days: the system's call accepts no time much longer than this."""
IDLE_SHARE = 0.01
"""A process that is silent hangs if it also takes less than this share of one CPU."""
CAUSES = {
    signal.SIGKILL: "the kernel does so when memory runs out",
    signal.SIGABRT: "a fault in the framework's own code",
    signal.SIGSEGV: "a fault in the framework's own code",
    signal.SIGBUS: "a fault in the framework's own code, or a file that was cut short",
    signal.SIGFPE: "a fault in the framework's own code",
    signal.SIGILL: "the framework was built for another CPU",
    signal.SIGALRM: f"the processes have not joined each other within {JOIN_SECONDS} s: let their "
    "hosts reach each other on all ports above 1024",
}
"""What usually ends a process by a signal."""
SAME_PRESS = 0.2
"""Seconds within which two signals to end are one: some programs send theirs twice."""


def how_ended(status: int, kills_before: int | None = None) -> str:
    """Return in words how a process ended.

    Args:
        status: As ``subprocess`` gives it, negative for a signal.
        kills_before: What ``kills_for_memory`` returned when it began.
    """
    if status >= 0:
        return f"ended ({status})"
    number = signal.Signals(-status)
    cause = CAUSES.get(number)
    if number == signal.SIGKILL and kills_before is not None and kills_for_memory() > kills_before:
        cause = f"{cause}; it ended a process meanwhile"
    return f"was ended by {number.name}" + (f" ({cause})" if cause else "")


def kills_for_memory() -> int:
    """Return how many processes the kernel has ended for want of memory since the start."""
    counts = dict(map(str.split, system_lines("/proc/vmstat")))
    return int(counts.get("oom_kill", 0))


def run_to_end(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run ``command`` on this terminal; return its exit status.

    It is told once, by SIGTERM, when this process is interrupted or told to end, so that it may
    finish what it does; the second time it is killed. It ends with this process, too.

    Raises:
        KeyboardInterrupt: If that ended it.
    """
    first: float | None = None

    def pass_on(number: int, frame: object) -> None:
        nonlocal first
        if first is None:
            first = time.monotonic()
            process.terminate()
        elif time.monotonic() - first > SAME_PRESS:
            process.kill()

    # A terminal interrupts all its processes. The command is to hear it once, from this one.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    try:
        process = subprocess.Popen(ending_with_this(command), env=environment)
        if before[signal.SIGINT] is not signal.SIG_IGN:  # As a shell's background job has it.
            signal.signal(signal.SIGINT, pass_on)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
        with process:
            status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if first is not None and status < 0:
        raise KeyboardInterrupt
    return status


def run_logged(
    command: Sequence[str],
    environment: dict[str, str],
    log: Path,
    silence: float | None = None,
    watch: Callable[[], None] = lambda: None,
    patience: float = 0,
) -> int:
    """Run ``command``, its messages both on the terminal and in ``log``; return its exit status.

    It ends with this process.

    Args:
        watch: Called after each message; what it raises ends the command and is raised here.
        patience: Seconds that the command may take to end when it is told twice, before it is
            killed.

    Raises:
        TimeoutError: If it neither printed nor computed anything for ``silence`` seconds; all that
            it started has ended.
    """
    limit = None if silence is None else min(silence, LONGEST_SILENCE)
    with (
        open_own(log) as file,
        subprocess.Popen(
            ending_with_this(command),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stderr is not None
        selector.register(process.stderr, selectors.EVENT_READ)
        worked: float | None = None  # Until the last look, if there was no message since.
        try:
            while True:
                if not selector.select(limit and limit / 2):
                    if process.poll() is not None:  # What it left behind holds on to its output.
                        break
                    before, worked = worked, cpu_seconds(process.pid, *descendants(process.pid))
                    if before is not None and worked - before < IDLE_SHARE * (limit or 0) / 2:
                        raise TimeoutError(f"neither printed nor computed for {silence:.0f} s")
                    continue
                worked = None
                chunk = os.read(process.stderr.fileno(), 4096)
                if not chunk:
                    break
                file.write(chunk)
                file.flush()
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()
                watch()
        except BaseException:
            if patience:
                tell_twice(process)
            end_group(process, patience)
            raise
    return process.returncode


def tell_twice(process: subprocess.Popen[bytes]) -> None:
    """Tell a command to end at once; told once, `fcn train` would write a checkpoint first."""
    process.terminate()
    time.sleep(2 * SAME_PRESS)
    process.terminate()


def cpu_seconds(*processes: int) -> float:
    """Return the CPU time of processes; 0 of those that have ended, or where there is no /proc."""
    # User and system time.
    ticks = [int(ticks) for process in processes for ticks in stat_fields(process)[11:13]]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def stat_fields(process: int) -> list[str]:
    """Return what the system tells of a process behind its name, which may hold parentheses."""
    return "\n".join(system_lines(f"/proc/{process}/stat")).rpartition(")")[2].split()


def last_line(text: str) -> str:
    """Return the last line that is not empty, without "error: " at its beginning.

    A progress bar writes its lines over each other; each of them counts as a line.
    """
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no message"


def descendants(process: int) -> list[int]:
    """Return the living children of ``process``, and theirs; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for number in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        if fields := stat_fields(number):  # State, parent; none of a process that has ended.
            children.setdefault(int(fields[1]), []).append(number)
    below, unvisited = [], [process]
    while unvisited:
        own = children.get(unvisited.pop(), [])
        below += own
        unvisited += own
    return below


def end_group(process: subprocess.Popen[bytes], patience: float = 0) -> None:
    """End a process, after ``patience`` seconds by force, with its group and all that it started.

    It has to lead its group (``start_new_session``).
    """
    # Listed now, for they can be found only while their parents live. The group is not enough:
    # torchrun's processes are in sessions of their own.
    below = descendants(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    for end, target in [(os.killpg, process.pid), *((os.kill, child) for child in below)]:
        with suppress(ProcessLookupError):
            end(target, signal.SIGKILL)
    process.wait()
