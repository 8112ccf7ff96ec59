"""Processes that end with the one that started them, however it ends.

    python children.py PARENT COMMAND...

runs a command that the kernel ends with the process of the number PARENT, which starts this.
Linux alone offers that: elsewhere the command runs on when its parent is killed.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def ending_with_this(command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` and ends with this process.

    To be started by a thread that lives as long as this process: the kernel looks at the thread.
    """
    # Without site-packages the interpreter is there in a hundredth of a second.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def end_with(parent: int) -> None:
    """Let the kernel end this process with its parent, the process of that number."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It ended before.
            os._exit(1)


def let_forks_end_with_this() -> None:
    """Let what this process forks from now on, such as a loader's processes, end with it."""
    forking = 0

    def note() -> None:
        nonlocal forking
        forking = os.getpid()

    os.register_at_fork(before=note, after_in_child=lambda: end_with(forking))


def main() -> None:
    """Become the command, and say so if it cannot be run."""
    parent, *command = sys.argv[1:]
    end_with(int(parent))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"error: {command[0]}: cannot be run ({error.strerror})")


if __name__ == "__main__":
    main()
